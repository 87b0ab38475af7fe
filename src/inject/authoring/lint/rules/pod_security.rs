//! What keeps a template out of namespaces that enforce a level of the Pod Security Standards. Expressions are left aside.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "pod-security",
    severity: Severity::Warning,
    explanation: "A namespace that enforces the level of the Pod Security Standards named with --pod-security \
        (baseline unless said) refuses every pod with this template; the finding says why. Harden the container: for \
        restricted that is runAsNonRoot, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]} and \
        seccompProfile: {type: RuntimeDefault}. What expressions give is not looked at.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i}]", &[]),
        ("sidecars: [{name: a, image: i, securityContext: {privileged: true}}]", &["the container a is privileged"]),
        (
            "sidecars: [{name: a, image: i, ports: [{containerPort: 1, hostPort: 2}]}]",
            &["the container a takes port 2 of the node"],
        ),
        (
            "metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/s: unconfined}}",
            &["the annotation for AppArmor"],
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
        let message = format!("namespaces that enforce the level {} refuse its pods: {why}", level.as_str());
        linter.find(linter.node.span, message);
    }
}
