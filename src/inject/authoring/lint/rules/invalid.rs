//! Templates that cannot be loaded. Loading reports them; `Linter::silenced` reports errors in `lint`.

use crate::inject::authoring::lint::linter::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "invalid",
    severity: Severity::Error,
    explanation: "The template cannot be loaded: it is not valid YAML, it has an unknown key, a value has the wrong \
        type, or an expression is invalid. Pods that request it are denied or get its last valid version. The rule \
        also reports unknown rules and missing reasons in `lint`.",
    check: RuleCheck::Loading,
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i}]", &[]),
        ("sidecar: []", &[r#"unknown key "sidecar""#]),
        ("lint: {image-tag: the mirror pins it}", &[]),
        ("lint: {image-tag: ''}", &["lint.image-tag needs a reason"]),
        // One error each: an item of the wrong type is not empty too.
        ("sidecars: [5]", &["sidecars[0] must be a map, not an integer"]),
        ("volumes: [x]", &["volumes[0] must be a map, not a string"]),
        ("imagePullSecrets: [null]", &["imagePullSecrets[0] is empty"]),
        ("lint: {image-tags: x}", &[r#"there is no rule "image-tags", did you mean "image-tag"?"#]),
        // Expressions that read nothing are constants.
        (
            "sidecars: [{name: a, image: i, ports: [{containerPort: '${80 * 1010}'}]}]",
            &["sidecars[0].ports[0].containerPort must be 1 to 65535, not 80800"],
        ),
        (
            "sidecars: [{name: a, image: i, imagePullPolicy: \"${'always'}\"}]",
            &["imagePullPolicy must be one of Always, IfNotPresent, Never, not \"always\""],
        ),
        (
            "sidecars: [{name: a, image: i, env: \"${[{'nam': 'A', 'value': 'x'}]}\"}]",
            &["sidecars[0].env[0] has no name"],
        ),
        ("sidecars: [{name: a, image: i, args: ['x-${1 / 0}']}]", &["division by zero"]),
        ("lint: {invalid: x}", &["the rule invalid cannot be silenced"]),
    ],
};
