//! Pods that are created directly: what gets in, what stays as it is, what is refused.

use serde_json::json;

use crate::Entry;
use crate::objects::{comparable, item, names, pod, status, status_templates};
use crate::scenario::{Hook, Scenario};
use crate::support::wait;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("annotated_pod_is_stored_with_everything_its_template_adds", annotated_pod),
    ("pod_without_annotation_is_stored_as_if_we_were_not_there", untouched_pod),
    ("pod_that_says_false_is_stored_as_if_we_were_not_there", opted_out_pod),
    ("unknown_template_refuses_the_pod_with_our_message", unknown_template),
    ("two_templates_on_a_pod_that_has_nothing", two_templates_on_a_bare_pod),
    ("server_side_dry_run_is_injected_and_stores_nothing", dry_run),
    ("dry_run_that_asks_is_answered_with_the_trace", trace),
    ("pod_of_2_9_mib_is_injected", huge_pod),
    ("fields_newer_than_our_types_survive", newer_fields),
    ("status_copied_from_another_pod_hides_nothing", copied_status),
    ("everything_but_pod_creation_passes_through", everything_else),
    ("match_conditions_spare_us_pods_that_do_not_ask", match_conditions),
];

fn annotated_pod(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let mut asking = pod("asking", Some("fluent-bit"));
    asking["spec"]["initContainers"] = json!([{"name": "migrate", "image": "busybox:1.37"}]);
    asking["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    scenario.create(&asking).expect("the pod is admitted");

    let stored = &scenario.stored()[0];
    assert_eq!(names(stored, "initContainers"), ["fluent-bit-config", "fluent-bit", "migrate"]);
    assert_eq!(names(stored, "containers"), ["app"]);
    let sidecar = item(stored, "initContainers", "fluent-bit");
    assert_eq!(sidecar["restartPolicy"], "Always", "native: an init container that is never done");
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
    stays_as_it_is(scenario, None, "NotRequested");
}

fn opted_out_pod(scenario: &Scenario<'_>) {
    stays_as_it_is(scenario, Some("false"), "OptedOut");
}

/// The pod is admitted once without any webhook and once through ours: both times the same.
fn stays_as_it_is(scenario: &Scenario<'_>, inject: Option<&str>, reason: &str) {
    let pod = pod("quiet", inject);
    let without_us = scenario.dry_run(&pod).expect("admitted without a webhook");
    let webhook = scenario.injector();
    scenario.create(&pod).expect("admitted with our webhook");
    assert!(webhook.answered(&format!("reason=\"{reason}\"")) > 0, "the API server asked us about it");
    assert_eq!(comparable(&scenario.stored()[0]), comparable(&without_us));
}

fn unknown_template(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let refusal = scenario.create(&pod("mistaken", Some("fluent-bti"))).expect_err("refused");
    assert_eq!(refusal.code, 403, "{refusal}");
    let message = &refusal.message;
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
    assert_eq!(names(stored, "volumes"), ["fluent-bit-etc"], "no token volume, so ours is the first");
    assert_eq!(stored["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(status_templates(stored), ["vault-agent", "fluent-bit"], "in the order of the request");
}

fn dry_run(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let answer = scenario.dry_run(&pod("imagined", Some("fluent-bit"))).expect("admitted");
    assert_eq!(names(&answer, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert!(scenario.stored().is_empty());
}

/// What `kubectl create --dry-run=server` shows to people who may create pods and nothing else.
fn trace(scenario: &Scenario<'_>) {
    let _webhook = scenario.injector();
    let mut asking = pod("curious", Some("fluent-bit"));
    asking["metadata"]["annotations"]["sidecar.io/trace"] = json!("true");
    let refusal = scenario.dry_run(&asking).expect_err("answered with a denial");
    assert_eq!(refusal.code, 403, "{refusal}");
    for part in ["  Conflict           no", "  Injected           yes  init containers", "=> Injected [Injected]"] {
        assert!(refusal.message.contains(part), "{refusal}");
    }
    let stored = scenario.create(&asking).expect("only dry runs");
    assert!(names(&stored, "initContainers").contains(&"fluent-bit"));
}

/// As large as the API server takes it (3 MiB with everything). Only as a dry run: etcd stores no
/// object of that size.
fn huge_pod(scenario: &Scenario<'_>) {
    const SIZE: usize = 29 * 1024 * 1024 / 10;
    let _webhook = scenario.injector();
    let mut huge = pod("huge", Some("fluent-bit"));
    let mut rest = SIZE - huge.to_string().len();
    let mut args = Vec::new();
    while rest > 16 {
        let length = rest.min(10_003) - 3;
        args.push("x".repeat(length));
        rest -= length + 3;
    }
    huge["spec"]["containers"][0]["args"] = json!(args);
    assert!(huge.to_string().len() > SIZE - 50, "the pod has the size it should have");

    let answer = scenario.dry_run(&huge).expect("admitted");
    assert_eq!(names(&answer, "initContainers"), ["fluent-bit-config", "fluent-bit"]);
    assert_eq!(answer["spec"]["containers"][0]["args"].as_array().map(Vec::len), Some(args.len()));
}

/// Fields of Kubernetes 1.35 and later, which the types this package is built with do not have. A
/// webhook that reads pods into structs and writes them back deletes such fields.
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
    let without_us = scenario.dry_run(&newer).expect("admitted without a webhook");
    let known: Vec<&str> = pointers.into_iter().filter(|pointer| without_us.pointer(pointer).is_some()).collect();
    let version = scenario.cluster().version().expect("a version");
    let old = ["v1.33.", "v1.34."].iter().any(|old| version.starts_with(old));
    assert!(old || known.len() == pointers.len(), "{version} knows only {known:?}");

    let _webhook = scenario.injector();
    scenario.create(&newer).expect("the pod is admitted");
    let stored = &scenario.stored()[0];
    assert!(names(stored, "initContainers").contains(&"fluent-bit"));
    for pointer in known {
        assert_eq!(stored.pointer(pointer), without_us.pointer(pointer), "{pointer}");
    }
}

/// `kubectl get -o yaml`, edit, apply elsewhere: the status travels with the pod, the sidecar is
/// removed by hand.
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

/// As a chart ships them: the API server does not even call us about pods that do not ask.
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
    assert_eq!(webhook.answered(""), before, "we were not called");

    scenario.create(&pod("asking", Some("fluent-bit"))).expect("admitted");
    wait::until("the asking pod to be counted", || match webhook.answered("") {
        count if count > before => Ok(()),
        count => Err(count.to_string()),
    });
}

/// A rule with stars everywhere, as it is pasted from somewhere: we are asked about every object, every
/// operation and every subresource of the namespace, and only new pods are our business.
fn everything_else(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let stars = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "Namespaced"}]);
    scenario.register(&[Hook::ours(&webhook).with("rules", stars)]);
    scenario.until_injected();
    let before = webhook.answered("reason=\"NotAPodCreate\"");

    let cluster = scenario.cluster();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}});
    cluster.create(&scenario.path("/api/v1", "configmaps"), &map).expect("a ConfigMap");
    let mut asking = pod("asking", Some("fluent-bit"));
    asking["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    let created = scenario.create(&asking).expect("a pod");
    let path = scenario.path("/api/v1", "pods/asking");
    cluster.patch(&path, &json!({"metadata": {"labels": {"a": "b"}}})).expect("a label");
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox:1.37"}]}});
    cluster.patch(&format!("{path}/ephemeralcontainers"), &debugger).expect("a debugger");
    let larger = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "200m"}}}]}});
    cluster.patch(&format!("{path}/resize"), &larger).expect("a resize");
    let stored = cluster.get(&path).expect("there");
    assert_eq!(stored["spec"]["initContainers"], created["spec"]["initContainers"]);
    assert_eq!(names(&stored, "ephemeralContainers"), ["debugger"]);
    cluster.delete(&format!("{path}?gracePeriodSeconds=0")).expect("delete");
    assert!(scenario.stored().is_empty());
    assert!(webhook.answered("reason=\"NotAPodCreate\"") - before >= 5, "the API server asked us about all of it");
}
