//! Finds the pods in a manifest. The module knows the kinds of workloads and the places of their pod templates. It
//! reads documents as JSON. It does not know how they are patched.

use serde_json::{Map, Value, json};

use crate::inject::settings::Embedding;

/// A pod inside a document.
#[derive(Debug)]
pub struct PodTemplate {
    /// The place of the pod in the document, and the volumes that its workload adds.
    pub embedding: Embedding,
    /// JSON pointer of the object that contains the pod: the document, or an item of a list.
    pub object: String,
    /// The pod as JSON text, with `metadata` and `spec`.
    pub pod: String,
    /// The namespace of the pod, if the document sets one.
    pub namespace: Option<String>,
}

/// The pods in `document`, in order. A list contains the pods of its items. Any other kind contains at most one pod:
/// the pod itself, the pod of a CronJob's job, the template of a `PodTemplate`, or the `spec.template` of any object
/// with `spec.template.spec.containers` (Deployment, Job, Argo Rollout, Knative Service, …).
#[must_use]
pub fn pod_templates(document: &Value) -> Vec<PodTemplate> {
    let mut pods = Vec::new();
    collect(document, document["kind"].as_str(), "", &mut pods);
    pods
}

fn collect(object: &Value, kind: Option<&str>, at: &str, pods: &mut Vec<PodTemplate>) {
    let of_items = kind.and_then(|kind| kind.strip_suffix("List"));
    match (of_items, object["items"].as_array()) {
        (Some(of_items), Some(items)) => {
            // In a PodList or DeploymentList, the items can omit their kind.
            let of_items = Some(of_items).filter(|kind| !kind.is_empty());
            for (index, item) in items.iter().enumerate() {
                collect(item, item["kind"].as_str().or(of_items), &format!("{at}/items/{index}"), pods);
            }
        }
        _ => pods.extend(pod_template(object, kind.unwrap_or_default(), at)),
    }
}

fn pod_template(document: &Value, kind: &str, at: &str) -> Option<PodTemplate> {
    let core = document["apiVersion"].is_null() || document["apiVersion"] == "v1";
    let inner = match kind {
        "" => return None,
        "Pod" if core => "",
        "CronJob" => "/spec/jobTemplate/spec/template",
        "PodTemplate" => "/template",
        _ => "/spec/template",
    };
    let template = document.pointer(inner)?;
    // An object of the kind Pod is a pod whatever it contains. In other kinds, only a template with containers is a
    // pod.
    if !inner.is_empty() && template["spec"]["containers"].is_null() {
        return None;
    }
    let claims = document["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let claims = if kind == "StatefulSet" {
        claims.filter_map(|claim| claim["metadata"]["name"].as_str()).map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    Some(PodTemplate {
        embedding: Embedding { pointer: format!("{at}{inner}"), claims, of_job: matches!(kind, "Job" | "CronJob") },
        object: at.to_owned(),
        pod: pod_text(template),
        namespace: document["metadata"]["namespace"].as_str().map(str::to_owned),
    })
}

/// The pod of a template, as JSON text. Missing metadata becomes an empty map.
fn pod_text(template: &Value) -> String {
    let mut pod = Map::new();
    pod.insert("metadata".to_owned(), template.get("metadata").filter(|m| !m.is_null()).cloned().unwrap_or(json!({})));
    if let Some(spec) = template.get("spec") {
        pod.insert("spec".to_owned(), spec.clone());
    }
    Value::Object(pod).to_string()
}
