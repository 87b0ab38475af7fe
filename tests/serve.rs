//! Tests `serve` as a process on loopback in the situations of a cluster: an API server that buffer its connections, a
//! rollout that stops the process, a renewed certificate, and clients that never complete a request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the support module serves several test programs")]
#![cfg(feature = "cluster")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidecar_injector::certs;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::settings::Settings;
use sidecar_injector::server::{self, ServerLimits, accept};
use sidecar_injector::state;
use support::credentials::Credentials;
use support::files;
use support::tls_client::TlsClient;
use support::wait;
use support::webhook::Webhook;

const REVIEW: &str = include_str!("reviews/deployment-pod.json");
const TEMPLATE: &str = "sidecars: [{name: fluent-bit, image: fluent-bit:4.1}]\n";

/// Creates a folder with the template that the captured review requests.
fn templates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("fluent-bit.yaml"), TEMPLATE).expect("write");
    folder
}

fn start(folder: &Path, templates: &Path, more: &[&str]) -> Webhook {
    Webhook::start_self_signed(folder, "serve", |command| {
        command.arg("--templates").arg(templates).args(more);
    })
}

fn connect(webhook: &Webhook) -> TlsClient {
    TlsClient::connect(webhook.listen(), &webhook.authority).expect("connect")
}

#[test]
fn a_drain_loses_no_request() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    // Long enough for what follows on a busy machine: the delay cannot be cut short.
    let mut webhook = start(folder.path(), templates.path(), &["--shutdown-delay", "10"]);
    let mut idle = connect(&webhook);
    let mut busy = connect(&webhook);
    assert_eq!(idle.post(REVIEW).expect("an answer").status, 200);
    // A connection without a request yet: its request is sent later.
    let mut fresh = connect(&webhook);
    // Half of a request has been sent when the process is asked to stop.
    let (first, second) = REVIEW.split_at(REVIEW.len() / 2);
    busy.send(TlsClient::head(REVIEW.len()).as_bytes()).unwrap();
    busy.send(first.as_bytes()).unwrap();
    webhook.terminate();
    wait::until("the process to be unready", || match webhook.readiness() {
        Some((503, why)) if why == "shutting down\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // During the shutdown delay, requests are answered on kept and on new connections.
    let answer = idle.post(REVIEW).expect("answered during the delay");
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains("connection: close"), "{}", answer.headers);
    assert_eq!(connect(&webhook).post(REVIEW).expect("answered during the delay").status, 200);
    wait::until("the port to close", || match TcpStream::connect(webhook.listen()) {
        Err(_) => Ok(()),
        Ok(_) => Err("still listening".to_owned()),
    });
    assert_eq!(fresh.post(REVIEW).expect("the first request of a new connection is answered").status, 200);
    busy.send(second.as_bytes()).unwrap();
    let answer = busy.answer().expect("the request under way is answered");
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("connection: close"), "{}", answer.headers);
    assert!(webhook.ended().success());
}

#[test]
fn clients_that_never_finish_do_not_block_others() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    let webhook = start(folder.path(), templates.path(), &[]);
    let half_open: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(webhook.listen()).expect("connect")).collect();
    let mut garbage = TcpStream::connect(webhook.listen()).expect("connect");
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    let mut slow = connect(&webhook);
    slow.send(&TlsClient::head(REVIEW.len()).as_bytes()[..20]).unwrap();
    assert_eq!(connect(&webhook).post(REVIEW).expect("an answer").status, 200);
    drop(half_open);
}

#[test]
fn a_renewed_certificate_is_served_without_restart() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let (old, new) = (Credentials::for_loopback().unwrap(), Credentials::for_loopback().unwrap());
    fs::write(&certificate, &old.certificate).unwrap();
    fs::write(&key, old.key.serialize_pem()).unwrap();
    let webhook = Webhook::start_with(folder.path(), "serve", |command| {
        command.arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&key);
        command.arg("--templates").arg(templates.path());
    });
    let mut kept = TlsClient::connect(webhook.listen(), &old.authority).expect("the old certificate");
    assert!(TlsClient::connect(webhook.listen(), &new.authority).is_err(), "not trusted yet");
    // The files are written one at a time, so in between the key does not match the certificate.
    files::write(&certificate, &new.certificate).unwrap();
    wait::until("the mismatched pair to be rejected", || match webhook.log() {
        log if log.contains("the current one stays in use") => Ok(()),
        log => Err(log),
    });
    assert!(TlsClient::connect(webhook.listen(), &old.authority).is_ok(), "the old one stays in use");
    files::write(&key, &new.key.serialize_pem()).unwrap();
    wait::until("the new certificate", || {
        TlsClient::connect(webhook.listen(), &new.authority).map(drop).map_err(|error| error.to_string())
    });
    assert_eq!(kept.post(REVIEW).expect("kept connections continue").status, 200);
}

#[test]
fn every_flag_is_an_environment_variable_and_a_broken_template_does_not_stop_the_start() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    fs::write(templates.path().join("broken.yaml"), "sidecar: []\n").unwrap();
    let authority = folder.path().join("ca.crt");
    let mut webhook = Webhook::start_with(folder.path(), "serve", |command| {
        command.env("SIDECAR_INJECTOR_TLS_SELF_SIGNED", "localhost,127.0.0.1");
        command.env("SIDECAR_INJECTOR_TLS_WRITE_CA", &authority);
        command.env("SIDECAR_INJECTOR_TEMPLATES", templates.path());
        command.env("SIDECAR_INJECTOR_LOG_FORMAT", "json");
    });
    webhook.authority = fs::read_to_string(&authority).expect("written");
    let log = webhook.log();
    assert!(log.contains("broken.yaml:1:1: unknown key \\\"sidecar\\\" (did you mean \\\"sidecars\\\"?)"), "{log}");
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    let answer = connect(&webhook).post(REVIEW).expect("an answer");
    assert!(answer.body.contains("\"patch\""), "{}", answer.body);
}

#[test]
fn files_that_the_kubelet_replaces_take_effect() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let link = |to: &str, text: Option<&str>| {
        fs::create_dir(templates.path().join(to)).unwrap();
        if let Some(text) = text {
            fs::write(templates.path().join(to).join("fluent-bit.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink(to, templates.path().join("..data_tmp")).unwrap();
        fs::rename(templates.path().join("..data_tmp"), templates.path().join("..data")).unwrap();
    };
    link("..1", Some(TEMPLATE));
    std::os::unix::fs::symlink("..data/fluent-bit.yaml", templates.path().join("fluent-bit.yaml")).unwrap();
    let webhook = start(folder.path(), templates.path(), &[]);
    let mut client = connect(&webhook);
    let mut body = || client.post(REVIEW).expect("an answer").body;
    let first = body();
    link("..2", Some(&TEMPLATE.replace("4.1", "4.2")));
    let (second, _) = wait::until("the changed file", || Some(body()).filter(|b| *b != first).ok_or(first.clone()));
    link("..3", Some("sidecars: ["));
    wait::until("the broken file", || {
        let log = webhook.log();
        if log.contains("template rejected") { Ok(()) } else { Err(log) }
    });
    assert_eq!(body(), second, "the last valid version serves");
    link("..4", None);
    wait::until("the deleted file", || Some(body()).filter(|b| b.contains("[UnknownTemplate]")).ok_or(second.clone()));
}

#[test]
fn a_folder_that_cannot_be_read_keeps_its_templates() {
    let (folder, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, away) = (parent.path().join("templates"), parent.path().join("away"));
    fs::create_dir(&path).unwrap();
    fs::write(path.join("fluent-bit.yaml"), TEMPLATE).unwrap();
    let webhook = start(folder.path(), &path, &[]);
    fs::rename(&path, &away).unwrap();
    wait::until("the missing folder to be logged", || match webhook.log() {
        log if log.contains("cannot be read") => Ok(()),
        log => Err(log),
    });
    let mut client = connect(&webhook);
    assert!(client.post(REVIEW).expect("an answer").body.contains("\"patch\""));
    fs::remove_file(away.join("fluent-bit.yaml")).unwrap();
    fs::rename(&away, &path).unwrap();
    wait::until("the deletion", || {
        let body = client.post(REVIEW).expect("an answer").body;
        if body.contains("[UnknownTemplate]") { Ok(()) } else { Err(body) }
    });
}

#[test]
fn unknown_names_are_not_metric_labels() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    let webhook = start(folder.path(), templates.path(), &[]);
    let mut review: serde_json::Value = serde_json::from_str(REVIEW).unwrap();
    let annotations = &mut review["request"]["object"]["metadata"]["annotations"];
    annotations["sidecar.io/inject"] = "evil-1".into();
    annotations["sidecar.io/status"] = r#"{"templates":[{"name":"evil-1","added":{"containers":["app"]}}]}"#.into();
    assert_eq!(connect(&webhook).post(&review.to_string()).expect("an answer").status, 200);
    let (_, page) = webhook.metrics();
    assert!(page.contains("template=\"(unknown)\"") && !page.contains("evil-1"), "{page}");
}

#[test]
fn the_log_level_can_be_changed_at_run_time() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    let webhook = start(folder.path(), templates.path(), &[]);
    assert_eq!(webhook.set_log_level("loud").0, 400);
    assert_eq!(webhook.set_log_level("debug"), (200, "DEBUG\n".to_owned()));
    let update = REVIEW.replace("fluent-bit", "absent").replace("\"CREATE\"", "\"UPDATE\"");
    assert_eq!(connect(&webhook).post(&update).expect("an answer").status, 200);
    assert!(webhook.log().contains("unchanged") && webhook.log().contains("NotAPodCreate"), "{}", webhook.log());
    assert_eq!(webhook.set_log_level("error").0, 200);
    let decisions = || webhook.log().matches("fluent-bit").count();
    let before = decisions();
    assert_eq!(connect(&webhook).post(REVIEW).expect("an answer").status, 200);
    assert_eq!(decisions(), before, "no entries below the level error: {}", webhook.log());
}

/// Starts a collector that buffer the bytes that it receives. Returns its URL and the bytes.
fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, received) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let buffer = Arc::clone(&received);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), buffer) = (stream, Arc::clone(&buffer)) else { continue };
            std::thread::spawn(move || {
                let mut part = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut part) {
                    buffer.lock().unwrap().extend_from_slice(&part[..length]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                }
            });
        }
    });
    (format!("http://{address}/v1/traces"), received)
}

#[test]
fn traces_continue_the_trace_of_the_api_server() {
    let (folder, templates) = (tempfile::tempdir().unwrap(), templates());
    let (endpoint, received) = collector();
    let mut webhook = start(folder.path(), templates.path(), &["--otlp-endpoint", &endpoint]);
    let parent = "0af7651916cd43dd8448eb211c80319c";
    let head = TlsClient::head(REVIEW.len());
    let head = head.replace("Host:", &format!("traceparent: 00-{parent}-b7ad6b7169203331-01\r\nHost:"));
    let mut client = connect(&webhook);
    client.send(head.as_bytes()).unwrap();
    client.send(REVIEW.as_bytes()).unwrap();
    assert_eq!(client.answer().expect("an answer").status, 200);
    drop(client);
    // Spans that were not sent yet are sent when the process stops.
    webhook.terminate();
    assert!(webhook.ended().success());
    let trace: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&parent[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let has = |part: &[u8]| received.lock().unwrap().windows(part.len()).any(|window| window == part);
    for part in [&trace[..], b"sidecar-injector", b"admission", b"Injected", b"fluent-bit"] {
        // The collector answers when it has the beginning, and may still be reading.
        wait::until("the whole trace to be received", || {
            let all = || format!("no {part:?} in {}", String::from_utf8_lossy(&received.lock().unwrap()));
            has(part).then_some(()).ok_or_else(all)
        });
    }
    assert!(!has(b"nginx"), "the trace has no data of the pod");
}

/// The API server buffer idle connections for 90 s. By default, hyper would close them after 30 s. The test advances a
/// paused clock, so it does not wait.
#[test]
fn idle_connections_stay_open_longer_than_the_api_server_keeps_them() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let webhook = Arc::new(state::Webhook::new(Settings::default(), state::Trust::default()));
        webhook.catalog.store(Arc::new(Some(Catalog::new([], std::collections::BTreeMap::new()))));
        let hosts = ["127.0.0.1".to_owned()];
        let (certificate, authority) = certs::self_signed(&hosts, time::OffsetDateTime::now_utc()).unwrap();
        let tls = certs::server_config(certs::CurrentCertificate::new(certificate)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = server::router(Arc::clone(&webhook), ServerLimits::default());
        tokio::spawn(accept::serve(listener, tls, router, webhook, std::future::pending()));
        let connect = move || {
            let mut client = TlsClient::connect(address, &authority).expect("connect");
            (client.post(REVIEW).expect("an answer").status, client)
        };
        let (status, mut client) = tokio::task::spawn_blocking(connect).await.unwrap();
        assert_eq!(status, 200);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(95)).await;
        tokio::time::resume();
        let again = move || client.post(REVIEW).map(|answer| answer.status);
        assert_eq!(tokio::task::spawn_blocking(again).await.unwrap().expect("still open"), 200);
    });
}
