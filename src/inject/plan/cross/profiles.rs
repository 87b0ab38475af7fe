//! Rules between the fields of seccomp and AppArmor profiles and the annotations that they replace.

use crate::inject::kube::rules::annotations::{APP_ARMOR_OF_CONTAINER, SECCOMP_OF_CONTAINER, SECCOMP_OF_POD};
use crate::inject::plan::cross::CrossFault;
use crate::inject::plan::cross::located::Located;

/// Returns true for an annotation with a profile.
pub(super) fn is_legacy(key: &str) -> bool {
    key == SECCOMP_OF_POD || key.starts_with(SECCOMP_OF_CONTAINER) || key.starts_with(APP_ARMOR_OF_CONTAINER)
}

/// Returns true if the annotation has the same meaning as the field.
fn agrees(annotation: &str, profile: &Located<'_>) -> bool {
    match profile.text("type") {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => matches!(annotation, "runtime/default" | "docker/default"),
        "Localhost" => annotation.strip_prefix("localhost/") == profile.value["localhostProfile"].as_str(),
        _ => true,
    }
}

/// The annotation, if it is a text for which `differs` returns true.
fn annotation<'j>(pod: &Located<'j>, key: &str, differs: impl Fn(&str) -> bool) -> Option<Located<'j>> {
    let annotation = pod.path(["metadata", "annotations", key]);
    annotation.value.as_str().is_some_and(differs).then_some(annotation)
}

/// `validateSeccompAnnotationsAndFields`.
pub(super) fn seccomp(pod: &Located<'_>) -> Vec<CrossFault> {
    let of_pod = [(SECCOMP_OF_POD.to_owned(), pod.member("spec"), "the pod")].into_iter();
    let of_containers = pod.containers().map(|own| {
        let key = format!("{SECCOMP_OF_CONTAINER}{}", own.name());
        (key, own, "that container")
    });
    let fault = |(key, owner, name): (String, Located<'_>, &str)| {
        let profile = owner.path(["securityContext", "seccompProfile"]);
        let annotation = annotation(pod, &key, |text| profile.exists() && !agrees(text, &profile))?;
        let what = format!("metadata.annotations: {key} differs from securityContext.seccompProfile of {name}");
        Some(CrossFault::new(what, [annotation.at, profile.at]))
    };
    of_pod.chain(of_containers).filter_map(fault).collect()
}

/// `validateAppArmorAnnotationsAndFieldsMatchOnCreate`.
pub(super) fn app_armor(pod: &Located<'_>) -> Vec<CrossFault> {
    let spec = pod.member("spec");
    if spec.member("os").name() == "windows" {
        return Vec::new();
    }
    let of_pod = spec.path(["securityContext", "appArmorProfile"]);
    let fault = |container: Located<'_>| {
        let own = container.path(["securityContext", "appArmorProfile"]);
        let key = format!("{APP_ARMOR_OF_CONTAINER}{}", container.name());
        // Without a profile of its own, the container gets that of the annotation (`applyAppArmorVersionSkew`), unless
        // no field has the same meaning.
        let profile = if own.exists() { own } else { of_pod.clone() };
        let is_own = profile.at != of_pod.at;
        let has_field = |text: &str| matches!(text, "unconfined" | "runtime/default") || text.starts_with("localhost/");
        let agrees = |text: &str| has_field(text) && (!is_own || agrees(text, &profile));
        let differs = |text: &str| profile.exists() && !agrees(text);
        let annotation = annotation(pod, &key, differs)?;
        let what =
            format!("metadata.annotations: {key} differs from securityContext.appArmorProfile of that container");
        Some(CrossFault::new(what, [annotation.at, profile.at]))
    };
    pod.containers().filter_map(fault).collect()
}

/// `ValidateAppArmorPodAnnotations`.
pub(super) fn app_armor_containers(pod: &Located<'_>) -> Vec<CrossFault> {
    let annotations = pod.path(["metadata", "annotations"]);
    let keys = annotations.value.as_object().into_iter().flatten().map(|(key, _)| key);
    let unknown = |key: &String| {
        let is_known = |name: &str| pod.containers().any(|container| container.name() == name);
        let name = key.strip_prefix(APP_ARMOR_OF_CONTAINER).filter(|name| !is_known(name))?;
        let what = format!("metadata.annotations: {key} names the container {name}, which the pod does not have");
        Some(CrossFault::new(what, [annotations.member(key).at]))
    };
    keys.filter_map(unknown).collect()
}
