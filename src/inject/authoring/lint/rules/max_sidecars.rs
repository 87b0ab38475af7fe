//! The number of containers that a template adds.

use crate::inject::authoring::lint::containers::together;
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "max-sidecars",
    severity: Severity::Warning,
    explanation: "The template adds more containers than `--max-sidecars` allows. Each container costs memory, \
        start-up time and maintenance in every pod. Split the template or merge containers.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i}, {name: b, image: i}]", &[]),
        (
            "sidecars: [{name: a, image: i}, {name: b, image: i}]\n\
             initContainers: [{name: c, image: i}]",
            &["the template adds 3 containers, the limit is 2"],
        ),
        // Containers that exclude each other count as one.
        ("sidecars: [{name: a, image: i}, {name: b, image: i, if: 'true'}, {name: b, image: i, if: 'false'}]", &[]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let (count, limit) = (together(&linter.containers(), |_| 0).len(), linter.limits.max_sidecars);
    if count > limit {
        linter.find(linter.node.span, format!("the template adds {count} containers, the limit is {limit}"));
    }
}
