//! Sidecars that nothing watches.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::containers::{PROBES, name};
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "no-probe",
    severity: Severity::Warning,
    explanation: "A sidecar that keeps running has no probe. When it hangs nobody notices: the pod stays ready, and \
        its logs, tokens or proxy are silently gone. Add a livenessProbe or a readinessProbe.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, livenessProbe: {exec: {command: ['true']}}}]", &[]),
        ("sidecars: [{name: a, image: i}]", &["a has no probe"]),
        ("initContainers: [{name: a, image: i}]", &[]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.sidecars() {
        if PROBES.iter().all(|probe| container.get(probe).is_none()) {
            linter.find(container.span, format!("{} has no probe", name(container)));
        }
    }
}
