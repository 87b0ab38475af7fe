//! Tests reinvocation: the API server calls `IfNeeded` webhooks again after another webhook has changed the pod. The
//! second answer must not add anything twice, even if another replica gives it.

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{item, mounts_token, names, pod, status_templates};
use crate::scenario::{Hook, Scenario};
use crate::support::cluster::Cluster;
use crate::support::endpoint::{Endpoint, allow, change};
use crate::templates::fluent_bit_with_image;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("second_round_after_another_webhook_adds_nothing_twice", another_webhook),
    ("two_versions_of_a_template_in_one_round", two_versions_in_one_round),
    ("another_version_of_the_template_in_the_second_round", another_version_in_the_second_round),
    ("template_deleted_before_the_second_round", template_gone_in_the_second_round),
];

/// A webhook after ours changes every pod, so the API server calls ours again. Between the calls, the API server mounts
/// the token of the service account into the injected container.
fn another_webhook(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", crate::templates::FLUENT_BIT)]);
    let later = scenario.endpoint(|review| {
        let pod = &review["request"]["object"];
        let touched = pod["metadata"]["annotations"]["example.com/touched"].is_string();
        let proxied = names(pod, "containers").contains(&"proxy");
        if touched && proxied {
            return allow(review);
        }
        change(
            review,
            &json!([
                {"op": "add", "path": "/metadata/annotations/example.com~1touched", "value": "yes"},
                {"op": "add", "path": "/spec/initContainers/0", "value": {"name": "proxy-init", "image": "proxy:1"}},
                {"op": "add", "path": "/spec/containers/0", "value": {"name": "proxy", "image": "proxy:1"}},
            ]),
        )
    });
    scenario.register(&[Hook::ours(&webhook), Hook::other("proxy.example.com", &later)]);
    scenario.until_injected();

    let (our_calls, other_calls) = (webhook.answered(""), later.received().len());
    let stored = scenario.create(&pod("both", Some("fluent-bit"))).expect("admitted");
    assert_eq!(names(&stored, "initContainers"), ["proxy-init", "fluent-bit-config", "fluent-bit"]);
    assert_eq!(names(&stored, "containers"), ["proxy", "app"]);
    assert_eq!(names(&stored, "volumes").iter().filter(|name| **name == "fluent-bit-etc").count(), 1);
    assert_eq!(status_templates(&stored), ["fluent-bit"]);
    assert!(mounts_token(item(&stored, "initContainers", "fluent-bit")), "{stored:#}");
    assert_eq!(webhook.answered("") - our_calls, 2, "the API server called our webhook in both rounds");
    assert_eq!(later.received().len() - other_calls, 2, "and the other webhook too");
}

/// During a rollout, two webhooks with different catalogs can be registered.
fn two_versions_in_one_round(scenario: &Scenario<'_>) {
    let old = scenario.serve("old", &[("fluent-bit.yaml", &fluent_bit_with_image("fluent-bit:old", "old-data"))]);
    let new = scenario.serve("new", &[("fluent-bit.yaml", &fluent_bit_with_image("fluent-bit:new", "new-data"))]);
    scenario.register(&[Hook::ours(&old), Hook::new("inject-too.sidecar.io", &new.url(), &new.authority)]);
    scenario.until_injected();
    let stored = scenario.create(&pod("rolling", Some("fluent-bit"))).expect("admitted");
    injected_once_by_the_old_one(&stored);
}

/// In the second round, another replica answers. It has a newer template.
fn another_version_in_the_second_round(scenario: &Scenario<'_>) {
    second_round_is_answered_by(scenario, &[("fluent-bit.yaml", &fluent_bit_with_image("fluent-bit:new", "new-data"))]);
}

/// In the second round, another replica answers. It does not have the template. The pod is injected and not denied.
fn template_gone_in_the_second_round(scenario: &Scenario<'_>) {
    second_round_is_answered_by(scenario, &[("vault-agent.yaml", crate::templates::VAULT_AGENT)]);
}

fn second_round_is_answered_by(scenario: &Scenario<'_>, templates: &[(&str, &str)]) {
    let old = scenario.serve("old", &[("fluent-bit.yaml", &fluent_bit_with_image("fluent-bit:old", "old-data"))]);
    let new = scenario.serve("new", templates);
    let service = service(scenario, [&old, &new].map(|webhook| client(scenario, webhook)));
    scenario.register(&[Hook::other("inject.sidecar.io", &service)]);
    scenario.until_injected();

    let before = (old.answered(""), new.answered(""));
    let stored = scenario.create(&pod("rolling", Some("fluent-bit"))).expect("admitted");
    injected_once_by_the_old_one(&stored);
    assert_eq!((old.answered("") - before.0, new.answered("") - before.1), (1, 1), "one round each");
}

fn client(scenario: &Scenario<'_>, webhook: &crate::support::webhook::Webhook) -> Cluster {
    Cluster::at(scenario.bed.runtime.handle().clone(), &webhook.base_url(), &webhook.authority).expect("a client")
}

/// Simulates a Service during a rollout: the first round goes to the first replica, the second round to the other.
fn service(scenario: &Scenario<'_>, [first, second]: [Cluster; 2]) -> Endpoint {
    scenario.endpoint(move |review| {
        let again = !names(&review["request"]["object"], "initContainers").is_empty();
        let process = if again { &second } else { &first };
        process.create("/mutate", review).expect("status 200")
    })
}

fn injected_once_by_the_old_one(stored: &Value) {
    assert_eq!(names(stored, "initContainers"), ["fluent-bit"]);
    assert_eq!(item(stored, "initContainers", "fluent-bit")["image"], "fluent-bit:old");
    let volumes = names(stored, "volumes");
    assert!(volumes.contains(&"old-data") && !volumes.contains(&"new-data"), "{volumes:?}");
    assert_eq!(status_templates(stored), ["fluent-bit"]);
    assert!(mounts_token(item(stored, "initContainers", "fluent-bit")), "there was a second round");
}
