//! Tests pods that are created directly: injected pods, unchanged pods and denied pods.

use serde_json::json;

use crate::Entry;
use crate::objects::{comparable, item, names, pod, status, status_templates};
use crate::scenario::{Hook, Scenario};
use crate::support::wait;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("annotated_pod_is_stored_with_everything_its_template_adds", annotated_pod),
    ("pod_without_annotation_is_stored_unchanged", untouched_pod),
    ("pod_with_the_value_false_is_stored_unchanged", opted_out_pod),
    ("unknown_template_denies_the_pod_with_our_message", unknown_template),
    ("two_templates_on_a_pod_that_has_nothing", two_templates_on_a_bare_pod),
    ("server_side_dry_run_is_injected_and_stores_nothing", dry_run),
    ("dry_run_that_asks_is_denied_with_the_trace", trace),
    ("pods_near_the_size_limit", huge_pod),
    ("fields_newer_than_our_types_survive", newer_fields),
    ("status_copied_from_another_pod_hides_nothing", copied_status),
    ("everything_but_pod_creation_passes_through", everything_else),
    ("match_conditions_skip_pods_without_requests", match_conditions),
];

fn annotated_pod(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let mut requesting = pod("requesting", Some("fluent-bit"));
    requesting["spec"]["initContainers"] = json!([{"name": "migrate", "image": "busybox:1.37"}]);
    requesting["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    scenario.create(&requesting).expect("the pod is admitted");

    let stored = &scenario.stored()[0];
    assert_eq!(names(stored, "initContainers"), ["fluent-bit-config", "fluent-bit", "migrate"]);
    assert_eq!(names(stored, "containers"), ["app"]);
    let sidecar = item(stored, "initContainers", "fluent-bit");
    assert_eq!(sidecar["restartPolicy"], "Always", "a native sidecar");
    assert_eq!(sidecar["image"], "fluent/fluent-bit:4.1.0");
    assert_eq!(
        sidecar["resources"],
        json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}})
    );
    assert!(item(stored, "initContainers", "fluent-bit-config")["restartPolicy"].is_null());
    assert_eq!(item(stored, "volumes", "fluent-bit-etc")["emptyDir"], json!({}));
    assert_eq!(item(stored, "volumes", "data")["emptyDir"], json!({}));
    assert_eq!(stored["metadata"]["labels"]["logs"], "shipped");

    let status = status(stored).expect("a status annotation");
    let entry = &status["templates"][0];
    assert_eq!(
        (&entry["name"], &entry["version"], &entry["mode"]),
        (&json!("fluent-bit"), &json!("4.1"), &json!("native"))
    );
    assert_eq!(entry["added"]["initContainers"], json!(["fluent-bit-config", "fluent-bit"]));
    assert_eq!(entry["added"]["volumes"], json!(["fluent-bit-etc"]));
}

fn untouched_pod(scenario: &Scenario<'_>) {
    is_unchanged(scenario, None, "NotRequested");
}

fn opted_out_pod(scenario: &Scenario<'_>) {
    is_unchanged(scenario, Some("false"), "OptedOut");
}

/// Creates the pod without a webhook and with ours. Both pods must be the same.
fn is_unchanged(scenario: &Scenario<'_>, inject: Option<&str>, reason: &str) {
    let pod = pod("quiet", inject);
    let without_webhook = scenario.dry_run(&pod).expect("admitted without a webhook");
    let webhook = scenario.injector();
    scenario.create(&pod).expect("admitted with our webhook");
    assert!(webhook.answered(&format!("reason=\"{reason}\"")) > 0, "the API server called the webhook");
    assert_eq!(comparable(&scenario.stored()[0]), comparable(&without_webhook));
}

fn unknown_template(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let error = scenario.create(&pod("mistaken", Some("fluent-bti"))).expect_err("denied");
    assert_eq!(error.code, 403, "{error}");
    let message = &error.message;
    assert!(message.starts_with("admission webhook \"inject.sidecar.io\" denied the request: "), "{message}");
    for part in ["\"fluent-bti\"", "Did you mean \"fluent-bit\"?", "vault-agent", "[UnknownTemplate]"] {
        assert!(message.contains(part), "{part} in: {message}");
    }
    assert!(scenario.stored().is_empty());
}

fn two_templates_on_a_bare_pod(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let mut bare = pod("bare", Some("vault-agent, fluent-bit"));
    bare["spec"]["automountServiceAccountToken"] = json!(false);
    scenario.create(&bare).expect("the pod is admitted");

    let stored = &scenario.stored()[0];
    assert_eq!(names(stored, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert_eq!(names(stored, "containers"), ["app", "vault-agent"]);
    assert_eq!(names(stored, "volumes"), ["fluent-bit-etc"], "there is no token volume");
    assert_eq!(stored["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(status_templates(stored), ["vault-agent", "fluent-bit"], "in the order of the request");
}

fn dry_run(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let answer = scenario.dry_run(&pod("dry-run", Some("fluent-bit"))).expect("admitted");
    assert_eq!(names(&answer, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert!(scenario.stored().is_empty());
}

/// `kubectl create --dry-run=server` shows the trace to users whose only permission is to create pods.
fn trace(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let mut requesting = pod("curious", Some("fluent-bit"));
    requesting["metadata"]["annotations"]["sidecar.io/trace"] = json!("true");
    let error = scenario.dry_run(&requesting).expect_err("denied with the trace");
    assert_eq!(error.code, 403, "{error}");
    for part in ["  Conflict           no", "  Injected           yes  init containers", "=> Injected [Injected]"] {
        assert!(error.message.contains(part), "{error}");
    }
    let stored = scenario.create(&requesting).expect("only dry runs are denied");
    assert!(names(&stored, "initContainers").contains(&"fluent-bit"));
}

/// etcd accepts requests of at most 1.5 MiB. A pod below that is stored with its sidecar. A larger one is denied with a
/// reason; without the webhook, the API server answers 500.
fn huge_pod(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let of_size = |name: &str, size: usize| {
        let mut pod = pod(name, Some("fluent-bit"));
        let args = vec!["x".repeat(10_000); size / 10_003];
        pod["spec"]["containers"][0]["args"] = json!(args);
        (pod, args.len())
    };
    let (pod, count) = of_size("large", 14 * 1024 * 1024 / 10);
    let answer = scenario.create(&pod).expect("admitted and stored");
    assert_eq!(names(&answer, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert_eq!(answer["spec"]["containers"][0]["args"].as_array().map(Vec::len), Some(count));

    let (pod, _) = of_size("too-large", 16 * 1024 * 1024 / 10);
    let error = scenario.dry_run(&pod).expect_err("denied");
    assert!(error.code == 403 && error.message.contains("[TooLarge]"), "{error}");
}

/// Fields of Kubernetes 1.35 and later, which the Kubernetes types in this package do not have. A webhook that converts
/// pods to such types and back deletes these fields.
fn newer_fields(scenario: &Scenario<'_>) {
    let mut newer = pod("newer", Some("fluent-bit"));
    newer["spec"]["restartPolicy"] = json!("Never");
    newer["spec"]["hostnameOverride"] = json!("web.example.com");
    newer["spec"]["volumes"] = json!([{"name": "settings", "emptyDir": {}}]);
    let app = &mut newer["spec"]["containers"][0];
    app["restartPolicy"] = json!("Never");
    app["restartPolicyRules"] = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let reference = json!({"volumeName": "settings", "path": "app.env", "key": "MODE"});
    app["env"] = json!([{"name": "MODE", "valueFrom": {"fileKeyRef": reference}}]);

    let pointers = [
        "/spec/hostnameOverride",
        "/spec/containers/0/restartPolicyRules",
        "/spec/containers/0/env/0/valueFrom/fileKeyRef",
    ];
    let without_webhook = scenario.dry_run(&newer).expect("admitted without a webhook");
    let known: Vec<&str> = pointers.into_iter().filter(|pointer| without_webhook.pointer(pointer).is_some()).collect();
    let version = scenario.cluster().version().expect("a version");
    let old = ["v1.33.", "v1.34."].iter().any(|old| version.starts_with(old));
    assert!(old || known.len() == pointers.len(), "{version} knows only {known:?}");

    let _webhook = scenario.injector();
    scenario.create(&newer).expect("the pod is admitted");
    let stored = &scenario.stored()[0];
    assert!(names(stored, "initContainers").contains(&"fluent-bit"));
    for pointer in known {
        assert_eq!(stored.pointer(pointer), without_webhook.pointer(pointer), "{pointer}");
    }
}

/// A user copies a manifest of an injected pod and removes the sidecar, but not the status annotation.
fn copied_status(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let original = scenario.create(&pod("original", Some("fluent-bit"))).expect("admitted");
    let mut copy = pod("copy", Some("fluent-bit"));
    copy["metadata"]["annotations"]["sidecar.io/status"] =
        original["metadata"]["annotations"]["sidecar.io/status"].clone();
    assert!(status(&copy).is_some(), "the copy carries a status");
    let stored = scenario.create(&copy).expect("admitted");
    assert_eq!(names(&stored, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert!(names(&stored, "volumes").contains(&"fluent-bit-etc"));
    assert_eq!(status_templates(&stored), ["fluent-bit"]);
}

/// With match conditions like those of the chart, the API server does not call the webhook for pods without a request.
fn match_conditions(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let asks = "has(object.metadata.annotations) && 'sidecar.io/inject' in object.metadata.annotations";
    let mirror = "!has(object.metadata.annotations) || !('kubernetes.io/config.mirror' in object.metadata.annotations)";
    scenario.register(&[Hook::ours(&webhook).with(
        "matchConditions",
        json!([{"name": "asks", "expression": asks}, {"name": "no-mirror-pod", "expression": mirror}]),
    )]);
    scenario.until_injected();

    let before = webhook.answered("");
    let quiet = scenario.create(&pod("quiet", None)).expect("admitted");
    assert!(names(&quiet, "initContainers").is_empty());
    let mut annotated = pod("annotated", None);
    annotated["metadata"]["annotations"] = json!({"team": "payments"});
    scenario.create(&annotated).expect("admitted");
    assert_eq!(webhook.answered(""), before, "the webhook is not called");

    scenario.create(&pod("requesting", Some("fluent-bit"))).expect("admitted");
    wait::until("the request to be counted", || match webhook.answered("") {
        count if count > before => Ok(()),
        count => Err(count.to_string()),
    });
}

/// A webhook rule with wildcards: the API server calls the webhook for every object, operation and subresource of the
/// namespace. Only new pods are injected.
fn everything_else(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let stars = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "Namespaced"}]);
    scenario.register(&[Hook::ours(&webhook).with("rules", stars)]);
    scenario.until_injected();
    let before = webhook.answered("reason=\"NotAPodCreate\"");

    let cluster = scenario.cluster();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}});
    cluster.create(&scenario.path("/api/v1", "configmaps"), &map).expect("a ConfigMap");
    let mut requesting = pod("requesting", Some("fluent-bit"));
    requesting["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    let created = scenario.create(&requesting).expect("a pod");
    let path = scenario.path("/api/v1", "pods/requesting");
    cluster.patch(&path, &json!({"metadata": {"labels": {"a": "b"}}})).expect("a label");
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox:1.37"}]}});
    cluster.patch(&format!("{path}/ephemeralcontainers"), &debugger).expect("a debugger");
    let larger = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "200m"}}}]}});
    cluster.patch(&format!("{path}/resize"), &larger).expect("a resize");
    let stored = cluster.get(&path).expect("the pod");
    assert_eq!(stored["spec"]["initContainers"], created["spec"]["initContainers"]);
    assert_eq!(names(&stored, "ephemeralContainers"), ["debugger"]);
    cluster.delete(&format!("{path}?gracePeriodSeconds=0")).expect("delete");
    assert!(scenario.stored().is_empty());
    assert!(
        webhook.answered("reason=\"NotAPodCreate\"") - before >= 5,
        "the API server called the webhook for every request"
    );
}
