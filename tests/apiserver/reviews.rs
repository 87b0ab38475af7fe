//! Records reviews of the API server, byte for byte. Other tests and the demo use them.
//!
//! `CAPTURE_REVIEWS=DIR` writes the reviews to a folder. Otherwise the scenario only tests the recording.

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

/// The managed fields of a pod contain the name of the client.
const AS_KUBECTL: &str = "fieldManager=kubectl-create";

/// Extends the rule to all operations on pods and their subresources.
fn all_operations(hook: Hook) -> Hook {
    let resources = ["pods", "pods/ephemeralcontainers", "pods/resize"];
    hook.with("rules", json!([{"apiGroups": [""], "apiVersions": ["v1"], "resources": resources, "operations": ["*"], "scope": "Namespaced"}]))
}

fn capture(scenario: &Scenario<'_>) {
    // The reviews contain the namespace, so it has a realistic name.
    let shop = scenario.elsewhere("shop");
    capture_untouched(&shop);
    shop.cluster().delete(&shop.path("/apis/apps/v1", "deployments/checkout")).expect("delete");
    capture_injected(&shop);
}

/// Records the reviews of pods that no webhook has changed.
fn capture_untouched(shop: &Scenario<'_>) {
    let endpoint = shop.endpoint(allow);
    shop.register(&[all_operations(Hook::other("capture.sidecar.io", &endpoint))]);
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

/// Records the second round of an injected pod: the added items have the defaults of the API server and the mount of
/// the token.
fn capture_injected(shop: &Scenario<'_>) {
    let webhook = shop.injector();
    let endpoint = shop.endpoint(allow);
    shop.register(&[Hook::ours(&webhook), Hook::other("capture.sidecar.io", &endpoint)]);
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
        shop.dry_run(&pod("probe", None)).map_err(|error| error.to_string())?;
        if endpoint.received().is_empty() { Err("not called".to_owned()) } else { Ok(()) }
    });
}

fn generate_name(request: &Value) -> &str {
    request["object"]["metadata"]["generateName"].as_str().unwrap_or_default()
}

/// Waits for the first review that `matches` accepts. Writes it to the folder of `CAPTURE_REVIEWS`, if set.
fn record(endpoint: &Endpoint, name: &str, matches: impl Fn(&Value) -> bool) {
    let is_match =
        |body: &Vec<u8>| serde_json::from_slice::<Value>(body).is_ok_and(|review| matches(&review["request"]));
    let (body, _) = wait::until(name, || {
        let received = endpoint.received();
        let count = received.len();
        received.into_iter().find(is_match).ok_or_else(|| format!("{count} other reviews"))
    });
    if let Some(folder) = env::var_os("CAPTURE_REVIEWS").map(PathBuf::from) {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.json")), body)
            .expect("write a review");
    }
}
