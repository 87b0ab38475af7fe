//! Variables that a container sets twice.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "duplicate-env",
    severity: Severity::Warning,
    explanation: "A container sets the same variable twice. Only the last value counts, which is easy to miss when \
        someone changes the first. Remove one of them.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, env: [{name: A, value: x}, {name: B, value: x}]}]", &[]),
        (
            "sidecars: [{name: a, image: i, env: [{name: A, value: x}, {name: A, value: z}]}]",
            &["the variable A is set twice"],
        ),
        ("appContainers: [{env: [{name: A, value: x}, {name: A, value: z}]}]", &["the variable A is set twice"]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers().into_iter().chain(linter.app_containers()) {
        let mut seen: Vec<&str> = Vec::new();
        for variable in container.items("env") {
            let Some(name) = variable.text("name") else { continue };
            if seen.contains(&name) {
                linter.find(variable.span, format!("the variable {name} is set twice"));
            }
            seen.push(name);
        }
    }
}
