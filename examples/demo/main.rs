//! The program behind `make demo`. The webhook on loopback answers an admission review that a real API server sent for
//! the pod of a Deployment. Then the command `inject` makes the same changes in a manifest.

#![allow(missing_docs, unreachable_pub, reason = "an example")]
#![allow(dead_code, clippy::expect_used, reason = "it shares a client with the tests")]

#[path = "../../tests/support/tls_client.rs"]
mod tls_client;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sidecar_injector::inject::document::yaml;
use similar::{ChangeTag, TextDiff};
use tls_client::TlsClient;

const REVIEW: &str = "tests/reviews/deployment-pod.json";
const MANIFEST: &str = "examples/deployment.yaml";
const TEMPLATES: &str = "examples/templates";

fn main() -> anyhow::Result<()> {
    let program = std::env::args().nth(1).context("usage: demo PATH-OF-SIDECAR-INJECTOR")?;
    webhook(&program)?;
    command(&program)
}

/// Stops the child process when the demo ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn webhook(program: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (authority, addresses) = (folder.path().join("ca.crt"), folder.path().join("addresses.json"));
    heading(&format!("sidecar-injector serve --templates {TEMPLATES} --tls-self-signed 127.0.0.1"));
    let child = Command::new(program)
        .args(["serve", "--templates", TEMPLATES, "--tls-self-signed", "127.0.0.1"])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--shutdown-delay", "0"])
        .arg("--tls-write-ca")
        .arg(&authority)
        .arg("--write-addresses")
        .arg(&addresses)
        .stdout(Stdio::null())
        .spawn();
    let _running = Running(child.with_context(|| format!("failed to start {program}"))?);
    let address = listening(&addresses)?;
    let mut client = TlsClient::connect(address, &std::fs::read_to_string(&authority)?)?;
    let body = std::fs::read_to_string(REVIEW).context(REVIEW)?;
    let review: Value = serde_json::from_str(&body)?;
    let mut answer = client.post(&body)?;
    while answer.status == 503 {
        std::thread::sleep(Duration::from_millis(20));
        answer = client.post(&body)?;
    }
    heading(&format!(
        "POST https://{address}/mutate < {REVIEW} ({} bytes, sent by a real API server): {}",
        body.len(),
        answer.status
    ));
    let answer: Value = serde_json::from_str(&answer.body)?;
    let Some(patch) = answer["response"]["patch"].as_str() else { bail!("no patch: {answer}") };
    let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch)?)?;
    for operation in &patch.0 {
        println!("  add {}", operation.path());
    }
    let before = &review["request"]["object"];
    let mut after = before.clone();
    json_patch::patch(&mut after, &patch)?;
    heading("the pod before and after");
    diff(&text(before)?, &text(&after)?);
    Ok(())
}

/// Waits for the address of the webhook.
fn listening(path: &Path) -> anyhow::Result<std::net::SocketAddr> {
    for _ in 0..500 {
        if let Ok(text) = std::fs::read_to_string(path) {
            let addresses: Value = serde_json::from_str(&text)?;
            return Ok(addresses["listen"].as_str().context("listen")?.parse()?);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the webhook did not start")
}

fn command(program: &str) -> anyhow::Result<()> {
    heading(&format!("sidecar-injector inject -f {MANIFEST} --templates {TEMPLATES}"));
    let output = Command::new(program).args(["inject", "-f", MANIFEST, "--templates", TEMPLATES]).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    diff(&std::fs::read_to_string(MANIFEST)?, &String::from_utf8(output.stdout)?);
    Ok(())
}

/// Returns the pod as YAML, without `managedFields`.
fn text(pod: &Value) -> anyhow::Result<String> {
    let mut pod = pod.clone();
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    yaml::write(&pod).map_err(anyhow::Error::msg)
}

fn colored() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn heading(text: &str) {
    if colored() { println!("\n\x1b[1m$ {text}\x1b[0m") } else { println!("\n$ {text}") }
}

fn diff(before: &str, after: &str) {
    let diff = TextDiff::from_lines(before, after);
    for group in diff.grouped_ops(3) {
        println!("  …");
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let text = change.value().trim_end();
            match (change.tag(), colored()) {
                (ChangeTag::Insert, true) => println!("\x1b[32m+ {text}\x1b[0m"),
                (ChangeTag::Delete, true) => println!("\x1b[31m- {text}\x1b[0m"),
                (tag, _) => println!("{tag} {text}"),
            }
        }
    }
}
