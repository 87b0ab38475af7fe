//! The defaults that the API server sets in a pod before it calls a webhook (`pkg/apis/core/v1/defaults.go` and the
//! admission plugins). They are added to pods from manifests, so that expressions read the same pod as in a cluster.
//! The module does not know about templates.

use serde_json::{Map, Value as Json, json};

use crate::inject::kube::names;
use crate::inject::kube::paths;
use crate::inject::kube::quantity::quantity;

/// Returns the default of a field.
type DefaultValue = fn() -> Json;

/// The fields of a pod's spec that the API server sets, with their defaults.
const SPEC: [(&str, DefaultValue); 7] = [
    ("restartPolicy", || json!("Always")),
    ("terminationGracePeriodSeconds", || json!(30)),
    ("dnsPolicy", || json!("ClusterFirst")),
    ("serviceAccountName", || json!("default")),
    ("securityContext", || json!({})),
    ("schedulerName", || json!("default-scheduler")),
    ("enableServiceLinks", || json!(true)),
];

/// The default that the API server sets for a field of a pod's spec, or `None` if it sets none.
#[must_use]
pub(crate) fn of_spec(field: &str) -> Option<Json> {
    SPEC.iter().find(|(name, _)| *name == field).map(|(_, value)| value())
}

/// The defaults that the API server sets in a container with this image, by field.
#[must_use]
pub(crate) fn of_container(image: &str) -> Json {
    let floats = !image.contains('@') && names::image_tag(image).is_none_or(|tag| tag == "latest");
    json!({"resources": {}, "imagePullPolicy": if floats { "Always" } else { "IfNotPresent" }})
}

/// Adds defaults to the absent and null fields of a pod in `namespace`. `claims` are the names of volumes that the
/// pod's workload adds. A value that is not an object with a `spec` is returned unchanged.
#[must_use]
pub fn fill(mut pod: Json, namespace: &str, claims: &[String]) -> Json {
    if !pod.is_object() || !pod["spec"].is_object() {
        return pod;
    }
    set(&mut pod["metadata"], &json!({"namespace": namespace}));
    let filled: Map<String, Json> = SPEC.iter().map(|(field, value)| ((*field).to_owned(), value())).collect();
    set(&mut pod["spec"], &Json::Object(filled));
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let defaults = of_container(container["image"].as_str().unwrap_or_default());
            set(container, &defaults);
        }
    }
    if !claims.is_empty() {
        let claim = |name: &String| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        match pod["spec"]["volumes"].as_array_mut() {
            // The claim replaces a volume of the same name (`updateStorage` of the StatefulSet controller).
            Some(volumes) => {
                volumes.retain(|own| !claims.iter().any(|claim| own["name"] == claim.as_str()));
                volumes.extend(claims.iter().map(claim));
            }
            None => pod["spec"]["volumes"] = claims.iter().map(claim).collect(),
        }
    }
    pod
}

/// Returns true if two environment variables, mounts or volumes are equal once the API server has set its defaults.
/// Quantities are compared by value.
#[must_use]
pub fn equal(one: &Json, other: &Json) -> bool {
    plain(one) == plain(other)
}

/// The value without the members that are equal to the API server's defaults, and with quantities in one notation.
fn plain(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let members = map.iter().map(|(key, value)| (key, plain_member(key, value)));
            members.filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value)).collect()
        }
        Json::Array(items) => items.iter().map(plain).collect(),
        scalar => scalar.clone(),
    }
}

fn plain_member(key: &str, value: &Json) -> Json {
    let is_default = match (key, value) {
        ("value" | "subPath" | "subPathExpr" | "prefix" | "medium" | "type", Json::String(text)) => text.is_empty(),
        ("apiVersion", Json::String(text)) => text == "v1",
        ("readOnly" | "optional", flag) => *flag == false,
        ("defaultMode", mode) => *mode == 0o644,
        ("expirationSeconds", seconds) => *seconds == 3600,
        _ => false,
    };
    match (key, value.as_str().and_then(quantity)) {
        _ if is_default => Json::Null,
        // A divisor of zero is the default, one.
        ("divisor", Some(0 | 1_000_000_000)) => Json::Null,
        ("divisor" | "sizeLimit", Some(nano)) => Json::from(nano.to_string()),
        ("mountPath" | "devicePath", _) => value.as_str().map_or(Json::Null, |path| Json::from(paths::clean(path))),
        _ => plain(value),
    }
}

/// Sets members that are absent or null.
fn set(object: &mut Json, defaults: &Json) {
    if object.is_null() {
        *object = Json::Object(Map::new());
    }
    let Json::Object(object) = object else { return };
    for (key, value) in defaults.as_object().into_iter().flatten() {
        if object.get(key).is_none_or(Json::is_null) {
            object.insert(key.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_values_are_equal() {
        let memory = |divisor: &str| json!({"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": divisor}}});
        for (one, other) in [
            (json!({"name": "A"}), json!({"name": "A", "value": ""})),
            (memory("1Mi"), memory("1024Ki")),
            (memory("1"), memory("0")),
            (json!({"emptyDir": {"sizeLimit": "1Gi"}}), json!({"emptyDir": {"medium": "", "sizeLimit": "1024Mi"}})),
            (json!({"emptyDir": {}}), json!({"emptyDir": {}, "name": null})),
            (json!({"configMap": {"name": "c", "defaultMode": 420}}), json!({"configMap": {"name": "c"}})),
        ] {
            assert!(equal(&one, &other), "{one} {other}");
        }
        assert!(!equal(&memory("1Mi"), &memory("1M")));
        assert!(!equal(&json!({"name": "A", "value": "1Gi"}), &json!({"name": "A", "value": "1024Mi"})));
        assert!(!equal(&json!({"emptyDir": {}}), &json!({"hostPath": {}})));
    }

    #[test]
    fn fills_absent_fields_and_keeps_the_others() {
        let pod = json!({"metadata": {}, "spec": {"restartPolicy": "Never", "dnsPolicy": null, "containers": [{"image": "a/b:1"}, {"image": "c"}]}});
        let filled = fill(pod, "shop", &["data".to_owned()]);
        assert_eq!(filled["metadata"]["namespace"], "shop");
        let spec = &filled["spec"];
        assert_eq!((&spec["restartPolicy"], &spec["dnsPolicy"]), (&json!("Never"), &json!("ClusterFirst")));
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(spec["containers"][1]["imagePullPolicy"], "Always");
        assert_eq!(spec["volumes"][0]["name"], "data");
        assert_eq!(fill(json!(7), "n", &[]), fill(json!(7), "n", &[]), "a value that is not a pod stays as it is");
    }
}
