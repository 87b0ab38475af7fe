//! Small pods around one value.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Value as Json, json};

use crate::inject::cluster_version::ClusterVersion;
use crate::inject::kube::examples::sample::{accompany, sample_with};
use crate::inject::kube::gates::FeatureGate;
use crate::inject::kube::rules::{FieldRule, Relation};
use crate::inject::kube::types::{self, Field, Kind, ObjectType};

/// The fields of a pod's spec that a template can add to. Sidecars stand for all containers.
const FIELDS: [&str; 10] = [
    "containers",
    "volumes",
    "securityContext",
    "dnsConfig",
    "nodeSelector",
    "tolerations",
    "hostAliases",
    "readinessGates",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
];

/// Returns true if a template can set this field, as part of an object of the type.
pub(super) fn is_used(object: &ObjectType, field: &str) -> bool {
    let forbidden =
        |relation: &&'static Relation| matches!(relation, Relation::Only(fields) if !fields.contains(&field));
    (object.name != "PodSpec" || FIELDS.contains(&field)) && !object.relations.iter().any(forbidden)
}

/// The feature gate that objects of the type need, if an API server of this version has it off.
pub(super) fn gate(object: &ObjectType, cluster: ClusterVersion) -> Option<&'static FeatureGate> {
    let (parent, field, _) = PARENTS.get(&object.name)?;
    gate_of(parent.field(field)?, cluster).or_else(|| gate(parent, cluster))
}

/// The feature gate of a field, if an API server of this version has it off.
pub(super) fn gate_of(field: &Field, cluster: ClusterVersion) -> Option<&'static FeatureGate> {
    field.rules.iter().find_map(|rule| match rule {
        FieldRule::Gate(gate) if !gate.is_on(cluster) => Some(*gate),
        _ => None,
    })
}

/// The type and the field in which each type is first reached from a pod's spec, and true for a list.
static PARENTS: LazyLock<HashMap<String, (&'static ObjectType, String, bool)>> = LazyLock::new(|| {
    let mut parents = HashMap::new();
    let Some(spec) = types::kind("PodSpec").object() else { return parents };
    let mut pending = vec![spec];
    while !pending.is_empty() {
        let mut next = Vec::new();
        for object in pending {
            for field in object.fields.iter().filter(|field| is_used(object, &field.name)) {
                let (kind, is_list) = match &field.kind {
                    Kind::List(item) => (item.as_ref(), true),
                    kind => (kind, false),
                };
                if let Some(child) = kind.object().filter(|child| !parents.contains_key(&child.name)) {
                    parents.insert(child.name.clone(), (object, field.name.clone(), is_list));
                    next.push(child);
                }
            }
        }
        pending = next;
    }
    parents
});

/// Returns true if a template can add an object of this type.
pub(super) fn is_reachable(object: &ObjectType) -> bool {
    PARENTS.contains_key(&object.name) || matches!(object.name.as_str(), "PodSpec" | "InitContainer" | "AppContainer")
}

/// A pod with `value`, an object of the type, and nothing else that a rule needs.
pub(super) fn embed(object: &ObjectType, value: Json) -> Json {
    let mut spec = json!({
        "containers": [{"name": "app", "image": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}],
        "resourceClaims": [{"name": "c", "resourceClaimName": "c"}],
    });
    let (field, value) = match object.name.as_str() {
        "PodSpec" => {
            for (field, value) in value.as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
            return pod(&spec);
        }
        "InitContainer" => ("initContainers".to_owned(), json!([value])),
        "AppContainer" => {
            for (field, value) in value.as_object().into_iter().flatten() {
                spec["containers"][0][field] = value.clone();
            }
            return pod(&spec);
        }
        _ => in_spec(object, value),
    };
    if value.to_string().contains("Unmasked") {
        spec["hostUsers"] = false.into();
    }
    match (spec[field.as_str()].as_array_mut(), value) {
        (Some(list), Json::Array(items)) => list.extend(items),
        (_, value) => spec[field.as_str()] = value,
    }
    pod(&spec)
}

/// The field of the spec that contains `value`, with its value.
fn in_spec(object: &ObjectType, value: Json) -> (String, Json) {
    let Some((parent, field, is_list)) = PARENTS.get(&object.name) else { return (String::new(), value) };
    // These words need another field elsewhere in the pod.
    let is_bidirectional = value["mountPropagation"] == "Bidirectional";
    let value = if *is_list { json!([value]) } else { value };
    if parent.name == "PodSpec" {
        return (field.clone(), value);
    }
    let mut whole = sample_with(parent, field);
    whole.insert(field.clone(), value);
    accompany(&mut whole, field);
    if is_bidirectional {
        whole.insert("securityContext".into(), json!({"privileged": true}));
    }
    in_spec(parent, Json::Object(whole))
}

/// A pod with an annotation.
pub(super) fn annotated(key: &str, text: &str) -> Json {
    let mut pod = pod(&json!({"containers": [{"name": "app", "image": "a"}]}));
    pod["metadata"]["annotations"] = json!({key: text});
    pod
}

fn pod(spec: &Json) -> Json {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec})
}
