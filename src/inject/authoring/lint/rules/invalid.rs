//! Templates that cannot be loaded. Loading reports them, and [`Linter::silenced`] what is wrong with `lint:`.

use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "invalid",
    severity: Severity::Error,
    explanation: "The template cannot be loaded: its text is no YAML, a key is unknown, a value has the wrong type, or \
        an expression is wrong. Pods that ask for it are refused, or get its last good version.",
    check: RuleCheck::Loading,
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i}]", &[]),
        ("sidecar: []", &[r#"unknown key "sidecar""#]),
        ("lint: {image-tag: the mirror pins it}", &[]),
        ("lint: {image-tag: ''}", &["lint.image-tag needs a reason"]),
        ("lint: {image-tags: x}", &[r#"there is no rule "image-tags", did you mean "image-tag"?"#]),
        ("lint: {invalid: x}", &["what cannot be loaded cannot be silenced"]),
    ],
};
