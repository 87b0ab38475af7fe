//! Init containers that look like sidecars.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "init-like-sidecar",
    severity: Severity::Warning,
    explanation: "An init container declares ports. It has to end before the next one starts, so nothing can be served \
        from it; if it keeps running, the pod never becomes ready. A container that keeps running goes under sidecars.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, ports: [{containerPort: 1}]}]", &[]),
        (
            "initContainers: [{name: a, image: i, ports: [{containerPort: 1}]}]",
            &["an init container that declares ports does not keep running"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.init_containers() {
        if let Some(ports) = container.get("ports") {
            linter.find(ports.span, "an init container that declares ports does not keep running");
        }
    }
}
