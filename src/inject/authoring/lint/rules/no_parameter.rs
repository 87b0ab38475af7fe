//! Parameters in manifests: of templates that the pod does not request, or with a name or value that the template does
//! not accept.

use crate::inject::authoring::lint::linter::{ManifestPod, Rule, RuleCheck};
use serde_json::json;

use crate::inject::diagnostic::Severity;
use crate::inject::evaluate::parameters;
use crate::inject::review::pod::Pod;
use crate::inject::select::request::RequestItem;
use crate::inject::select::strays;
use crate::inject::template::reference::TemplateRef;

pub(super) const RULE: Rule = Rule {
    id: "no-parameter",
    severity: Severity::Error,
    explanation: "The manifest sets a parameter of a template that it does not request, which has no effect; or it \
        sets a parameter that the template does not declare, or a value that the parameter does not allow, and the \
        webhook denies its pods. Correct or remove the annotation.",
    check: RuleCheck::Manifest(check),
    #[cfg(test)]
    cases: &[
        (
            "pod:\n  \
               annotations: {sidecar.io/inject: logs, logs.sidecar.io/level: debug, logs.sidecar.io/labels.team: a}",
            &[],
        ),
        (
            "pod: {annotations: {sidecar.io/inject: logs, log.sidecar.io/level: debug}}",
            &["log.sidecar.io/level is for a template that is not requested; did you mean logs?"],
        ),
        (
            "pod: {annotations: {sidecar.io/inject: logs, logs.sidecar.io/level: loud}}",
            &[r#"logs.sidecar.io/level is "loud""#],
        ),
        (
            "pod: {annotations: {sidecar.io/inject: logs, logs.sidecar.io/levle: debug}}",
            &[r#"logs.sidecar.io/levle is "debug""#],
        ),
        (
            "pod: {annotations: {sidecar.io/inject: logs, logs.sidecar.io/labels: a}}",
            &[r#"logs.sidecar.io/labels is "a""#],
        ),
        // The defaults may include the template.
        ("pod: {annotations: {sidecar.io/inject: 'true', other.sidecar.io/level: debug}}", &[]),
        (
            "pod: {annotations: {sidecar.io/inject: logs, logs.files.sidecar.io/logs-v.a: b, my.app.sidecar.io/x: z}}",
            &[],
        ),
    ],
};

fn check(pod: &ManifestPod<'_>) -> Vec<String> {
    let Some(Ok(items)) = pod.requested() else { return Vec::new() };
    let text = json!({"metadata": pod.metadata}).to_string();
    let Ok(metadata) = Pod::parse(&text).metadata else { return Vec::new() };
    let named = items.iter().filter_map(|item| match item {
        RequestItem::Named(wanted) => Some(*wanted),
        RequestItem::Defaults => None,
    });
    let asked_for: Vec<TemplateRef<'_>> = named.collect();
    let mut found = Vec::new();
    // It is not known here which templates are the defaults.
    if asked_for.len() == items.len() {
        found.extend(strays::stray_parameters(&metadata, &asked_for, pod.keys));
    }
    for template in asked_for.iter().filter_map(|wanted| pod.catalog.get(*wanted).ok()) {
        let values = parameters::values(pod.keys, &template.name, &template.parameters, &metadata);
        found.extend(values.err().into_iter().flatten());
    }
    found
}
