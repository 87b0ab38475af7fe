//! Tests the Kubernetes Events on workloads and on the ConfigMaps of templates.

use serde_json::{Value, json};

use crate::Entry;
use crate::catalog::least_privilege;
use crate::objects::{names, pod};
use crate::scenario::{Hook, Scenario};
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[("events_report_denials_and_skipped_templates", events)];

fn events(scenario: &Scenario<'_>) {
    let kubeconfig = least_privilege(scenario);
    allow_event_creation(scenario);
    let maps = scenario.path("/api/v1", "configmaps");
    let template = |name: &str, text: &str| {
        let data = json!({format!("{name}.yaml"): text});
        let metadata = json!({"name": name, "labels": {"sidecar.io/template": "true"}});
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        scenario.cluster().create(&maps, &object).expect("create a template");
    };
    template("fluent-bit", crate::templates::FLUENT_BIT);
    template("picky", "onProblem: Skip\nsidecars: [{name: app, image: \"i:1\"}]\n");
    let webhook = Webhook::start_self_signed(&scenario.folder, "webhook", |command| {
        command.args(["--events", "--shutdown-delay", "0", "--namespace", &scenario.namespace]);
        command.env("KUBECONFIG", kubeconfig);
    });
    scenario.register(&[Hook::ours(&webhook).with("sideEffects", json!("NoneOnDryRun"))]);
    scenario.until_injected();

    // A ReplicaSet tries to create a denied pod many times. There is one Event, and it is about the owner of the pod.
    let mut denied = pod("web-x", Some("absent"));
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8", "uid": "7d1b8b1e-0000-4000-8000-000000000000"});
    denied["metadata"]["ownerReferences"] = json!([owner]);
    for _ in 0..5 {
        scenario.create(&denied).expect_err("denied");
    }
    scenario.dry_run(&pod("dry-run", Some("no-event"))).expect_err("denied");
    scenario.create(&pod("alone", Some("fluent-bit, picky"))).expect("admitted without one of the templates");
    template("broken", "sidecar: []\n");
    let (events, took) = wait::until("three events", || {
        let events = injector_events(scenario);
        if events.len() >= 3 { Ok(events) } else { Err(format!("{events:?}")) }
    });
    println!("three events after {took:?}");
    let of = |kind: &str, name: &str| {
        let found: Vec<&Value> = events
            .iter()
            .filter(|event| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name)
            .collect();
        assert_eq!(found.len(), 1, "{kind} {name}: {events:#?}");
        found[0].clone()
    };
    let denial = of("ReplicaSet", "web-5d8");
    assert_eq!((&denial["reason"], &denial["type"]), (&json!("UnknownTemplate"), &json!("Warning")), "{denial}");
    assert!(denial["note"].as_str().unwrap().contains("requests \"absent\""), "{denial}");
    assert!(denial["series"].is_null(), "one event only: {denial}");
    let skipped = of("Pod", "alone");
    assert_eq!(skipped["reason"], "Conflict", "{skipped}");
    assert!(skipped["note"].as_str().unwrap().starts_with("picky left out: "), "{skipped}");
    let broken = of("ConfigMap", "broken");
    assert!(broken["note"].as_str().unwrap().contains("did you mean \"sidecars\""), "{broken}");
    assert_eq!(events.len(), 3, "dry runs cause no events: {events:#?}");
    assert!(names(&scenario.stored()[0], "initContainers").contains(&"fluent-bit"));
}

/// Returns the Events of the injector in the namespace.
pub(crate) fn injector_events(scenario: &Scenario<'_>) -> Vec<Value> {
    let list = scenario.cluster().get(&scenario.path("/apis/events.k8s.io/v1", "events")).expect("list events");
    let events = list["items"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["reportingController"] == "sidecar-injector").collect()
}

/// Allows the webhook to create Events in the namespace.
pub(crate) fn allow_event_creation(scenario: &Scenario<'_>) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let name = json!({"name": "events"});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": name,
        "rules": [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "events"},
        "subjects": [{"kind": "ServiceAccount", "name": "sidecar-injector", "namespace": scenario.namespace}],
    });
    scenario.cluster().create(&scenario.path(rbac, "roles"), &role).expect("create");
    scenario.cluster().create(&scenario.path(rbac, "rolebindings"), &binding).expect("create");
}
