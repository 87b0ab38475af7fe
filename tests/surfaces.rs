//! The golden corpus through the two surfaces people use: the `inject` command and the webhook over
//! HTTPS. What the engine gives stands in the corpus (`tests/golden.rs`); here both must agree with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::semicolon_if_nothing_returned)]
#![allow(dead_code, reason = "the support module serves several test programs")]
#![cfg(feature = "cluster")]

mod corpus;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use corpus::CaseSettings;
use serde_json::{Value, json};
use sidecar_injector::inject::Entry;
use sidecar_injector::templates;
use sidecar_injector::workload::{PodTemplate, pod_templates};
use support::cluster::Cluster;
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

/// The documents of an input or output.
fn documents(text: &str) -> Vec<(String, Value)> {
    let read =
        |(lines, text): (usize, &str)| (text.to_owned(), templates::manifest("text", lines, text).expect("YAML"));
    templates::split(text).into_iter().map(read).collect()
}

fn inject(case: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidecar-injector"))
        .args(["inject", "-f"])
        .arg(case.join("input.yaml"))
        .arg("--templates")
        .arg(case.join("templates"))
        .args(CaseSettings::of(case).arguments())
        .args((CaseSettings::of(case).entry() == Entry::Policy).then_some("--policy"))
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

/// Unchanged documents byte for byte, changed ones as the corpus says.
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

/// The pod of a review after the answer's patch, or the refusal.
fn answered(review: &Value, answer: &Value) -> Result<Value, String> {
    let response = &answer["response"];
    assert_eq!(response["uid"], "golden");
    if response["allowed"] == false {
        return Err(response["status"]["message"].as_str().expect("a message").to_owned());
    }
    let mut pod = review["request"]["object"].clone();
    assert_eq!(response["patch"].is_null(), response["patchType"].is_null(), "both or neither");
    if let Some(patch) = response["patch"].as_str() {
        let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).expect("base64");
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
        json_patch::patch(&mut pod, &patch).expect("applies");
    }
    Ok(pod)
}

fn start(case: &Path, settings: &CaseSettings, folder: &Path, name: &str) -> Webhook {
    let authority = folder.join(format!("{name}.ca.crt"));
    let mut webhook = Webhook::start_with(folder, name, |command| {
        command.args(["--shutdown-delay", "0", "--tls-self-signed", "127.0.0.1"]).args(settings.arguments());
        command.arg("--tls-write-ca").arg(&authority).arg("--templates").arg(case.join("templates"));
        if case.join("values.yaml").exists() {
            command.arg("--values").arg(case.join("values.yaml"));
        }
    });
    webhook.authority = fs::read_to_string(authority).expect("written");
    webhook
}

#[test]
fn the_webhook_agrees_with_the_corpus() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    for (number, case) in cases().iter().enumerate() {
        // Without a cluster the webhook knows no namespaces; those cases are run against a real one.
        if expected(case, "input.yaml").expect("input").contains("kind: Namespace") {
            continue;
        }
        let settings = CaseSettings::of(case);
        let webhook = start(case, &settings, folder.path(), &format!("case-{number}"));
        let path = if settings.entry() == Entry::Policy { "/mutate/policy" } else { "/mutate" };
        let client = Cluster::at(runtime.handle().clone(), &webhook.base_url(), &webhook.authority).expect("a client");
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
                let answer = client.create(path, &review).expect("an answer");
                match answered(&review, &answer) {
                    Err(message) => denials.push(message),
                    Ok(after) => {
                        compare_pod(case, &pod, &after, outputs.as_ref().map_or(*document, |list| &list[index]))
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

/// What the webhook makes of the pod is what stands in the corpus. Not compared: documents whose
/// corpus is a refusal, and pods with claims, which the manifest does not list as volumes.
fn compare_pod(case: &Path, pod: &PodTemplate, after: &Value, output: &Value) {
    if expected(case, "denied.txt").is_some() || !pod.embedding.claims.is_empty() {
        return;
    }
    let wanted = output.pointer(&pod.embedding.pointer).expect("the pod");
    for part in ["metadata", "spec"] {
        let (after, wanted) = (&after[part], &wanted[part]);
        // A template without metadata is a pod without any.
        let same = after == wanted || wanted.is_null() && after.as_object().is_some_and(serde_json::Map::is_empty);
        assert!(same, "{}: {part}\n{after}\n{wanted}", case.display());
    }
}
