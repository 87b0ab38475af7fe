//! What the API server has put into a pod before a webhook sees it, for manifests that no API server has seen
//! (`pkg/apis/core/v1/defaults.go` and the admission plugins). Expressions read a manifest's pod with these.

use serde_json::{Map, Value as Json, json};

/// The pod with defaults where it has nothing. `claims` are volumes that its workload adds.
#[must_use]
pub fn fill(mut pod: Json, namespace: &str, claims: &[String]) -> Json {
    if !pod.is_object() || !pod["spec"].is_object() {
        return pod;
    }
    set(&mut pod["metadata"], &json!({"namespace": namespace}));
    set(
        &mut pod["spec"],
        &json!({
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "enableServiceLinks": true,
        }),
    );
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let image = container["image"].as_str().unwrap_or_default();
            let last = image.rsplit('/').next().unwrap_or_default();
            let floats = !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
            let pull = if floats { "Always" } else { "IfNotPresent" };
            set(container, &json!({"resources": {}, "imagePullPolicy": pull}));
        }
    }
    if !claims.is_empty() {
        let claim = |name: &String| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        match pod["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.extend(claims.iter().map(claim)),
            None => pod["spec"]["volumes"] = claims.iter().map(claim).collect(),
        }
    }
    pod
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
    fn fills_what_is_absent_and_keeps_the_rest() {
        let pod = json!({"metadata": {}, "spec": {"restartPolicy": "Never", "dnsPolicy": null, "containers": [{"image": "a/b:1"}, {"image": "c"}]}});
        let filled = fill(pod, "shop", &["data".to_owned()]);
        assert_eq!(filled["metadata"]["namespace"], "shop");
        let spec = &filled["spec"];
        assert_eq!((&spec["restartPolicy"], &spec["dnsPolicy"]), (&json!("Never"), &json!("ClusterFirst")));
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(spec["containers"][1]["imagePullPolicy"], "Always");
        assert_eq!(spec["volumes"][0]["name"], "data");
        assert_eq!(fill(json!(7), "n", &[]), fill(json!(7), "n", &[]), "what is no pod does no harm");
    }
}
