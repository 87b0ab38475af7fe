//! Reviews as the API server sends them, byte for byte: the material of the other tests and the demo.
//!
//! With `CAPTURE_REVIEWS=DIR` they are written there; otherwise the scenario proves that recording
//! still works.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{item, mounts_token, pod, status};
use crate::scenario::{Hook, Scenario};
use crate::support::endpoint::{Endpoint, allow};
use crate::support::wait;
use crate::workloads::manifest;

pub(crate) const SCENARIOS: &[Entry] = &[("capture_reviews", capture)];

/// The managed fields of a pod name who wrote it.
const AS_KUBECTL: &str = "fieldManager=kubectl-create";

/// Everything a wildcard rule can bring about pods.
fn all_operations(hook: Hook) -> Hook {
    let resources = ["pods", "pods/ephemeralcontainers", "pods/resize"];
    hook.with("rules", json!([{"apiGroups": [""], "apiVersions": ["v1"], "resources": resources, "operations": ["*"], "scope": "Namespaced"}]))
}

fn capture(scenario: &Scenario<'_>) {
    // The namespace is part of a review: one that reads well in the files.
    let shop = scenario.elsewhere("shop");
    capture_untouched(&shop);
    shop.cluster().delete(&shop.path("/apis/apps/v1", "deployments/checkout")).expect("delete");
    capture_injected(&shop);
}

/// What the API server sends before anybody has changed anything.
fn capture_untouched(shop: &Scenario<'_>) {
    let endpoint = shop.endpoint(allow);
    shop.register(&[all_operations(Hook::theirs("capture.sidecar.io", &endpoint))]);
    until_called(shop, &endpoint);

    let create = |path: &str, text: &str| shop.cluster().create(path, &manifest(text)).expect("create");
    create(&shop.path("/apis/apps/v1", "deployments"), include_str!("../reviews/manifests/deployment.yaml"));
    record(&endpoint, "deployment-pod", |request| generate_name(request).starts_with("checkout-"));
    create(&shop.path("/apis/batch/v1", "jobs"), include_str!("../reviews/manifests/job.yaml"));
    record(&endpoint, "job-pod", |request| generate_name(request).starts_with("migrate-"));
    create(&shop.path("/api/v1", &format!("pods?{AS_KUBECTL}")), include_str!("../reviews/manifests/plain-pod.yaml"));
    record(&endpoint, "plain-pod", |request| request["name"] == "plain" && request["operation"] == "CREATE");
    create(
        &shop.path("/api/v1", &format!("pods?{AS_KUBECTL}&dryRun=All")),
        include_str!("../reviews/manifests/dry-run.yaml"),
    );
    record(&endpoint, "dry-run", |request| request["name"] == "dry-run" && request["dryRun"] == true);

    let stored = wait::until("the Deployment's pod", || {
        let mut pods = shop.stored().into_iter();
        pods.find(|pod| pod["metadata"]["labels"]["team"] == "payments").ok_or_else(|| "none".to_owned())
    });
    let path = shop.path("/api/v1", &format!("pods/{}", stored.0["metadata"]["name"].as_str().expect("a name")));
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox:1.37", "stdin": true, "tty": true}]}});
    shop.cluster().patch(&format!("{path}/ephemeralcontainers"), &debugger).expect("attach a debugger");
    record(&endpoint, "ephemeralcontainers", |request| request["subResource"] == "ephemeralcontainers");
    let larger = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "300m"}}}]}});
    shop.cluster().patch(&format!("{path}/resize"), &larger).expect("resize");
    record(&endpoint, "resize", |request| request["subResource"] == "resize");
    shop.cluster().delete(&shop.path("/api/v1", "pods/plain")).expect("delete");
    record(&endpoint, "delete", |request| request["operation"] == "DELETE");
}

/// The second round of a pod that we have injected: our items with the server's defaults and the
/// token mount.
fn capture_injected(shop: &Scenario<'_>) {
    let webhook = shop.injector();
    let endpoint = shop.endpoint(allow);
    shop.register(&[Hook::ours(&webhook), Hook::theirs("capture.sidecar.io", &endpoint)]);
    until_called(shop, &endpoint);
    let deployment = manifest(include_str!("../reviews/manifests/deployment.yaml"));
    shop.cluster().create(&shop.path("/apis/apps/v1", "deployments"), &deployment).expect("create");
    record(&endpoint, "already-injected", |request| {
        let pod = &request["object"];
        status(pod).is_some() && mounts_token(item(pod, "initContainers", "fluent-bit"))
    });
}

fn until_called(shop: &Scenario<'_>, endpoint: &Endpoint) {
    wait::until("the capturing webhook to be called", || {
        shop.dry_run(&pod("probe", None)).map_err(|refusal| refusal.to_string())?;
        if endpoint.received().is_empty() { Err("not called".to_owned()) } else { Ok(()) }
    });
}

fn generate_name(request: &Value) -> &str {
    request["object"]["metadata"]["generateName"].as_str().unwrap_or_default()
}

/// Waits for the first review that is meant and writes it down if wanted.
fn record(endpoint: &Endpoint, name: &str, meant: impl Fn(&Value) -> bool) {
    let is_meant = |body: &Vec<u8>| serde_json::from_slice::<Value>(body).is_ok_and(|review| meant(&review["request"]));
    let (body, _) = wait::until(name, || {
        let received = endpoint.received();
        let count = received.len();
        received.into_iter().find(is_meant).ok_or_else(|| format!("{count} other reviews"))
    });
    if let Some(folder) = env::var_os("CAPTURE_REVIEWS").map(PathBuf::from) {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.json")), body)
            .expect("write a review");
    }
}
