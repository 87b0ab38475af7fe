//! Tests the golden corpus with a real API server. If the API server accepts a pod, it must accept the injected pod. A
//! second run must not add anything to a pod with defaults. The command on the manifest and the webhook on the pod with
//! defaults must have the same result.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sidecar_injector::inject::Engine;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::catalog::namespaces::Namespaces;
use sidecar_injector::inject::catalog::sources::Sources;
use sidecar_injector::inject::decision::Decision;
use sidecar_injector::inject::review::Request;
use sidecar_injector::inject::settings::{Embedding, EntryPoint, Settings};
use sidecar_injector::manifest::workload::{PodTemplate, pod_templates};
use sidecar_injector::manifest::{template_files, value_files};

use crate::scenario::Scenario;
use crate::support::cluster::ApiError;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("golden_results_are_accepted", golden_results_are_accepted)];

fn golden_results_are_accepted(scenario: &Scenario<'_>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).expect("the corpus").map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    // Some cases refer to this service account.
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "agent"}});
    let accounts = format!("/api/v1/namespaces/{}/serviceaccounts", scenario.namespace);
    scenario.cluster().create(&accounts, &account).expect("create a service account");
    let (mut accepted, mut rejected, mut failures) = (0, 0, Vec::new());
    // Cases with their own settings test the selection of templates, so they are skipped.
    for case in cases.iter().filter(|case| case.join("output.json").exists() && !case.join("settings.json").exists()) {
        let (pods, catalog) = read(case);
        for (before, after) in pods {
            match compare(scenario, &catalog, &before, &after) {
                Ok(true) => accepted += 1,
                Ok(false) => rejected += 1,
                Err(why) => failures.push(format!("{}: {why}", case.file_name().unwrap().display())),
            }
        }
    }
    println!("{accepted} pods accepted, {rejected} rejected before the injection");
    assert!(failures.is_empty(), "{} of {accepted}:\n{}", failures.len(), failures.join("\n\n"));
    assert!(accepted >= 60, "the corpus is missing");
}

/// The pods of a case that are changed, before and after the change, and the catalog of the case.
fn read(case: &Path) -> (Vec<(PodTemplate, PodTemplate)>, Catalog) {
    let input = fs::read_to_string(case.join("input.yaml")).unwrap();
    let output: Vec<Value> = serde_json::from_str(&fs::read_to_string(case.join("output.json")).unwrap()).unwrap();
    let documents = template_files::split(&input).into_iter();
    let documents = documents.map(|(lines, text)| template_files::manifest("input", lines, text).expect("YAML"));
    let documents: Vec<Value> = documents.filter(|document| !document.is_null()).collect();
    let namespaces =
        Namespaces { watched: false, known: documents.iter().filter_map(value_files::namespace).collect() };
    let mut sources = Sources::default();
    template_files::read(&[case.join("templates")], &mut sources);
    let catalog = sources.catalog().catalog.with_values(&crate::corpus::values(case));
    let before = documents.iter().flat_map(pod_templates);
    let after = output.iter().flat_map(pod_templates);
    let pods = before.zip(after).filter(|(before, after)| before.pod != after.pod).collect();
    (pods, catalog.with_namespaces(Arc::new(namespaces)))
}

/// Returns `Ok(false)` if the API server rejects the pod before the injection.
fn compare(
    scenario: &Scenario<'_>,
    catalog: &Catalog,
    before: &PodTemplate,
    after: &PodTemplate,
) -> Result<bool, String> {
    let Ok(defaulted) = create(scenario, before, &before.pod) else { return Ok(false) };
    let injected = create(scenario, after, &after.pod).map_err(|why| format!("the injected pod is rejected: {why}"))?;
    let again = decide(&injected, before, catalog);
    if let Some(patch) = again.patch {
        return Err(format!("a second run adds {}", String::from_utf8_lossy(&patch)));
    }
    // The webhook sees the pod with its defaults.
    let decision = decide(&defaulted, before, catalog);
    let Some(patch) = decision.patch else { return Err(format!("the webhook adds nothing: {}", decision.message)) };
    let mut patched = defaulted;
    json_patch::patch(&mut patched, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).expect("applies");
    let stored = create(scenario, after, &patched.to_string())
        .map_err(|why| format!("the pod of the webhook is rejected: {why}"))?;
    let (by_command, by_webhook) = (comparable(injected), comparable(stored));
    if by_command != by_webhook {
        return Err(format!("command and webhook differ:\n{by_command}\n{by_webhook}"));
    }
    Ok(true)
}

/// Creates the pod as a dry run. Returns it as the API server would store it.
fn create(scenario: &Scenario<'_>, template: &PodTemplate, pod: &str) -> Result<Value, ApiError> {
    let mut pod: Value = serde_json::from_str(pod).expect("JSON");
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    let metadata = pod["metadata"].as_object_mut().expect("metadata");
    for key in ["name", "namespace", "uid", "ownerReferences", "managedFields", "creationTimestamp", "selfLink"] {
        metadata.remove(key);
    }
    metadata.insert("generateName".to_owned(), "golden-".into());
    let claims: Vec<Value> =
        template.embedding.claims.iter().map(|claim| json!({"name": claim, "emptyDir": {}})).collect();
    match pod["spec"]["volumes"].as_array_mut() {
        Some(volumes) => volumes.extend(
            claims.into_iter().filter(|claim| !volumes.iter().any(|v| v["name"] == claim["name"])).collect::<Vec<_>>(),
        ),
        None if claims.is_empty() => {}
        None => pod["spec"]["volumes"] = claims.into(),
    }
    scenario.cluster().create(&format!("/api/v1/namespaces/{}/pods?dryRun=All", scenario.namespace), &pod)
}

fn decide(pod: &Value, template: &PodTemplate, catalog: &Catalog) -> Decision {
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": template.namespace.as_deref().unwrap_or("default"), "operation": "CREATE", "object": pod,
        },
    });
    let review = review.to_string();
    let request = Request::parse(review.as_bytes()).expect("a review");
    Engine::new(catalog, &Settings::default(), EntryPoint::default()).decide(&request, &Embedding::default())
}

/// Removes the differences between two creations of the same pod. Also removes the differences between the command and
/// the webhook: members that the API server sets by default, and the order of its token volume and tolerations.
fn comparable(mut pod: Value) -> Value {
    let metadata = pod["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|key, _| matches!(key.as_str(), "labels" | "annotations"));
    if let Some(text) = metadata.get_mut("annotations").and_then(|map| map.get_mut("sidecar.io/status")) {
        let mut status: Value = serde_json::from_str(text.as_str().expect("text")).expect("JSON");
        for template in status["templates"].as_array_mut().into_iter().flatten() {
            if let Some(added) = template["added"].as_object_mut() {
                added.retain(|key, _| !matches!(key.as_str(), "created" | "pod" | "replaced"));
            }
        }
        *text = status;
    }
    let volumes = pod["spec"]["volumes"].as_array_mut().expect("the token");
    let token = volumes.iter().filter_map(|v| v["name"].as_str()).find(|name| name.starts_with("kube-api-access-"));
    let token = token.unwrap_or("none").to_owned();
    volumes.sort_by_key(|volume| volume["name"].to_string());
    if let Some(tolerations) = pod["spec"]["tolerations"].as_array_mut() {
        tolerations.sort_by_key(ToString::to_string);
    }
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.sort_by_key(|mount| mount["mountPath"].to_string());
            }
        }
    }
    let compared = json!({"metadata": pod["metadata"], "spec": pod["spec"]}).to_string();
    serde_json::from_str(&compared.replace(&token, "kube-api-access-")).expect("JSON")
}
