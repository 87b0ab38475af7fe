//! Templates whose pods a cluster refuses. A dry run reports them.

use crate::inject::authoring::lint::linter::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "refused-by-cluster",
    severity: Severity::Error,
    explanation: "With `--dry-run=server`, the cluster refuses a pod with the template that it accepts without the \
        template. The finding names what refuses it: validation, Pod Security, a LimitRange, a ResourceQuota, a \
        ValidatingAdmissionPolicy, a webhook or another admission plugin. Pods that request the template are refused in \
        the same way. Change the template, or choose another namespace with `--namespace`.",
    check: RuleCheck::DryRun,
    #[cfg(test)]
    cases: &[
        ("{code: 404, message: namespaces \"a\" not found}", &[]),
        (
            "{code: 403, message: 'pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot'}",
            &["Pod Security (restricted:latest) refuses 1 of 1 pods with a in the namespace shop: runAsNonRoot"],
        ),
    ],
};
