use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::template::Template;
use sidecar_injector::inject::{Engine, settings::{EntryPoint, Settings}};

/// Adds the template to a pod, and checks that a second round adds nothing.
pub fn inject(template: Template) {
    let name = template.name.clone();
    let catalog = Catalog::new([Arc::new(template)], BTreeMap::new());
    let mut pod = json!({
        "metadata": {"annotations": {"sidecar.io/inject": name}, "labels": {"app": "x", "a.b/c": "d"}},
        "spec": {"containers": [{"name": "app", "image": "i", "env": [{"name": "A", "value": "b"}]}], "volumes": [{"name": "own", "emptyDir": {}}]},
    });
    let Some(patch) = patch_of(&pod, &catalog) else { return };
    json_patch::patch(&mut pod, &patch).expect("the patch applies");
    assert!(patch_of(&pod, &catalog).is_none(), "a second run adds something");
}

/// Returns the patch for the pod; `None` if the pod is not changed.
pub fn patch_of(pod: &Value, catalog: &Catalog) -> Option<json_patch::Patch> {
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "n", "operation": "CREATE", "object": pod},
    });
    let review = review.to_string();
    let answer = Engine::new(catalog, &Settings::default(), EntryPoint::Requests).answer(review.as_bytes()).expect("a review");
    assert!(answer.decision.message.len() <= 1_000);
    assert!(answer.decision.warnings.iter().all(|warning| warning.chars().count() <= 120));
    Some(serde_json::from_slice(&answer.decision.patch?).expect("a patch"))
}
