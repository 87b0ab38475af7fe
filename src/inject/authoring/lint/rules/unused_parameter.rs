//! Parameters that no expression reads.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::document::Value;

pub(super) const RULE: Rule = Rule {
    id: "unused-parameter",
    severity: Severity::Warning,
    explanation: "No expression reads a declared parameter. Pods that set it expect an effect. Use the parameter or \
        remove it.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, args: ['${params.x}']}]",
            &[],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i}]",
            &["no expression reads params.x"],
        ),
        (
            "parameters: {x: {type: string}}\n\
             lint: {unused-parameter: read by the next version}\n\
             sidecars: [{name: a, image: i}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let Some(Value::Map(entries)) = linter.node.get("parameters").map(|node| &node.value) else { return };
    for (key, _) in entries {
        if !linter.template.reads().parameters.contains(&key.name) {
            linter.find(key.span, format!("no expression reads params.{}", key.name));
        }
    }
}
