//! Where the pod stands in a manifest: which kinds of workload there are and how their pod templates
//! are found. It reads documents as JSON and must not know how they are patched.

use serde_json::{Map, Value, json};

use crate::inject::settings::Embedding;

/// A pod inside a document.
#[derive(Debug)]
pub struct PodTemplate {
    /// Where it stands, and what its workload adds to it.
    pub embedding: Embedding,
    /// JSON pointer of the object that the pod belongs to: the document, or an item of a list.
    pub object: String,
    /// The pod as JSON text: metadata and spec.
    pub pod: String,
    /// The namespace it will be created in, if the document says so.
    pub namespace: Option<String>,
}

/// The pods in `document`, in order. A `List` has those of its items; other kinds have at most one:
/// the pod itself, a CronJob's job's, or `spec.template` of anything that has
/// `spec.template.spec.containers` there (Deployment, Job, Argo Rollout, Knative Service, …).
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
            // In a PodList or DeploymentList items need not repeat their kind.
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
    // A pod that says it is one is looked at whatever it contains; anything else must look like one.
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

/// The pod of a template. A template without metadata is a pod without any.
fn pod_text(template: &Value) -> String {
    let mut pod = Map::new();
    pod.insert("metadata".to_owned(), template.get("metadata").filter(|m| !m.is_null()).cloned().unwrap_or(json!({})));
    if let Some(spec) = template.get("spec") {
        pod.insert("spec".to_owned(), spec.clone());
    }
    Value::Object(pod).to_string()
}
