//! Tests the properties of patches on generated pods and templates. A patch applies, only adds, and keeps all values of
//! the user in order. A second round adds nothing. Equal inputs result in equal bytes. The early exit agrees with the
//! complete reading.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod corpus;

use std::collections::BTreeMap;
use std::sync::Arc;

use corpus::contains;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::decision::Verdict;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::review::Request;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::settings::{Embedding, EntryPoint, Settings};
use sidecar_injector::inject::template::Template;
use sidecar_injector::inject::{Engine, review};

const NAMES: [&str; 6] = ["app", "proxy", "log", "init", "data", "tmp"];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", Just("a\"b\\c/d~e\n".to_owned())]
}

const VARIABLES: [&str; 3] = ["A", "B", "OPTS"];
const PATHS: [&str; 3] = ["/a", "/b", "/c"];

/// The lists of an application's container: absent, null, empty or with items.
fn lists() -> impl Strategy<Value = Map<String, Value>> {
    let of = |items: &'static [&'static str], item: fn(&str, bool) -> Value| {
        let filled = vec((prop::sample::select(items), any::<bool>()), 0..3)
            .prop_map(move |items| Some(items.into_iter().map(|(name, kind)| item(name, kind)).collect::<Value>()));
        prop_oneof![Just(None), Just(Some(Value::Null)), filled]
    };
    let variable = |name: &str, plain: bool| {
        if plain {
            json!({"name": name, "value": "v"})
        } else {
            json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
        }
    };
    let mount = |path: &str, read_only: bool| json!({"name": "data", "mountPath": path, "readOnly": read_only});
    (of(&VARIABLES, variable), of(&PATHS, mount)).prop_map(|(env, mounts)| {
        let lists = [("env", env), ("volumeMounts", mounts)];
        lists.into_iter().filter_map(|(key, list)| Some((key.to_owned(), list?))).collect()
    })
}

/// Containers or volumes with distinct names and an unknown field.
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

/// Labels or annotations that are valid in a template.
fn valid_pairs(value: &'static str) -> impl Strategy<Value = Map<String, Value>> {
    vec(("[a-z][a-z_.]{0,3}[a-z](/[a-z]{1,4})?", value), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.replace(['_', '.'], "-"), v.into())).collect())
}

fn request() -> impl Strategy<Value = &'static str> {
    prop_oneof![10 => Just("a"), 10 => Just("b"), 10 => Just("c"), 3 => Just("b@1"), 1 => Just("nope")]
}

prop_compose! {
    fn pod()(
        containers in items(), init in list(), volumes in list(), secrets in list(), labels in option::of(pairs()),
        mut annotations in pairs(), request in option::weighted(0.9, vec(request(), 1..4)),
        host_network in prop::bool::weighted(0.2), managed_first in any::<bool>(), lists in vec(lists(), 4),
        pod_level in option::of(Just(json!({"nodeSelector": {"x": "1"}, "terminationGracePeriodSeconds": 40}))),
    ) -> Value {
        let mut containers = containers;
        for (container, lists) in containers.iter_mut().zip(lists) {
            container.as_object_mut().expect("a container").extend(lists);
        }
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
        if let Some(Value::Object(fields)) = pod_level { spec.extend(fields); }
        if host_network { spec.insert("hostNetwork".to_owned(), true.into()); }
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "unknown": {"kept": 1}})
    }
}

prop_compose! {
    fn template(name: &'static str, version: Option<&'static str>)(
        sidecars in vec(name_of_own(), 0..3), own in vec(text(), 3), mode in prop::sample::select(vec!["native", "container"]),
        position in option::of(prop::sample::select(vec![json!("first"), json!("last"), json!({"before": "app"}), json!({"after": "data"})])), skip in prop::bool::weighted(0.7),
        volumes in vec(name_of_own(), 0..2), ports in any::<bool>(), mount in option::weighted(0.1, name_of_own()),
        expressions in vec(any::<bool>(), 4), keep in option::of(prop::sample::select(vec!["Keep", "Fail"])),
        change in option::of((prop::sample::select(&VARIABLES[..]), prop::sample::select(&PATHS[..]), any::<bool>())),
        labels in valid_pairs("[a-z]([a-z._-]{0,3}[a-z])?"), annotations in valid_pairs("[ -#%-~]{0,12}"),
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
        let containers_are_empty = containers.is_empty();
        let mut template = json!({
            "name": name, "mode": mode, "onProblem": if skip { "Skip" } else { "Deny" }, "sidecars": containers,
            "volumes": volumes, "metadata": {"labels": labels, "annotations": annotations},
        });
        if expressions[0] && !containers_are_empty {
            template["sidecars"][0]["image"] = "i:${label('x', 'none').size()}".into();
            template["sidecars"][0]["tty"] = "${size(object.spec.containers) > 1}".into();
        }
        if expressions[1] && !containers_are_empty {
            template["sidecars"][0]["if"] = "has(object.spec.volumes)".into();
        }
        if expressions[2] {
            template["pod"] = json!({"nodeSelector": {"x": "1", "y": "2"}, "terminationGracePeriodSeconds": 60, "tolerations": [{"key": "t"}]});
        }
        if let Some(keep) = keep { template["onConflict"] = keep.into(); }
        if let Some((name, path, append)) = change {
            let mut change = json!({"select": {"names": ["a*", "log"]}, "volumeMounts": [{"name": if expressions[3] { "files-v" } else { "data" }, "mountPath": path}]});
            if append { change["appendEnv"] = json!([{"name": name, "value": "more"}]); } else { change["env"] = json!([{"name": name, "value": "${request.namespace}"}]); }
            template["appContainers"] = json!([change]);
        }
        if expressions[3] {
            template["volumes"].as_array_mut().expect("a list").push(json!({"name": "files-v", "files": {"f.txt": "x ${request.namespace}"}}));
        }
        if let Some(version) = version { template["version"] = version.into(); }
        if let Some(position) = position { template["position"] = position; }
        template.to_string()
    }
}

fn name_of_own() -> impl Strategy<Value = String> {
    prop_oneof![name(), "[a-z]{1,3}-[0-9]{1,2}"]
}

fn catalog(texts: &[String]) -> Catalog {
    let load = |text: &String| {
        Template::load(&Source::new("t", text), "t", &Keys::default()).map(|loaded| Arc::new(loaded.template))
    };
    Catalog::new(texts.iter().map(|text| load(text).expect("a template")), BTreeMap::new())
}

fn review_of(pod: &Value) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","resource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"n","operation":"CREATE","object":{pod}}}}}"#
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patches_have_their_properties(
        pod in pod(), a in template("a", None), b in template("b", None), b1 in template("b", Some("1")), c in template("c", Some("2")),
    ) {
        let catalog = catalog(&[a, b, b1, c]);
        let settings = Settings::default();
        let engine = Engine::new(&catalog, &settings, EntryPoint::default());
        let body = review_of(&pod);
        let answer = engine.answer(body.as_bytes()).expect("a review");
        let request = Request::parse(body.as_bytes()).expect("a review");
        let whole = engine.decide(&request, &Embedding::default());
        prop_assert_eq!(&answer.body, &review::response(review::Version::V1, "u", &whole), "the early exit disagrees");
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
        prop_assert!(contains(&pod, &after), "{} in {}", pod, after);
        // The API server makes these changes before the second round.
        for list in ["/spec/containers", "/spec/initContainers"] {
            for container in after.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["terminationMessagePath"] = "/dev/termination-log".into();
                let token = json!({"name": "kube-api-access-x", "mountPath": "/var/run/secrets"});
                match container["volumeMounts"].as_array_mut() {
                    Some(mounts) => mounts.push(token),
                    None => container["volumeMounts"] = json!([token]),
                }
            }
        }
        let second = review_of(&after);
        let again = engine.answer(second.as_bytes()).expect("a review");
        prop_assert_eq!(again.decision.patch.map(|p| String::from_utf8(p).expect("text")), None, "a second run adds something");
    }
}
