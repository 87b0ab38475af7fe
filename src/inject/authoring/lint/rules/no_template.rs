//! Requests in manifests for templates that do not exist, and malformed requests.

use crate::inject::authoring::lint::linter::{ManifestPod, Rule, RuleCheck};
use crate::inject::catalog::NotFound;
use crate::inject::diagnostic::{Severity, nearest};
use crate::inject::select::request::RequestItem;

pub(super) const RULE: Rule = Rule {
    id: "no-template",
    severity: Severity::Error,
    explanation: "The manifest requests a template or a version that does not exist, or its request is malformed. The \
        webhook denies its pods. Correct the annotation.",
    check: RuleCheck::Manifest(check),
    #[cfg(test)]
    cases: &[
        ("pod: {annotations: {sidecar.io/inject: logs}}", &[]),
        ("pod: {annotations: {sidecar.io/inject: 'true'}}", &[]),
        ("pod: {annotations: {sidecar.io/inject: lgos}}", &["there is no template lgos; did you mean logs?"]),
        (
            "pod: {annotations: {sidecar.io/inject: 'logs@2, metrics'}}",
            &["there is no template logs@2; did you mean logs?", "there is no template metrics"],
        ),
        (
            "pod: {annotations: {sidecar.io/inject: 'next'}}",
            &["next has only pre-releases; request a version: next@2-rc1"],
        ),
        ("pod: {annotations: {sidecar.io/inject: 'next@2-rc1'}}", &[]),
        ("pod: {annotations: {sidecar.io/inject: 'false, logs'}}", &[r#"sidecar.io/inject is "false, logs""#]),
    ],
};

fn check(pod: &ManifestPod<'_>) -> Vec<String> {
    let items = match pod.requested() {
        None => return Vec::new(),
        Some(Err(why)) => return vec![why],
        Some(Ok(items)) => items,
    };
    let mut found = Vec::new();
    for item in items {
        let RequestItem::Named(wanted) = item else { continue };
        let name = wanted.name;
        match pod.catalog.get(wanted) {
            Ok(_) => {}
            Err(NotFound::OnlyPreReleases { known }) => {
                let known: Vec<String> = known.iter().map(|version| format!("{name}@{version}")).collect();
                found.push(format!("{name} has only pre-releases; request a version: {}", known.join(", ")));
            }
            Err(_) => {
                let hint = nearest(name, pod.catalog.names());
                let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                let version = wanted.version.map(|version| format!("@{version}")).unwrap_or_default();
                found.push(format!("there is no template {name}{version}{hint}"));
            }
        }
    }
    found
}
