//! Kubernetes Events: what people see who look at the workload, or at the template's ConfigMap.

use serde_json::{Value, json};

use crate::Entry;
use crate::catalog::least_privilege;
use crate::objects::{names, pod};
use crate::scenario::{Hook, Scenario};
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[("events_tell_of_refusals_and_of_what_is_left_out", events)];

fn events(scenario: &Scenario<'_>) {
    let kubeconfig = least_privilege(scenario);
    may_create_events(scenario);
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

    // Refused again and again, as a ReplicaSet does: told once, on the owner, which lives on.
    let mut refused = pod("web-x", Some("absent"));
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8", "uid": "7d1b8b1e-0000-4000-8000-000000000000"});
    refused["metadata"]["ownerReferences"] = json!([owner]);
    for _ in 0..5 {
        scenario.create(&refused).expect_err("refused");
    }
    scenario.dry_run(&pod("imagined", Some("never-told"))).expect_err("refused");
    scenario.create(&pod("alone", Some("fluent-bit, picky"))).expect("admitted without one of them");
    template("broken", "sidecar: []\n");
    let (told, took) = wait::until("three events", || {
        let told = told(scenario);
        if told.len() >= 3 { Ok(told) } else { Err(format!("{told:?}")) }
    });
    println!("told after {took:?}");
    let of = |kind: &str, name: &str| {
        let found: Vec<&Value> = told
            .iter()
            .filter(|event| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name)
            .collect();
        assert_eq!(found.len(), 1, "{kind} {name}: {told:#?}");
        found[0].clone()
    };
    let refusal = of("ReplicaSet", "web-5d8");
    assert_eq!((&refusal["reason"], &refusal["type"]), (&json!("UnknownTemplate"), &json!("Warning")), "{refusal}");
    assert!(refusal["note"].as_str().unwrap().contains("asks for \"absent\""), "{refusal}");
    assert!(refusal["series"].is_null(), "said once: {refusal}");
    let left_out = of("Pod", "alone");
    assert_eq!(left_out["reason"], "Conflict", "{left_out}");
    assert!(left_out["note"].as_str().unwrap().starts_with("picky left out: "), "{left_out}");
    let broken = of("ConfigMap", "broken");
    assert!(broken["note"].as_str().unwrap().contains("did you mean \"sidecars\""), "{broken}");
    assert_eq!(told.len(), 3, "nothing of dry runs: {told:#?}");
    assert!(names(&scenario.stored()[0], "initContainers").contains(&"fluent-bit"));
}

/// Our events in the namespace.
fn told(scenario: &Scenario<'_>) -> Vec<Value> {
    let list = scenario.cluster().get(&scenario.path("/apis/events.k8s.io/v1", "events")).expect("list events");
    let events = list["items"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["reportingController"] == "sidecar-injector").collect()
}

fn may_create_events(scenario: &Scenario<'_>) {
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
