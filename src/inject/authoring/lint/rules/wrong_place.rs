//! Keys of the injector where they have no effect: on the workload, as labels, or with a typo.

use crate::inject::authoring::lint::linter::{ManifestPod, Rule, RuleCheck};
use serde_json::{Value as Json, json};

use crate::inject::diagnostic::{Severity, nearest};
use crate::inject::review::pod::Pod;
use crate::inject::settings::keys::Keys;

pub(super) const RULE: Rule = Rule {
    id: "wrong-place",
    severity: Severity::Warning,
    explanation: "An annotation has no effect: it is on the workload instead of its pod template, it is a label, or \
        its key has a typo. Move or correct it. The rule also reports keys of template ConfigMaps that are not read, \
        and metadata that the API server rejects.",
    check: RuleCheck::Manifest(check),
    #[cfg(test)]
    cases: &[
        ("pod: {annotations: {sidecar.io/inject: logs, logs.sidecar.io/level: debug}}", &[]),
        (
            "pod: {labels: {sidecar.io/inject: logs}}",
            &["sidecar.io/inject is a label and has no effect; make it an annotation"],
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
            &["the annotation sidecar.io/statsu has no effect; did you mean sidecar.io/status?"],
        ),
        (
            "pod: {annotations: {sidecars.io/inject: logs}}",
            &["the annotation sidecars.io/inject has no effect; did you mean sidecar.io/inject?"],
        ),
        ("pod: {annotations: {sidecar.io/inject: true}}", &["the API server will reject this: "]),
    ],
};

fn check(pod: &ManifestPod<'_>) -> Vec<String> {
    let mut found = labels(pod);
    if let Some(workload) = pod.workload {
        let parameters = keys_of(workload, "annotations").filter(|key| pod.keys.as_parameter(key).is_some());
        let message = |key| format!("{key} has no effect there; move it to the pod template's annotations");
        found.extend(parameters.map(message));
    }
    found.extend(typos(pod));
    let text = json!({"metadata": pod.metadata}).to_string();
    found.extend(Pod::parse(&text).metadata.err().map(|why| format!("the API server will reject this: {why}")));
    found
}

/// Labels with keys that belong in annotations.
fn labels(pod: &ManifestPod<'_>) -> Vec<String> {
    let is_ours = |keys: &Keys, key: &str| keys.is_own(key) || keys.as_parameter(key).is_some();
    let of_pod = keys_of(pod.metadata, "labels").filter(|key| is_ours(pod.keys, key) && pod.keys.template != *key);
    let of_workload = pod.workload.into_iter().flat_map(|workload| keys_of(workload, "labels"));
    let of_workload = of_workload.filter(|key| is_ours(pod.keys, key));
    of_pod
        .map(|key| format!("{key} is a label and has no effect; make it an annotation"))
        .chain(
            of_workload
                .map(|key| format!("{key} is a label of the workload; make it an annotation of the pod template")),
        )
        .collect()
}

/// Annotations whose key is probably a typo of one of the injector's keys.
fn typos(pod: &ManifestPod<'_>) -> Vec<String> {
    let known = [&pod.keys.request, &pod.keys.status, &pod.keys.trace].map(String::as_str);
    let unknown =
        keys_of(pod.metadata, "annotations").filter(|key| !known.contains(key) && pod.keys.as_parameter(key).is_none());
    let message = |key: &str| {
        let hint = nearest(key, known)?;
        Some(format!("the annotation {key} has no effect; did you mean {hint}?"))
    };
    unknown.filter_map(message).collect()
}

fn keys_of<'m>(metadata: &'m Json, part: &str) -> impl Iterator<Item = &'m str> + use<'m> {
    metadata[part].as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}
