//! Fields that Kubernetes does not know. Loading reports them.

use crate::inject::authoring::lint::linter::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "unknown-field",
    severity: Severity::Warning,
    explanation: "Kubernetes 1.36 does not know the field. The API server silently drops unknown fields that a webhook \
        adds. Keep the field only if it is newer than Kubernetes 1.36.",
    check: RuleCheck::Loading,
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, imagePullPolicy: Always}]", &[]),
        ("sidecars: [{name: a, image: i, imagePulPolicy: Always}]", &[r#""imagePulPolicy""#]),
    ],
};
