//! The promises of a patch on generated pods and templates: it applies, only adds, keeps everything of
//! the user's in order, a second run adds nothing, equal inputs give equal bytes, and the early exit
//! agrees with the full reading.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::template::Template;
use sidecar_injector::inject::{self, Entry, Settings, Verdict, review, review::Request};

const NAMES: [&str; 6] = ["app", "proxy", "log", "init", "data", "tmp"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", Just("a\"b\\c/d~e\n".to_owned())]
}

/// Containers or volumes with distinct names and a field nobody knows.
fn items() -> impl Strategy<Value = Vec<Value>> {
    prop::sample::subsequence(&NAMES[..], 0..4)
        .prop_flat_map(|names| {
            let count = names.len();
            (Just(names), vec(text(), count))
        })
        .prop_map(|(names, texts)| {
            let item = |(name, text): (&str, String)| json!({"name": name, "x-unknown": {"deep": [text]}});
            names.into_iter().zip(texts).map(item).collect()
        })
}

fn list() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![Just(None), Just(Some(Value::Null)), items().prop_map(|items| Some(Value::Array(items)))]
}

fn pairs() -> impl Strategy<Value = Map<String, Value>> {
    vec(("[a-z~]{1,5}(/[a-z~]{1,4})?", text()), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k, v.into())).collect())
}

/// Labels or annotations as a template may have them.
fn legal_pairs(value: &'static str) -> impl Strategy<Value = Map<String, Value>> {
    vec(("[a-z][a-z_.]{0,3}[a-z](/[a-z]{1,4})?", value), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.replace(['_', '.'], "-"), v.into())).collect())
}

prop_compose! {
    fn pod()(
        containers in items(), init in list(), volumes in list(), secrets in list(), labels in option::of(pairs()),
        mut annotations in pairs(), request in option::of(vec(prop::sample::select(vec!["a", "b", "c", "b@1", "nope"]), 1..4)),
        host_network in any::<bool>(), managed_first in any::<bool>(),
    ) -> Value {
        if let Some(request) = request {
            annotations.insert("sidecar.io/inject".to_owned(), request.join(", ").into());
        }
        let mut metadata = Map::new();
        if managed_first { metadata.insert("managedFields".to_owned(), json!([{"fieldsV1": {"f:metadata": {}}}])); }
        if let Some(labels) = labels { metadata.insert("labels".to_owned(), labels.into()); }
        if !annotations.is_empty() { metadata.insert("annotations".to_owned(), annotations.into()); }
        let mut spec = Map::new();
        spec.insert("containers".to_owned(), containers.into());
        for (key, list) in [("initContainers", init), ("volumes", volumes), ("imagePullSecrets", secrets)] {
            if let Some(list) = list { spec.insert(key.to_owned(), list); }
        }
        if host_network { spec.insert("hostNetwork".to_owned(), true.into()); }
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "unknown": {"kept": 1}})
    }
}

prop_compose! {
    fn template(name: &'static str, version: Option<&'static str>)(
        sidecars in vec(name_of_own(), 0..3), own in vec(text(), 3), mode in prop::sample::select(vec!["native", "container"]),
        position in option::of(prop::sample::select(vec!["first", "last"])), skip in any::<bool>(),
        volumes in vec(name_of_own(), 0..2), ports in any::<bool>(), mount in option::of(name_of_own()),
        labels in legal_pairs("[a-z]([a-z._-]{0,3}[a-z])?"), annotations in legal_pairs("[ -#%-~]{0,12}"),
    ) -> String {
        let (mut sidecars, mut volumes) = (sidecars, volumes);
        sidecars.sort(); sidecars.dedup(); volumes.sort(); volumes.dedup();
        let containers: Vec<Value> = sidecars.iter().enumerate().map(|(at, sidecar)| {
            let mut container = json!({"name": sidecar, "image": "i", "args": [own[at % 3].replace("${", "")]});
            if let Some(mount) = &mount { container["volumeMounts"] = json!([{"name": mount, "mountPath": "/m"}]); }
            if ports { container["ports"] = json!([{"containerPort": 80 + at}]); }
            container
        }).collect();
        let volumes: Vec<Value> = volumes.iter().map(|volume| json!({"name": volume, "emptyDir": {}})).collect();
        let mut template = json!({
            "name": name, "mode": mode, "onProblem": if skip { "Skip" } else { "Deny" }, "sidecars": containers,
            "volumes": volumes, "metadata": {"labels": labels, "annotations": annotations},
        });
        if let Some(version) = version { template["version"] = version.into(); }
        if let Some(position) = position { template["position"] = position.into(); }
        template.to_string()
    }
}

fn name_of_own() -> impl Strategy<Value = String> {
    prop_oneof![name(), "[a-z]{1,3}-[0-9]{1,2}"]
}

fn catalog(texts: &[String]) -> Catalog {
    let load = |text: &String| Template::load(&Source::new("t", text), "t").map(|loaded| Arc::new(loaded.template));
    Catalog::new(texts.iter().map(|text| load(text).expect("a template")), BTreeMap::new())
}

fn review_of(pod: &Value) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","resource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"n","operation":"CREATE","object":{pod}}}}}"#
    )
}

/// The named list of `after` without what is not in `before`, compared as a whole.
fn keeps(before: &Value, after: &Value, pointer: &str) -> bool {
    let list = |value: &Value| value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut rest = list(after).into_iter();
    list(before).iter().all(|item| rest.any(|after| after == *item))
}

fn keeps_map(before: &Value, after: &Value, pointer: &str) -> bool {
    let map = |value: &Value| value.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
    map(before).iter().all(|(key, value)| key == "sidecar.io/status" || map(after).get(key) == Some(value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(
        pod in pod(), a in template("a", None), b in template("b", None), b1 in template("b", Some("1")), c in template("c", Some("2")),
    ) {
        let catalog = catalog(&[a, b, b1, c]);
        let body = review_of(&pod);
        let answer = inject::answer(body.as_bytes(), Entry::default(), &catalog, &Settings::default()).expect("a review");
        let request = Request::parse(body.as_bytes()).expect("a review");
        let whole = inject::decide(&request, Entry::default(), &catalog, &Settings::default(), &inject::Embedding::default());
        prop_assert_eq!(&answer.body, &review::response("u", &whole), "the early exit disagrees");
        prop_assert!(whole.message.len() <= 1_000);
        prop_assert!(whole.warnings.iter().all(|w| w.chars().count() <= 120 && !w.contains('\n')));
        if whole.verdict == Verdict::Denied {
            let ending = format!("[{}]", whole.reason);
            prop_assert!(whole.patch.is_none() && whole.message.ends_with(&ending));
        }
        let Some(patch) = whole.patch else { return Ok(()) };
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
        prop_assert!(patch.iter().all(|op| matches!(op, json_patch::PatchOperation::Add(_))));
        let mut after = pod.clone();
        json_patch::patch(&mut after, &patch).expect("applies");
        for list in ["/spec/containers", "/spec/initContainers", "/spec/volumes", "/spec/imagePullSecrets", "/metadata/managedFields"] {
            prop_assert!(keeps(&pod, &after, list), "{} in {}", list, after);
        }
        for map in ["/metadata/labels", "/metadata/annotations", "/unknown"] {
            prop_assert!(keeps_map(&pod, &after, map), "{} in {}", map, after);
        }
        // What the API server does to it before the second round.
        for list in ["/spec/containers", "/spec/initContainers"] {
            for container in after.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["terminationMessagePath"] = "/dev/termination-log".into();
                container["volumeMounts"] = json!([{"name": "kube-api-access-x", "mountPath": "/var/run/secrets"}]);
            }
        }
        let second = review_of(&after);
        let again = inject::answer(second.as_bytes(), Entry::default(), &catalog, &Settings::default()).expect("a review");
        prop_assert_eq!(again.decision.patch.map(|p| String::from_utf8(p).expect("text")), None, "a second run adds something");
    }
}
