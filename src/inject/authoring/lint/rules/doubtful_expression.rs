//! Expressions that are probably wrong. Loading reports them.

use crate::inject::authoring::lint::linter::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "doubtful-expression",
    severity: Severity::Warning,
    explanation: "An expression reads a field of the pod that Kubernetes 1.36 does not know, compares values that are \
        never equal, fails on each of four sample pods, or calls a function in a way that admission policies do not \
        have. Correct the expression, or read a field of a later version with `get(object, path, default)` or \
        `has(…)`.",
    check: RuleCheck::Loading,
    #[cfg(test)]
    cases: &[
        (r#"sidecars: [{name: a, image: i, args: ["${get(object, 'spec.newField', 'x')}"]}]"#, &[]),
        ("sidecars: [{name: a, image: i, if: has(object.spec.newField)}]", &[]),
        (
            "sidecars: [{name: a, image: i, args: ['${object.spec.newField}']}]",
            &["unknown field \"newField\" in PodSpec"],
        ),
        ("sidecars: [{name: a, image: i, if: has(object.metadata.lables)}]", &["unknown field \"lables\""]),
        ("sidecars: [{name: a, image: i, if: object.spec.restartPolicy == 1}]", &["string and int are never equal"]),
        ("sidecars: [{name: a, image: i, if: dyn('a')}]", &["on each of four sample pods"]),
    ],
};
