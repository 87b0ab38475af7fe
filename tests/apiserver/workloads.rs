//! Tests pods that controllers create. These pods have no name yet, and the account is that of a controller.

use serde_json::Value;

use crate::Entry;
use crate::objects::{item, mounts_token, names, status_templates};
use crate::scenario::Scenario;
use crate::support::wait;

pub(crate) const SCENARIOS: &[Entry] =
    &[("deployment_gets_pods_with_sidecars", deployment), ("job_gets_a_pod_whose_sidecar_is_native", job)];

const DEPLOYMENT: &str = include_str!("../reviews/manifests/deployment.yaml");
const JOB: &str = include_str!("../reviews/manifests/job.yaml");

/// A manifest of this repository as JSON.
pub(crate) fn manifest(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("the manifest is YAML")
}

fn deployment(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    scenario.cluster().create(&scenario.path("/apis/apps/v1", "deployments"), &manifest(DEPLOYMENT)).expect("created");
    let pod = the_pod(scenario);
    assert_eq!(pod["metadata"]["generateName"].as_str().map(|name| name.starts_with("checkout-")), Some(true));
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
    assert_eq!(names(&pod, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert_eq!(names(&pod, "containers"), ["app", "nginx"]);
    assert_eq!(status_templates(&pod), ["fluent-bit"]);
    assert!(mounts_token(item(&pod, "initContainers", "fluent-bit")), "the second round has the mount of the token");

    let deployment =
        scenario.cluster().get(&scenario.path("/apis/apps/v1", "deployments/checkout")).expect("the Deployment");
    assert!(names(&deployment["spec"]["template"], "initContainers").is_empty(), "the pod template is unchanged");
}

fn job(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    scenario.cluster().create(&scenario.path("/apis/batch/v1", "jobs"), &manifest(JOB)).expect("created");
    let pod = the_pod(scenario);
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Job");
    assert_eq!(names(&pod, "initContainers"), ["fluent-bit-config", "fluent-bit", "wait-for-db"]);
    assert_eq!(names(&pod, "containers"), ["migrate"], "a sidecar in this list would keep the Job from finishing");
    assert_eq!(item(&pod, "initContainers", "fluent-bit")["restartPolicy"], "Always");
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
}

/// Waits for the pod that a controller creates.
fn the_pod(scenario: &Scenario<'_>) -> Value {
    let (pod, time) = wait::until("a controller to create the pod", || {
        scenario.stored().into_iter().next().ok_or_else(|| event_messages(scenario))
    });
    eprintln!("{}: the controller created the pod after {} ms", scenario.namespace, time.as_millis());
    pod
}

/// The messages of all Events. Controllers report there why they cannot create a pod.
fn event_messages(scenario: &Scenario<'_>) -> String {
    let events = scenario.cluster().get(&scenario.path("/api/v1", "events")).unwrap_or_default();
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let messages: Vec<&str> = events.iter().filter_map(|event| event["message"].as_str()).collect();
    format!("no pod; events: {messages:?}")
}
