//! Fields and words that need a version of Kubernetes, or a feature gate. Loading reports them.

use crate::inject::authoring::lint::linter::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "needs-version",
    severity: Severity::Warning,
    explanation: "An API server of an older version, or without a feature gate, drops the field or rejects pods with \
        it. Set `--kubernetes` to the oldest version of your clusters, such as 1.34. What this version is known to \
        reject is then an error of the rule `invalid`, and what it accepts is not reported. For several versions, use \
        `if: cluster.minor >= 35`.",
    check: RuleCheck::Loading,
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, lifecycle: {preStop: {sleep: {seconds: 1}}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, lifecycle: {stopSignal: SIGUSR1}}]",
            &["lifecycle.stopSignal has an effect only with the feature gate ContainerStopSignals"],
        ),
        (
            "{volumes: [{name: v, image: {reference: 'i:1'}}], sidecars: [{name: a, image: i, volumeMounts: [{name: v, \
             mountPath: /v}]}]}",
            &["volumes[0].image needs Kubernetes 1.35 or later"],
        ),
    ],
};
