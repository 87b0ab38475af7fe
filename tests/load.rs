//! Tests the webhook under load and with malicious clients, as a process on loopback. The traffic is limited. Times are
//! printed, and no test asserts one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the support module serves several test programs")]
#![cfg(feature = "cluster")]

mod support;

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use support::tls_client::TlsClient;
use support::wait;
use support::webhook::Webhook;

const REVIEW: &str = include_str!("reviews/deployment-pod.json");
const TEMPLATE: &str = "sidecars: [{name: fluent-bit, image: fluent-bit:4.1}]\n";

struct Bench {
    folder: tempfile::TempDir,
    webhook: Webhook,
}

impl Bench {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let templates = folder.path().join("templates");
        fs::create_dir(&templates).unwrap();
        fs::write(templates.join("fluent-bit.yaml"), TEMPLATE).unwrap();
        let webhook = Webhook::start_self_signed(folder.path(), "serve", |command| {
            // Returns large blocks to the system immediately, as musl does, so that only memory in use is measured.
            command.env("MALLOC_MMAP_THRESHOLD_", "131072");
            command.args(["--shutdown-delay", "0", "--templates"]).arg(&templates).args(more);
        });
        Self { folder, webhook }
    }

    fn connect(&self) -> TlsClient {
        TlsClient::connect(self.webhook.listen(), &self.webhook.authority).expect("connect")
    }

    /// Connects a client that has sent half of its review.
    fn with_half_a_review(&self) -> TlsClient {
        let mut client = self.connect();
        client.send(TlsClient::head(REVIEW.len()).as_bytes()).unwrap();
        client.send(&REVIEW.as_bytes()[..REVIEW.len() / 2]).unwrap();
        client
    }

    fn answers_normally(&self) {
        let ((), took) = wait::until("a normal answer", || match self.connect().post(REVIEW) {
            Ok(answer) if answer.status == 200 && answer.body.contains("\"patch\"") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        println!("a normal answer after {took:?}");
    }
}

#[test]
fn slow_clients_do_not_block_others() {
    let bench = Bench::start(&["--max-requests", "8"]);
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(bench.webhook.listen()).unwrap()).collect();
    let mut incomplete = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(bench.webhook.listen()).unwrap();
        // The beginning of a ClientHello that is never completed.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).unwrap();
        incomplete.push(stream);
    }
    let mut slow: Vec<TlsClient> = (0..64).map(|_| bench.with_half_a_review()).collect();
    let mut normal = bench.connect();
    for _ in 0..100 {
        assert_eq!(
            normal.post(REVIEW).expect("an answer").status,
            200,
            "slow clients do not take the permits of other clients"
        );
    }
    // A slow client that still has a permit is answered when it completes its request.
    let mut last = slow.pop().expect("a slow client");
    last.send(&REVIEW.as_bytes()[REVIEW.len() / 2..]).unwrap();
    assert!([200, 503].contains(&last.answer().expect("an answer").status));
    drop((silent, incomplete));
}

#[test]
fn requests_above_the_limit_are_asked_to_retry() {
    let bench = Bench::start(&["--max-requests", "1"]);
    wait::until("a slow request to get a 503", || {
        let mut slow: Vec<TlsClient> = (0..4).map(|_| bench.with_half_a_review()).collect();
        let answer = slow.last_mut().expect("a client").answer().map_err(|error| error.to_string())?;
        let is_asked_to_retry = answer.status == 503 && answer.headers.lines().any(|line| line == "retry-after: 1");
        assert_eq!(
            bench.connect().post(REVIEW).expect("an answer").status,
            200,
            "complete requests do not need a permit"
        );
        if is_asked_to_retry { Ok(()) } else { Err(answer.headers) }
    });
    bench.answers_normally();
}

#[test]
fn the_shorter_deadline_applies() {
    let bench = Bench::start(&["--request-timeout", "60"]);
    let mut client = bench.connect();
    let head = TlsClient::head(REVIEW.len()).replace("timeout=60s", "timeout=1s");
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.answer().expect("an answer").status, 408, "no body within the second that the caller waits");
    bench.answers_normally();
}

#[test]
fn a_burst_of_new_connections_is_answered() {
    let bench = Bench::start(&[]);
    let (tries, started) = (AtomicUsize::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..500 {
            scope.spawn(|| {
                // The webhook ends a handshake after 10 s. With 500 clients, this can happen on a busy machine.
                wait::until("an answer", || {
                    tries.fetch_add(1, Ordering::Relaxed);
                    let client = TlsClient::connect(bench.webhook.listen(), &bench.webhook.authority);
                    match client.and_then(|mut client| client.post(REVIEW)) {
                        Ok(answer) if answer.status == 200 => Ok(()),
                        other => Err(format!("{other:?}")),
                    }
                });
            });
        }
    });
    println!("500 clients answered in {:?}, with {tries:?} connections", started.elapsed());
    bench.answers_normally();
}

/// Many more clients than permits. Each client sends its next request immediately, until it has 50 answers.
#[test]
fn the_webhook_recovers_from_an_overload() {
    let bench = Bench::start(&["--max-requests", "4"]);
    let (answered, rejected, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..32 {
            let (bench, answered, rejected, failed) = (&bench, &answered, &rejected, &failed);
            scope.spawn(move || {
                let (mut client, mut own) = (bench.connect(), 0);
                while own < 50 && started.elapsed() < wait::BOUND {
                    // A quarter of the clients opens a connection for each request, as the API server does above 25.
                    if number % 4 == 0 {
                        client = bench.connect();
                    }
                    let counter = match client.post(REVIEW) {
                        Ok(answer) if answer.status == 200 => {
                            own += 1;
                            answered
                        }
                        Ok(answer) if answer.status == 503 => rejected,
                        _ => {
                            client = bench.connect();
                            failed
                        }
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let took = started.elapsed();
    println!("{answered:?} answered, {rejected:?} rejected, {failed:?} failed in {took:?}");
    assert_eq!(failed.into_inner(), 0, "every client gets an answer");
    assert_eq!(answered.into_inner(), 32 * 50, "every client gets its turn");
    bench.answers_normally();
}

/// The peak resident memory of a process, in MiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).expect("of Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

#[test]
fn large_bodies_take_bounded_memory() {
    let bench = Bench::start(&["--body-memory", "64"]);
    let mut review: serde_json::Value = serde_json::from_str(REVIEW).unwrap();
    review["request"]["object"]["spec"]["containers"][0]["command"] = serde_json::json!(["x".repeat(6 << 20)]);
    let review = review.to_string();
    let (denied, busy, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let counter = match bench.connect().post(&review) {
                    Ok(answer) if answer.body.contains("[TooLarge]") => &denied,
                    Ok(answer) if answer.status == 503 => &busy,
                    _ => &failed,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    let peak = peak(bench.webhook.pid());
    println!("peak {peak} MiB; {denied:?} answered, {busy:?} got a 503, {failed:?} cut off");
    assert!(denied.into_inner() >= 8, "as many as fit into the memory are answered");
    assert!(peak < 192, "200 bodies of 6 MiB took {peak} MiB");
    bench.answers_normally();
}
