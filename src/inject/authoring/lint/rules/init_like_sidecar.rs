//! Init containers that declare ports.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "init-like-sidecar",
    severity: Severity::Warning,
    explanation: "An init container declares ports. An init container must finish before the next container starts, so \
        it cannot serve anything; if it keeps running, the pod never becomes ready. Move a container that keeps \
        running to `sidecars`.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, ports: [{containerPort: 1}]}]", &[]),
        (
            "initContainers: [{name: a, image: i, ports: [{containerPort: 1}]}]",
            &["an init container declares ports, but it does not keep running"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.init_containers() {
        if let Some(ports) = container.get("ports") {
            linter.find(ports.span, "an init container declares ports, but it does not keep running");
        }
    }
}
