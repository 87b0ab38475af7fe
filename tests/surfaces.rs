//! Tests the two interfaces for users with the golden corpus: the command `inject`, and the webhook over HTTPS. The
//! corpus contains the results of the engine (`tests/golden.rs`), and both interfaces must agree with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::semicolon_if_nothing_returned)]
#![allow(dead_code, reason = "the support module serves several test programs")]
#![cfg(feature = "cluster")]

mod corpus;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Barrier;

use corpus::CaseSettings;
use serde_json::{Value, json};
use sidecar_injector::inject::settings::EntryPoint;
use sidecar_injector::manifest::template_files;
use sidecar_injector::manifest::workload::{PodTemplate, pod_templates};
use support::conformance::Caller;
use support::webhook::Webhook;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).expect("the corpus").map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 40, "the corpus is missing");
    cases
}

fn expected(case: &Path, file: &str) -> Option<String> {
    fs::read_to_string(case.join(file)).ok()
}

/// The documents of an input or an output.
fn documents(text: &str) -> Vec<(String, Value)> {
    let read =
        |(lines, text): (usize, &str)| (text.to_owned(), template_files::manifest("text", lines, text).expect("YAML"));
    template_files::split(text).into_iter().map(read).collect()
}

fn inject(case: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidecar-injector"))
        .args(["inject", "-f"])
        .arg(case.join("input.yaml"))
        .arg("--templates")
        .arg(case.join("templates"))
        .args(CaseSettings::of(case).arguments())
        .args((CaseSettings::of(case).entry() == EntryPoint::Policy).then_some("--policy"))
        .args(case.join("values.yaml").exists().then(|| format!("--values={}", case.join("values.yaml").display())))
        .args(more)
        .output()
        .expect("run the command")
}

#[test]
fn the_command_agrees_with_the_corpus() {
    for case in cases() {
        let output = inject(&case, &[]);
        let stdout = String::from_utf8(output.stdout).expect("text");
        let stderr = String::from_utf8(output.stderr).expect("text");
        if let Some(denied) = expected(&case, "denied.txt") {
            assert_eq!(output.status.code(), Some(1), "{}: {stderr}", case.display());
            assert_eq!(stdout, "", "{}: nothing is written when anything is denied", case.display());
            for message in denied.lines() {
                assert!(stderr.contains(message), "{}: {message}\n{stderr}", case.display());
            }
            continue;
        }
        assert_eq!(output.status.code(), Some(0), "{}: {stderr}", case.display());
        for warning in expected(&case, "warnings.txt").unwrap_or_default().lines() {
            assert!(stderr.contains(warning), "{}: {warning}\n{stderr}", case.display());
        }
        compare_yaml(&case, &stdout);
    }
}

/// Compares the output with the corpus. Unchanged documents must be equal byte for byte.
fn compare_yaml(case: &Path, stdout: &str) {
    let input = documents(&expected(case, "input.yaml").expect("input"));
    let output = documents(stdout);
    assert_eq!(input.len(), output.len(), "{}", case.display());
    let wanted: Option<Vec<Value>> =
        expected(case, "output.json").map(|text| serde_json::from_str(&text).expect("JSON"));
    let mut wanted = wanted.map(Vec::into_iter);
    for ((before_text, before), (after_text, after)) in input.iter().zip(&output) {
        let wanted = wanted.as_mut().filter(|_| !before.is_null()).and_then(Iterator::next);
        let wanted = wanted.as_ref().unwrap_or(before);
        assert_eq!(after, wanted, "{}", case.display());
        if wanted == before {
            assert_eq!(before_text, after_text, "{}: an unchanged document", case.display());
        }
    }
}

fn review_of(pod: &PodTemplate) -> Value {
    let mut object: Value = serde_json::from_str(&pod.pod).expect("JSON");
    for claim in &pod.embedding.claims {
        let volume = json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        match object["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(volume),
            None => object["spec"]["volumes"] = json!([volume]),
        }
    }
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "golden",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "default",
            "operation": "CREATE",
            "object": object,
        },
    })
}

fn start(case: &Path, settings: &CaseSettings, folder: &Path, name: &str) -> Webhook {
    Webhook::start_self_signed(folder, name, |command| {
        command.args(["--shutdown-delay", "0"]).args(settings.arguments());
        command.arg("--templates").arg(case.join("templates"));
        if case.join("values.yaml").exists() {
            command.arg("--values").arg(case.join("values.yaml"));
        }
    })
}

#[test]
fn the_webhook_agrees_with_the_corpus() {
    let folder = tempfile::tempdir().expect("a folder");
    for (number, case) in cases().iter().enumerate() {
        // Without a cluster, the webhook has no namespaces. Tests with a real API server run these cases.
        if expected(case, "input.yaml").expect("input").contains("kind: Namespace") {
            continue;
        }
        let settings = CaseSettings::of(case);
        let webhook = start(case, &settings, folder.path(), &format!("case-{number}"));
        let path = if settings.entry() == EntryPoint::Policy { "/mutate/policy" } else { "/mutate" };
        let caller = Caller::new(webhook.listen(), &webhook.authority);
        let outputs: Option<Vec<Value>> =
            expected(case, "output.json").map(|text| serde_json::from_str(&text).unwrap());
        let input = documents(&expected(case, "input.yaml").expect("input"));
        let inputs: Vec<&Value> = input.iter().map(|(_, value)| value).filter(|value| !value.is_null()).collect();
        let mut denials = Vec::new();
        for (index, document) in inputs.iter().enumerate() {
            for pod in pod_templates(document) {
                let mut review = review_of(&pod);
                if let Some(namespace) = &pod.namespace {
                    review["request"]["namespace"] = namespace.as_str().into();
                }
                match caller.call(path, &review) {
                    Err(message) => denials.push(message),
                    Ok(admitted) => {
                        compare_pod(case, &pod, &admitted.pod, outputs.as_ref().map_or(*document, |list| &list[index]))
                    }
                }
            }
        }
        let denied = expected(case, "denied.txt").unwrap_or_default();
        let reason = |message: &str| message.rsplit_once(" [").map(|(_, reason)| reason.to_owned());
        let reasons: Vec<_> = denials.iter().map(|message| reason(message)).collect();
        assert_eq!(reasons, denied.lines().map(reason).collect::<Vec<_>>(), "{}", case.display());
    }
}

/// Sends as many calls at the same time as the API server keeps connections, and more. Each call gets its own answer.
#[test]
fn twenty_five_connections_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/two-templates-on-a-bare-pod");
    let webhook = start(&case, &CaseSettings::of(&case), folder.path(), "kept");
    let caller = Caller::new(webhook.listen(), &webhook.authority);
    let input = documents(&expected(&case, "input.yaml").expect("input"));
    let (_, document) = input.iter().find(|(_, document)| !document.is_null()).expect("a pod");
    let pod = pod_templates(document).remove(0);
    // All have a connection before the first call: how many calls overlap is up to the machine.
    let connected = Barrier::new(40);
    std::thread::scope(|scope| {
        for thread in 0..40 {
            let (caller, pod, connected) = (&caller, &pod, &connected);
            scope.spawn(move || {
                let client = caller.take();
                connected.wait();
                caller.keep(client);
                for call in 0..5 {
                    let mut review = review_of(pod);
                    review["request"]["uid"] = format!("{thread}-{call}").into();
                    let path = if call % 2 == 0 { "/mutate" } else { "//mutate/" };
                    assert!(caller.call(path, &review).expect("admitted").patched);
                }
            });
        }
    });
    assert_eq!(caller.kept(), 25);
}

/// Compares the pod that the webhook returns with the corpus. Documents that the corpus denies are not compared.
/// Neither are pods with claims, which the manifest does not list as volumes.
fn compare_pod(case: &Path, pod: &PodTemplate, after: &Value, output: &Value) {
    if expected(case, "denied.txt").is_some() || !pod.embedding.claims.is_empty() {
        return;
    }
    let wanted = output.pointer(&pod.embedding.pointer).expect("the pod");
    for part in ["metadata", "spec"] {
        let (after, wanted) = (&after[part], &wanted[part]);
        // A pod template without metadata results in a pod with empty metadata.
        let same = after == wanted || wanted.is_null() && after.as_object().is_some_and(serde_json::Map::is_empty);
        assert!(same, "{}: {part}\n{after}\n{wanted}", case.display());
    }
}
