//! Tests the webhook while the API server that it watches is down, slow, busy or loses its history. The webhook
//! continues with the last state that it has seen, reports this, and catches up. Times are printed and not asserted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the support module serves several test programs")]
#![cfg(feature = "cluster")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::stub::Stub;
use support::tls_client::TlsClient;
use support::wait;
use support::webhook::{Source, Webhook};

const REVIEW: &str = include_str!("reviews/deployment-pod.json");

fn template(version: &str) -> String {
    format!("sidecars: [{{name: fluent-bit, image: \"fluent-bit:{version}\"}}]\n")
}

struct Bench {
    folder: tempfile::TempDir,
    stub: Stub,
    webhook: Webhook,
}

impl Bench {
    fn start(stub: Stub) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, stub.kubeconfig()).unwrap();
        let source = Source::Cluster { kubeconfig, namespace: "home".to_owned() };
        let webhook = Webhook::start(&source, folder.path(), "serve");
        Self { folder, stub, webhook }
    }

    /// The answer to a pod that requests fluent-bit.
    fn answer(&self) -> String {
        let mut client = TlsClient::connect(self.webhook.listen(), &self.webhook.authority).expect("connect");
        let body = client.post(REVIEW).expect("an answer").body;
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let patch = answer["response"]["patch"].as_str().unwrap_or_default();
        let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).expect("base64");
        String::from_utf8(patch).expect("text")
    }

    fn serves(&self, version: &str) {
        let image = format!("fluent-bit:{version}");
        let ((), took) = wait::until("the template to be served", || {
            let answer = self.answer();
            if answer.contains(&image) { Ok(()) } else { Err(answer) }
        });
        println!("{version} served after {took:?}");
    }

    fn readiness(&self, part: &str) {
        wait::until("the expected readiness", || match self.webhook.readiness() {
            Some((200, text)) if text.contains(part) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    fn metric(&self, name: &str) -> u64 {
        let (_, page) = self.webhook.metrics();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("sidecar_injector_{name} ")));
        line.expect("the metric").parse().expect("a number")
    }

    /// The processor time of the webhook so far, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(Path::new("/proc").join(self.webhook.pid().to_string()).join("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn resident(&self) -> u64 {
        let status =
            fs::read_to_string(Path::new("/proc").join(self.webhook.pid().to_string()).join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

fn stub() -> Stub {
    let stub = Stub::start();
    stub.set("fluent-bit", &template("1"));
    stub
}

#[test]
fn the_last_catalog_serves_while_the_api_server_is_down() {
    let mut bench = Bench::start(stub());
    bench.serves("1");
    assert_eq!(bench.metric("catalog_in_sync"), 1);
    bench.stub.down();
    bench.readiness("the cluster cannot be watched since");
    assert_eq!(bench.metric("catalog_in_sync"), 0);
    let (ticks, started) = (bench.ticks(), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    assert!(bench.answer().contains("fluent-bit:1"));
    let (spent, took) = (bench.ticks() - ticks, started.elapsed());
    println!("{spent} ticks in {took:?} without an API server");
    // On a busy machine both the time and a busy loop's share of it grow.
    assert!(u128::from(spent) * 10 < took.as_millis() / 2, "no busy loop: {spent} ticks in {took:?}");
    bench.stub.set_without_event("fluent-bit", &template("2"));
    bench.stub.up();
    bench.serves("2");
    bench.readiness("ok\n");
    wait::until("catalog_in_sync to be 1", || match bench.metric("catalog_in_sync") {
        1 => Ok(()),
        other => Err(other.to_string()),
    });
    assert!(bench.metric("watch_failures_total") > 0);
}

#[test]
fn expired_and_broken_watches_are_restarted() {
    let bench = Bench::start(stub());
    bench.serves("1");
    bench.stub.set_without_event("fluent-bit", &template("2"));
    bench.stub.expire();
    bench.serves("2");
    bench.stub.reset();
    wait::until("the watch to continue", || {
        bench.stub.set("fluent-bit", &template("3"));
        if bench.answer().contains("fluent-bit:3") { Ok(()) } else { Err(String::new()) }
    });
    bench.readiness("ok\n");
}

#[test]
fn a_slow_list_delays_readiness_and_nothing_else() {
    let stub = stub();
    stub.list_delay(Duration::from_secs(2));
    let started = Instant::now();
    let bench = Bench::start(stub);
    println!("ready after {:?}", started.elapsed());
    assert!(bench.stub.lists() >= 1, "ready only when the list is read");
    bench.serves("1");
}

#[test]
fn ten_thousand_config_maps_are_served_and_flapping_is_damped() {
    let stub = stub();
    for number in 0..10_000 {
        stub.set(
            &format!("other-{number}"),
            &template("1").replace("name: fluent-bit", &format!("name: other-{number}")),
        );
    }
    let started = Instant::now();
    let bench = Bench::start(stub);
    println!("10,000 ConfigMaps: ready after {:?}, {} MiB", started.elapsed(), bench.resident());
    assert!(bench.resident() < 256, "{} MiB", bench.resident());
    bench.serves("1");
    let (generation, ticks, started) = (bench.metric("catalog_generation"), bench.ticks(), Instant::now());
    for number in 0..250 {
        bench.stub.set("fluent-bit", &template(&format!("flap-{number}")));
        std::thread::sleep(Duration::from_millis(20));
    }
    bench.serves("flap-249");
    let (published, spent) = (bench.metric("catalog_generation") - generation, bench.ticks() - ticks);
    let took = started.elapsed();
    println!("250 changes in {took:?}: published {published} times, {spent} ticks, {} MiB", bench.resident());
    assert!(published < 250, "changes that come together are published together");
    assert!(u128::from(spent) * 10 < took.as_millis() * 3 / 2, "{spent} ticks in {took:?}: no busy loop");
    assert!(bench.resident() < 256, "{} MiB", bench.resident());
}
