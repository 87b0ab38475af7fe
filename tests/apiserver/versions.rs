//! Tests the versions of templates: which one serves, and what is reported when a ConfigMap changes it.

use serde_json::{Value, json};

use crate::Entry;
use crate::catalog::least_privilege;
use crate::events::{allow_event_creation, injector_events};
use crate::objects::{item, names, pod};
use crate::policy::register_validation;
use crate::scenario::{Hook, Scenario};
use crate::support::wait;
use crate::support::webhook::{Source, Webhook};

pub(crate) const SCENARIOS: &[Entry] = &[
    ("changes_of_the_version_that_serves_are_reported", changes),
    ("templates_know_the_version_of_the_cluster", cluster_version),
];

/// A ConfigMap with a version of the template `logs`. `more` are fields of the template.
fn version(version: &str, more: &str) -> Value {
    named(&format!("logs-{version}"), version, more)
}

fn named(name: &str, version: &str, more: &str) -> Value {
    let template =
        format!("name: logs\nversion: \"{version}\"\n{more}sidecars: [{{name: logs, image: \"logs:{version}\"}}]\n");
    let metadata = json!({"name": name, "labels": {"sidecar.io/template": "true"}});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"logs.yaml": template}})
}

fn changes(scenario: &Scenario<'_>) {
    let kubeconfig = least_privilege(scenario);
    allow_event_creation(scenario);
    let maps = scenario.path("/api/v1", "configmaps");
    scenario.cluster().create(&maps, &version("4.1.0", "")).expect("create a template");
    let webhook = Webhook::start_self_signed(&scenario.folder, "webhook", |command| {
        command.args(["--events", "--shutdown-delay", "0", "--namespace", &scenario.namespace]);
        command.env("KUBECONFIG", kubeconfig);
    });
    scenario.register(&[Hook::ours(&webhook).with("sideEffects", json!("NoneOnDryRun"))]);
    let configuration = register_validation(scenario, &webhook);
    let serves = |wanted: &str, version: &str| {
        let pod = scenario.dry_run(&pod("probe", Some(wanted))).map_err(|error| error.to_string())?;
        if !names(&pod, "initContainers").contains(&"logs") {
            return Err("not injected".to_owned());
        }
        let image = item(&pod, "initContainers", "logs")["image"].as_str().unwrap_or_default().to_owned();
        if image == format!("logs:{version}") { Ok(()) } else { Err(image) }
    };
    wait::until("the only version", || serves("logs", "4.1.0"));

    // The same version in another ConfigMap is denied as soon as the API server calls the validating webhook.
    let twice = named("twice", "4.1.0", "");
    let dry_run = scenario.path("/api/v1", "configmaps?dryRun=All");
    let (message, _) =
        wait::until("the second ConfigMap to be denied", || match scenario.cluster().create(&dry_run, &twice) {
            Err(error) if error.message.contains("InvalidTemplate") => Ok(error.message),
            other => Err(format!("{other:?}")),
        });
    let defined = format!("logs@4.1.0 is already defined by ConfigMap {}/logs-4.1.0 key logs.yaml", scenario.namespace);
    assert!(message.contains(&defined), "{message}");

    // A pre-release serves only by name. It is not a change for other pods.
    let warnings = |object: &Value| scenario.cluster().warnings(&maps, object).expect("accepted").join("\n");
    assert!(!warnings(&version("4.2.0-rc1", "")).contains("without a version"));
    wait::until("the pre-release by its name", || serves("logs@4.2.0-rc1", "4.2.0-rc1"));
    serves("logs", "4.1.0").expect("the release still serves");

    // A release serves at once, and then an earlier version with `default: true`.
    let text = "logs without a version now means 4.2.0 instead of 4.1.0";
    let answer = warnings(&version("4.2.0", ""));
    assert!(answer.contains(text), "{answer}");
    wait::until("the new release", || serves("logs", "4.2.0"));
    let back = "logs without a version now means 4.1.0 instead of 4.2.0";
    scenario.cluster().replace(&format!("{maps}/logs-4.1.0"), &version("4.1.0", "default: true\n")).expect("replaced");
    wait::until("the default", || serves("logs", "4.1.0"));

    let (events, _) = wait::until("two events", || {
        let events = injector_events(scenario);
        if events.len() >= 2 { Ok(events) } else { Err(format!("{events:?}")) }
    });
    let mut found: Vec<(&str, &str)> = events
        .iter()
        .map(|event| {
            assert_eq!((&event["reason"], &event["type"]), (&json!("VersionChanged"), &json!("Normal")), "{event}");
            (event["regarding"]["name"].as_str().unwrap_or_default(), event["note"].as_str().unwrap_or_default())
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("logs-4.1.0", back), ("logs-4.2.0", text)]);
    scenario.cluster().delete(&configuration).expect("unregister");
}

/// The webhook reads the version from the API server, with the rights that it has anyway.
fn cluster_version(scenario: &Scenario<'_>) {
    let kubeconfig = least_privilege(scenario);
    let template = "name: agent\nsidecars: [{name: agent, image: \"agent:${cluster.minor}\"}]\n";
    let metadata = json!({"name": "agent", "labels": {"sidecar.io/template": "true"}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"agent.yaml": template}});
    scenario.cluster().create(&scenario.path("/api/v1", "configmaps"), &map).expect("create a template");
    let source = Source::Cluster { kubeconfig, namespace: scenario.namespace.clone() };
    let webhook = Webhook::start(&source, &scenario.folder, "webhook");
    scenario.register(&[Hook::ours(&webhook)]);
    let version = scenario.cluster().get("/version").expect("the version");
    let expected = format!("agent:{}", version["minor"].as_str().expect("a minor version").trim_end_matches('+'));
    wait::until("the pod with the version of the cluster", || {
        let pod = scenario.dry_run(&pod("probe", Some("agent"))).map_err(|error| error.to_string())?;
        let image =
            names(&pod, "initContainers").first().map(|name| item(&pod, "initContainers", name)["image"].clone());
        if image == Some(json!(expected)) { Ok(()) } else { Err(format!("{image:?}")) }
    });
}
