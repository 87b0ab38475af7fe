//! Probes that connect to the node instead of the pod.

use crate::inject::authoring::lint::containers::{PROBES, name};
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "probe-host",
    severity: Severity::Warning,
    explanation: "A probe connects to 127.0.0.1, ::1 or localhost. The kubelet runs probes from the node, so this \
        address is the node itself: the probe fails, or reaches another process. Remove `host`; the default is the \
        pod's IP address.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, readinessProbe: {httpGet: {port: 1}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, readinessProbe: {httpGet: {host: 127.0.0.1, port: 1}}}]",
            &["the readinessProbe of a connects to the node, not to the pod"],
        ),
        (
            "sidecars: [{name: a, image: i, livenessProbe: {tcpSocket: {host: localhost, port: 1}}}]",
            &["the livenessProbe of a connects to the node, not to the pod"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers() {
        for probe in PROBES {
            for action in ["httpGet", "tcpSocket"] {
                let Some(action) = container.get(probe).and_then(|probe| probe.get(action)) else { continue };
                if matches!(action.text("host"), Some("127.0.0.1" | "localhost" | "::1")) {
                    let message = format!("the {probe} of {} connects to the node, not to the pod", name(container));
                    linter.find(action.span_of("host"), message);
                }
            }
        }
    }
}
