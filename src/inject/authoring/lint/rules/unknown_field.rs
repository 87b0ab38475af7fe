//! Fields that Kubernetes does not know. Loading reports them.

use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "unknown-field",
    severity: Severity::Warning,
    explanation: "A field that Kubernetes 1.36 does not know. The API server drops it in silence from what a webhook \
        adds. It is right only if the field is newer than that.",
    check: RuleCheck::Loading,
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, imagePullPolicy: Always}]", &[]),
        ("sidecars: [{name: a, image: i, imagePulPolicy: Always}]", &[r#""imagePulPolicy""#]),
    ],
};
