//! Functions that create and read pods as JSON.

use serde_json::{Value, json};

/// Creates a minimal pod. If `inject` is set, the pod has the annotation with this value.
pub(crate) fn pod(name: &str, inject: Option<&str>) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": "nginx:1.29-alpine"}]},
    });
    if let Some(request) = inject {
        pod["metadata"]["annotations"] = json!({"sidecar.io/inject": request});
    }
    pod
}

/// The names in a list of the spec: `containers`, `initContainers`, `volumes`.
pub(crate) fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let items = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["name"].as_str()).collect()
}

/// An item of a list of the spec.
pub(crate) fn item<'a>(pod: &'a Value, list: &str, name: &str) -> &'a Value {
    let items = pod["spec"][list].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name:?} in {list} of {pod:#}"))
}

/// The status annotation of the pod, if there is one.
pub(crate) fn status(pod: &Value) -> Option<Value> {
    let text = pod["metadata"]["annotations"]["sidecar.io/status"].as_str()?;
    Some(serde_json::from_str(text).expect("the status annotation is JSON"))
}

/// The names of the templates in the status.
pub(crate) fn status_templates(pod: &Value) -> Vec<String> {
    let status = status(pod).unwrap_or_default();
    let templates = status["templates"].as_array().cloned().unwrap_or_default();
    templates.iter().filter_map(|template| template["name"].as_str().map(ToOwned::to_owned)).collect()
}

/// Returns true if the container mounts the token of the service account.
pub(crate) fn mounts_token(container: &Value) -> bool {
    let mounts = container["volumeMounts"].as_array().map(Vec::as_slice).unwrap_or_default();
    mounts.iter().any(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount")
}

/// Returns the pod without the values that the API server generates for each pod: identity, times, and the random part
/// of the name of the token volume.
pub(crate) fn comparable(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let volumes = names(&pod, "volumes");
    if let Some(token) = volumes.into_iter().find(|name| name.starts_with("kube-api-access-")).map(ToOwned::to_owned) {
        let text = pod.to_string().replace(&token, "kube-api-access");
        pod = serde_json::from_str(&text).expect("still JSON");
    }
    // The items of a list do not have these fields.
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    let metadata = pod["metadata"].as_object_mut().expect("a pod has metadata");
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        metadata.remove(field);
    }
    pod
}
