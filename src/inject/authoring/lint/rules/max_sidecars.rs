//! How many containers a template adds.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::containers::together;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "max-sidecars",
    severity: Severity::Warning,
    explanation: "The template adds more containers than --max-sidecars. Each costs memory, start-up time and \
        somebody's attention in every pod. Split the template, or merge containers.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i}, {name: b, image: i}]", &[]),
        (
            "sidecars: [{name: a, image: i}, {name: b, image: i}]\n\
             initContainers: [{name: c, image: i}]",
            &["3 containers, and at most 2 are wanted"],
        ),
        // Containers that exclude each other count once.
        ("sidecars: [{name: a, image: i}, {name: b, image: i, if: 'true'}, {name: b, image: i, if: 'false'}]", &[]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let (count, most) = (together(&linter.containers(), |_| 0).len(), linter.limits.max_sidecars);
    if count > most {
        linter.find(linter.node.span, format!("{count} containers, and at most {most} are wanted"));
    }
}
