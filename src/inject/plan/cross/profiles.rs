//! Rules between the fields of seccomp and AppArmor profiles and the annotations that they replace.

use serde_json::Value as Json;

use crate::inject::kube::rules::annotations::{APP_ARMOR_OF_CONTAINER, SECCOMP_OF_CONTAINER, SECCOMP_OF_POD};
use crate::inject::plan::cross::rules::{containers, part, text};
use crate::inject::plan::cross::{CrossFault, PodPart};

/// Returns true for an annotation with a profile.
pub(super) fn is_legacy(key: &str) -> bool {
    key == SECCOMP_OF_POD || key.starts_with(SECCOMP_OF_CONTAINER) || key.starts_with(APP_ARMOR_OF_CONTAINER)
}

/// Returns true if the annotation has the same meaning as the field.
fn agrees(annotation: &str, profile: &Json) -> bool {
    match text(profile, "type") {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => matches!(annotation, "runtime/default" | "docker/default"),
        "Localhost" => annotation.strip_prefix("localhost/") == profile["localhostProfile"].as_str(),
        _ => true,
    }
}

fn annotation<'j>(pod: &'j Json, key: &str) -> Option<&'j str> {
    pod["metadata"]["annotations"][key].as_str()
}

/// `validateSeccompAnnotationsAndFields`.
pub(super) fn seccomp(pod: &Json) -> Vec<CrossFault> {
    let mut faults = Vec::new();
    let of_pod = &pod["spec"]["securityContext"]["seccompProfile"];
    if !of_pod.is_null() && annotation(pod, SECCOMP_OF_POD).is_some_and(|text| !agrees(text, of_pod)) {
        let what =
            format!("metadata.annotations: {SECCOMP_OF_POD} differs from securityContext.seccompProfile of the pod");
        faults.push(CrossFault::new(
            what,
            [PodPart::Annotation(SECCOMP_OF_POD.to_owned()), PodPart::Field("securityContext")],
        ));
    }
    for container in containers(pod) {
        let own = &container["securityContext"]["seccompProfile"];
        let key = format!("{SECCOMP_OF_CONTAINER}{}", text(container, "name"));
        if !own.is_null() && annotation(pod, &key).is_some_and(|text| !agrees(text, own)) {
            let what =
                format!("metadata.annotations: {key} differs from securityContext.seccompProfile of that container");
            faults.push(CrossFault::new(what, [PodPart::Annotation(key), part(container)]));
        }
    }
    faults
}

/// `validateAppArmorAnnotationsAndFieldsMatchOnCreate`.
pub(super) fn app_armor(pod: &Json) -> Vec<CrossFault> {
    if pod["spec"]["os"]["name"] == "windows" {
        return Vec::new();
    }
    let of_pod = &pod["spec"]["securityContext"]["appArmorProfile"];
    let mut faults = Vec::new();
    for container in containers(pod) {
        let own = &container["securityContext"]["appArmorProfile"];
        let profile = if own.is_null() { of_pod } else { own };
        let key = format!("{APP_ARMOR_OF_CONTAINER}{}", text(container, "name"));
        let differs = |text: &str| text == "docker/default" || !agrees(text, profile);
        if !profile.is_null() && annotation(pod, &key).is_some_and(differs) {
            let what =
                format!("metadata.annotations: {key} differs from securityContext.appArmorProfile of that container");
            let reads = [PodPart::Annotation(key), part(container), PodPart::Field("securityContext")];
            faults.push(CrossFault::new(what, reads));
        }
    }
    faults
}

/// `ValidateAppArmorPodAnnotations`.
pub(super) fn app_armor_containers(pod: &Json) -> Vec<CrossFault> {
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let is_known = |name: &str| containers(pod).any(|container| container["name"] == name);
    let unknown = |(key, _): (&String, &Json)| {
        let name = key.strip_prefix(APP_ARMOR_OF_CONTAINER).filter(|name| !is_known(name))?;
        let what = format!("metadata.annotations: {key} names the container {name}, which the pod does not have");
        Some(CrossFault::new(what, [PodPart::Annotation(key.clone())]))
    };
    annotations.filter_map(unknown).collect()
}
