//! Our keys where they have no effect: on the workload, as labels, or with a slip.

use serde_json::{Value as Json, json};

use crate::inject::authoring::lint::ManifestPod;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::{Severity, nearest};
use crate::inject::review::pod::Pod;
use crate::inject::settings::keys::Keys;

pub(super) const RULE: Rule = Rule {
    id: "wrong-place",
    severity: Severity::Warning,
    explanation: "The annotation stands where it has no effect: on the workload instead of its pod template, as a \
        label, or with a slip in its key. Move or correct it.",
    check: RuleCheck::Manifest(check),
    #[cfg(test)]
    cases: &[
        ("pod: {annotations: {sidecar.io/inject: logs, logs.sidecar.io/level: debug}}", &[]),
        (
            "pod: {labels: {sidecar.io/inject: logs}}",
            &["sidecar.io/inject is a label, which does nothing; make it an annotation"],
        ),
        (
            "pod: {}\n\
             workload: {labels: {sidecar.io/inject: logs}}",
            &["sidecar.io/inject is a label of the workload; make it an annotation of the pod template"],
        ),
        (
            "pod: {}\n\
             workload: {annotations: {logs.sidecar.io/level: debug}}",
            &["logs.sidecar.io/level has no effect there; move it to the pod template's annotations"],
        ),
        (
            "pod: {annotations: {sidecar.io/statsu: x}}",
            &["the annotation sidecar.io/statsu does nothing; did you mean sidecar.io/status?"],
        ),
        (
            "pod: {annotations: {sidecars.io/inject: logs}}",
            &["the annotation sidecars.io/inject does nothing; did you mean sidecar.io/inject?"],
        ),
        ("pod: {annotations: {sidecar.io/inject: true}}", &["no API server takes this: "]),
    ],
};

fn check(pod: &ManifestPod<'_>) -> Vec<String> {
    let mut found = labels(pod);
    if let Some(workload) = pod.workload {
        let parameters = keys_of(workload, "annotations").filter(|key| pod.keys.as_parameter(key).is_some());
        let message = |key| format!("{key} has no effect there; move it to the pod template's annotations");
        found.extend(parameters.map(message));
    }
    found.extend(slips(pod));
    let text = json!({"metadata": pod.metadata}).to_string();
    found.extend(Pod::parse(&text).metadata.err().map(|why| format!("no API server takes this: {why}")));
    found
}

/// Labels whose keys belong to annotations.
fn labels(pod: &ManifestPod<'_>) -> Vec<String> {
    let is_ours = |keys: &Keys, key: &str| keys.is_own(key) || keys.as_parameter(key).is_some();
    let of_pod = keys_of(pod.metadata, "labels").filter(|key| is_ours(pod.keys, key) && pod.keys.template != *key);
    let of_workload = pod.workload.into_iter().flat_map(|workload| keys_of(workload, "labels"));
    let of_workload = of_workload.filter(|key| is_ours(pod.keys, key));
    of_pod
        .map(|key| format!("{key} is a label, which does nothing; make it an annotation"))
        .chain(
            of_workload
                .map(|key| format!("{key} is a label of the workload; make it an annotation of the pod template")),
        )
        .collect()
}

/// Annotations that differ a little from one of ours.
fn slips(pod: &ManifestPod<'_>) -> Vec<String> {
    let known = [&pod.keys.request, &pod.keys.status, &pod.keys.trace].map(String::as_str);
    let unknown =
        keys_of(pod.metadata, "annotations").filter(|key| !known.contains(key) && pod.keys.as_parameter(key).is_none());
    let message = |key: &str| {
        let hint = nearest(key, known)?;
        Some(format!("the annotation {key} does nothing; did you mean {hint}?"))
    };
    unknown.filter_map(message).collect()
}

fn keys_of<'m>(metadata: &'m Json, part: &str) -> impl Iterator<Item = &'m str> + use<'m> {
    metadata[part].as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}
