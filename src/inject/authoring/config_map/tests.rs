//! Tests of the validation of ConfigMaps.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::inject::catalog::holder::of_config_map;
use crate::inject::catalog::sources::Sources;
use crate::inject::template::pod_security::Profile;

const RULES: SourceRules =
    SourceRules { without_namespaces: true, of_namespace: false, profile: Profile::Privileged, cluster: None };

fn answer(operation: &str, label: &str, data: &Json) -> Json {
    let metadata = json!({"name": "c", "labels": {"sidecar.io/template": label}});
    review(operation, &metadata, data, TemplatePlace { rules: RULES, catalog: None })
}

fn review(operation: &str, metadata: &Json, data: &Json, place: TemplatePlace<'_>) -> Json {
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "operation": operation, "namespace": "ns",
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "object": {"metadata": metadata, "data": data},
        },
    });
    let answer = config_map(review.to_string().as_bytes(), &Settings::default(), |_| place);
    let (body, _) = answer.expect("an AdmissionReview");
    serde_json::from_slice::<Json>(&body).expect("JSON")["response"].clone()
}

/// The templates of ConfigMaps in the namespace: the name and creation time of each, and its documents. A ConfigMap that
/// occurs twice is changed.
fn catalog(config_maps: &[(&str, &str, &[&str])]) -> Catalog {
    let mut sources = Sources::with_rules(RULES, Keys::default());
    for (name, created, documents) in config_maps {
        let id = HolderId::ConfigMap { namespace: "ns".to_owned(), name: (*name).to_owned() };
        let found = of_config_map(&id, data(documents).into_iter().map(|(key, text)| (key, text.to_owned())));
        sources.set(&Holder { created: (*created).to_owned(), id }, found);
    }
    sources.catalog().catalog
}

/// The data of a ConfigMap with these documents, under the keys `0.yaml`, `1.yaml`, ….
fn data<'t>(documents: &[&'t str]) -> BTreeMap<String, &'t str> {
    documents.iter().enumerate().map(|(at, text)| (format!("{at}.yaml"), *text)).collect()
}

/// What the answer says about versions: the message of a denial, or the warnings.
fn effect(catalog: &Catalog, name: &str, created: &str, documents: &[&str]) -> Vec<String> {
    let metadata = json!({"name": name, "creationTimestamp": created, "labels": {"sidecar.io/template": "true"}});
    let place = TemplatePlace { rules: RULES, catalog: Some(catalog) };
    let answer = review("UPDATE", &metadata, &json!(data(documents)), place);
    match answer["status"]["message"].as_str() {
        Some(message) => vec![message.to_owned()],
        None => answer["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| it.as_str().expect("text").to_owned())
            .collect(),
    }
}

/// A document of the template `logs`.
macro_rules! logs {
    ($fields:literal) => {
        concat!("{name: logs, ", $fields, "}")
    };
}

#[test]
fn a_change_of_the_version_that_serves_is_a_warning() {
    let catalog = catalog(&[("old", "2026-01-01T00:00:00Z", &[logs!("version: 4.1.0")])]);
    let with = |documents: &[&str]| effect(&catalog, "new", "2026-02-01T00:00:00Z", documents);
    assert_eq!(with(&[logs!("version: 4.2.0")]), ["logs without a version now means 4.2.0 instead of 4.1.0"]);
    assert_eq!(with(&[logs!("version: 4.2.0-rc1")]), [""; 0], "a pre-release serves only by name");
    assert_eq!(with(&[logs!("version: latest"), "{name: other, version: 1.0.0}"]), [""; 0]);
    assert_eq!(
        with(&[logs!("version: 4.2.0-rc1, default: true")]),
        ["logs without a version now means 4.2.0-rc1 instead of 4.1.0"]
    );
    assert_eq!(
        with(&["{name: logs}"]),
        ["logs without a version now means the document without a version instead of 4.1.0"]
    );
    let itself = |documents: &[&str]| effect(&catalog, "old", "2026-01-01T00:00:00Z", documents);
    assert_eq!(itself(&[logs!("version: 4.1.0, description: changed")]), [""; 0]);
    assert_eq!(
        itself(&[logs!("version: 4.2.0-rc1")]),
        ["logs without a version no longer means 4.1.0: there are only pre-releases"]
    );
}

#[test]
fn a_version_of_another_config_map_is_denied() {
    let catalog = catalog(&[
        ("b", "2026-02-01T00:00:00Z", &[logs!("version: '1'"), logs!("version: '2'")]),
        ("c", "2026-03-01T00:00:00Z", &[logs!("version: '2'")]),
    ]);
    let denied = |name: &str, created: &str, document: &str, part: &str| {
        let found = effect(&catalog, name, created, &[document]);
        assert!(found.len() == 1 && found[0].contains(part) && found[0].ends_with("[InvalidTemplate]"), "{found:?}");
    };
    denied(
        "new",
        "2026-04-01T00:00:00Z",
        logs!("version: '1'"),
        "logs@1 is already defined by ConfigMap ns/b key 0.yaml\n --> key 0.yaml",
    );
    denied(
        "a",
        "2026-01-01T00:00:00Z",
        logs!("version: '1'"),
        "logs@1 is already defined by ConfigMap ns/b key 0.yaml",
    );
    denied(
        "c",
        "2026-03-01T00:00:00Z",
        logs!("version: '2'"),
        "logs@2 is already defined by ConfigMap ns/b key 1.yaml",
    );
    // The ConfigMap that serves can be changed although another one has the same version.
    let both = [logs!("version: '1'"), logs!("version: '2', description: changed")];
    assert_eq!(effect(&catalog, "b", "2026-02-01T00:00:00Z", &both), [""; 0]);
    assert_eq!(effect(&catalog, "new", "2026-04-01T00:00:00Z", &[logs!("version: '0.3'")]), [""; 0]);
}

/// The text of `a` is invalid, so `b` serves.
#[test]
fn a_version_that_replaced_an_invalid_text_keeps_its_place() {
    let catalog = catalog(&[
        ("a", "2026-01-01T00:00:00Z", &[logs!("version: '3'")]),
        ("a", "2026-01-01T00:00:00Z", &["sidecar: []"]),
        ("b", "2026-02-01T00:00:00Z", &[logs!("version: '3'")]),
    ]);
    let found = effect(&catalog, "a", "2026-01-01T00:00:00Z", &[logs!("version: '3'")]);
    assert!(found[0].contains("logs@3 is already defined by ConfigMap ns/b key 0.yaml"), "{found:?}");
}

#[test]
fn versions_within_one_config_map_are_compared_without_a_catalog() {
    let message = |documents: &[&str]| {
        let answer = answer("CREATE", "true", &json!(data(documents)));
        answer["status"]["message"].as_str().unwrap_or("allowed").to_owned()
    };
    let twice = message(&["{name: logs}", "{name: logs}"]);
    assert!(twice.contains("logs is already defined by key 0.yaml\n --> key 1.yaml"), "{twice}");
    let defaults = message(&[logs!("version: '1', default: true"), logs!("version: '2', default: true")]);
    assert!(defaults.contains("logs@2 sets default: true, and so does logs@1 of key 0.yaml"), "{defaults}");
    assert_eq!(message(&[logs!("version: '1'"), logs!("version: '2', default: true")]), "allowed");
}

#[test]
fn a_second_default_is_a_warning() {
    let catalog = catalog(&[("old", "2026-02-01T00:00:00Z", &[logs!("version: '1', default: true")])]);
    let second = [logs!("version: '2', default: true")];
    assert_eq!(
        effect(&catalog, "new", "2026-03-01T00:00:00Z", &second),
        [
            "key 0.yaml: logs@2 sets default: true, and so does logs@1 of ConfigMap ns/old key 0.yaml, which is older and serves"
        ]
    );
    assert_eq!(
        effect(&catalog, "older", "2026-01-01T00:00:00Z", &second),
        ["logs without a version now means 2 instead of 1"]
    );
}

/// Templates of a namespace are compared with each other. A central template that takes precedence stays in use.
#[test]
fn templates_of_a_namespace_are_compared_with_those_of_the_namespace() {
    let own = || Arc::new(catalog(&[("own", "2026-01-01T00:00:00Z", &[logs!("version: '1'")])]));
    let central = |documents| catalog(&[("central", "2026-01-01T00:00:00Z", documents)]);
    let metadata = json!({"name": "new", "labels": {"sidecar.io/template": "true"}});
    let rules = SourceRules { of_namespace: true, ..RULES };
    for (documents, prefers_own, warnings) in [
        (&["{name: other, version: '2'}"], false, json!(["logs without a version now means 2 instead of 1"])),
        (&[logs!("version: '2'")], true, json!(["logs without a version now means 2 instead of 1"])),
        (&[logs!("version: '2'")], false, Json::Null),
    ] {
        let catalog = central(documents).with_local(BTreeMap::from([("ns".to_owned(), own())]), prefers_own);
        let place = TemplatePlace { rules, catalog: Some(&catalog) };
        let answer = review("CREATE", &metadata, &json!({"a.yaml": logs!("version: '2'")}), place);
        assert_eq!((&answer["allowed"], &answer["warnings"]), (&Json::Bool(true), &warnings), "{documents:?}");
    }
}

#[test]
fn an_invalid_template_is_denied_with_its_position() {
    let answer =
        answer("CREATE", "true", &json!({"a.yaml": "sidecars:\n- name: x\n  imag: i\n", "b.yaml": "sidecar: []"}));
    let message = answer["status"]["message"].as_str().expect("denied");
    for part in [
        "--> key a.yaml:2:3",
        "has no image",
        "--> key b.yaml:1:1",
        "did you mean \"sidecars\"?",
        "^",
        "[InvalidTemplate]",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_valid_template_is_allowed_with_its_warnings() {
    let data = json!({"a.yml": "volumes: [{name: a-x, emptyDir: {}, nw: 1}]", "README.md": "x"});
    let answer = answer("UPDATE", "true", &data);
    assert_eq!(answer["allowed"], true);
    assert_eq!(answer["warnings"].as_array().map(Vec::len), Some(3), "{answer}");
    assert!(answer["patch"].is_null());
}

#[test]
fn other_config_maps_and_deletions_are_not_checked() {
    let broken = json!({"a.yaml": "sidecar: []"});
    assert_eq!(answer("CREATE", "false", &broken)["allowed"], true);
    assert_eq!(answer("DELETE", "true", &broken)["allowed"], true);
    let namespaces = json!({"a.yaml": "allowedNamespaces: {matchLabels: {a: b}}"});
    assert_eq!(answer("CREATE", "true", &namespaces)["allowed"], false);
}

#[test]
fn a_value_that_the_version_of_the_cluster_rejects_is_one_error() {
    let reads =
        "sidecars: [{name: a, image: i, env: [{name: X, valueFrom: {fileKeyRef: {volumeName: v, path: a, key: K}}}]}]";
    let metadata = json!({"name": "a", "labels": {"sidecar.io/template": "true"}});
    let rules = SourceRules { cluster: "1.34".parse().ok(), ..RULES };
    let answer = review("CREATE", &metadata, &json!({"a.yaml": reads}), TemplatePlace { rules, catalog: None });
    let message = answer["status"]["message"].as_str().expect("a denial");
    assert_eq!(message.matches("fileKeyRef needs Kubernetes 1.35 or later").count(), 1, "{message}");
}
