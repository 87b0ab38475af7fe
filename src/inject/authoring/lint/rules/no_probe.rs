//! Sidecars without a probe.

use crate::inject::authoring::lint::containers::{PROBES, name};
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "no-probe",
    severity: Severity::Warning,
    explanation: "A sidecar has no probe. If it hangs, no one notices: the pod stays ready while its logs, tokens or \
        proxy silently stop working. Add a `livenessProbe` or a `readinessProbe`.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, livenessProbe: {exec: {command: ['true']}}}]", &[]),
        ("sidecars: [{name: a, image: i}]", &["the sidecar a has no probe"]),
        ("initContainers: [{name: a, image: i}]", &[]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.sidecars() {
        if PROBES.iter().all(|probe| container.get(probe).is_none()) {
            linter.find(container.span, format!("the sidecar {} has no probe", name(container)));
        }
    }
}
