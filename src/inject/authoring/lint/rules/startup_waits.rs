//! Sidecars that the application waits for.

use crate::inject::authoring::lint::containers::name;
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::document::{Node, Value};
use crate::inject::template::words::{Mode, Position};

pub(super) const RULE: Rule = Rule {
    id: "startup-waits",
    severity: Severity::Warning,
    explanation: "A sidecar that starts before the application has a `startupProbe`. The application's containers \
        start only when the probe succeeds, so a sidecar that waits for the application blocks the pod forever. If \
        this order is intended, silence the rule and give the reason.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, livenessProbe: {exec: {command: ['true']}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, startupProbe: {exec: {command: ['true']}}}]",
            &["the application does not start until the startupProbe of a succeeds"],
        ),
        (
            "mode: container\n\
             sidecars: [{name: a, image: i, startupProbe: {exec: {command: ['true']}}}]",
            &[],
        ),
        ("sidecars: [{name: a, image: i, position: {after: app}, startupProbe: {exec: {command: ['true']}}}]", &[]),
        (
            "position: last\n\
             sidecars: [{name: a, image: i, position: first, startupProbe: {exec: {command: ['true']}}}]",
            &["the application does not start until the startupProbe of a succeeds"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.sidecars() {
        if let Some(probe) = container.get("startupProbe").filter(|_| goes_first(linter, container)) {
            let message =
                format!("the application does not start until the startupProbe of {} succeeds", name(container));
            linter.find(probe.span, message);
        }
    }
}

/// Returns true if the application's containers start after the sidecar.
fn goes_first(linter: &Linter<'_>, container: &Node) -> bool {
    let own = match container.get("position").map(|position| &position.value) {
        Some(Value::String(word)) => Some(word != "last"),
        Some(Value::Map(entries)) => Some(entries.iter().all(|(key, _)| key.name != "after")),
        _ => None,
    };
    let of_template = !matches!(linter.template.position, Some(Position::Last | Position::After(_)));
    linter.template.mode == Mode::Native && own.unwrap_or(of_template)
}
