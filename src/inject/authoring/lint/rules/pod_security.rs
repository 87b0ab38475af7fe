//! Templates that a level of the Pod Security Standards does not allow. Expressions are ignored.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "pod-security",
    severity: Severity::Warning,
    explanation: "Namespaces that enforce the Pod Security Standards level of `--pod-security` (default: baseline) \
        reject every pod with this template. The finding states the reason. Harden the container; the level restricted \
        requires `runAsNonRoot`, `allowPrivilegeEscalation: false`, `capabilities: {drop: [ALL]}` and `seccompProfile: \
        {type: RuntimeDefault}`. Values from expressions are not checked.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i}]", &[]),
        ("sidecars: [{name: a, image: i, securityContext: {privileged: true}}]", &["the container a is privileged"]),
        (
            "sidecars: [{name: a, image: i, ports: [{containerPort: 1, hostPort: 2}]}]",
            &["the container a uses port 2 of the node"],
        ),
        (
            "metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/s: unconfined}}",
            &["the AppArmor annotation"],
        ),
        ("sidecars: [{name: a, image: i, readinessProbe: {httpGet: {host: '', port: 1}}}]", &[]),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, securityContext: {capabilities: {add: ['${params.x}']}}}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let level = linter.limits.pod_security;
    if let Some(why) = linter.template.beyond(level) {
        let message = format!("namespaces that enforce the level {} reject its pods: {why}", level.as_str());
        linter.find(linter.node.span, message);
    }
}
