//! Versions of a template that are both the default.

use crate::inject::authoring::lint::linter::{Rule, RuleCheck};
use crate::inject::authoring::lint::rules::duplicate_version::findings;
use crate::inject::catalog::definitions::DuplicateKind;
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "duplicate-default",
    severity: Severity::Error,
    explanation: "Two versions of a template set `default: true`. The webhook uses the one in the older ConfigMap for \
        requests without a version; `inject` and `why` fail. Set `default: true` in one version only.",
    check: RuleCheck::Templates(|templates| findings(templates, DuplicateKind::Default, &RULE)),
    #[cfg(test)]
    cases: &[
        ("{version: '1', default: true}\n---\n{version: '2', default: false}\n---\n{name: b, default: true}\n", &[]),
        (
            "{version: '1', default: true}\n---\n{version: '2', default: true}\n",
            &["a@2 sets default: true, and so does a@1 of case"],
        ),
        // Only the first of two equal versions can be the default.
        ("{version: '1', default: true}\n---\n{version: '1', default: true}\n", &[]),
    ],
};
