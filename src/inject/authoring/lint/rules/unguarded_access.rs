//! Fields of the pod that many pods do not have, read without a guard.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::kube::{defaults, schema};

pub(super) const RULE: Rule = Rule {
    id: "unguarded-access",
    severity: Severity::Warning,
    explanation: "An expression reads a field of the pod that many pods do not have. For such a pod the expression \
        fails: the pod is denied, or the template is left out, with the reason `ExpressionFailed`. Use `label(key, \
        default)`, `annotation(key, default)`, `get(object, path, default)` or `has(…)`.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (r#"sidecars: [{name: a, image: i, args: ["${has(object.spec.hostNetwork) ? 'h' : 'p'}"]}]"#, &[]),
        ("sidecars: [{name: a, image: i, args: ['${object.spec.containers[0].name}']}]", &[]),
        (r#"sidecars: [{name: a, image: i, args: ["${label('a', 'b')}"]}]"#, &[]),
        (
            "sidecars: [{name: a, image: i, args: ['${object.metadata.labels.app}']}]",
            &["many pods have no metadata.labels.app"],
        ),
        (
            "sidecars:\n\
             - {name: a, image: i, args: [\"${has(object.metadata.labels) ? object.metadata.labels.app : 'none'}\"]}",
            &["many pods have no metadata.labels.app"],
        ),
        (
            "sidecars: [{name: a, image: i, args: ['${object.spec.containers[0].livenessProbe.httpGet.path}']}]",
            &["many pods have no spec.containers[].livenessProbe.httpGet.path"],
        ),
        ("sidecars: [{name: a, image: i, if: object.spec.hostNetwork}]", &["many pods have no spec.hostNetwork"]),
        ("sidecars: [{name: a, image: i, if: has(object.spec.hostNetwork) && object.spec.hostNetwork}]", &[]),
        ("sidecars: [{name: a, image: i, if: has(object.spec.os.name)}]", &["many pods have no spec.os"]),
        (
            "variables:\n\
             - name: x\n  \
               expression: >-\n    \
                 has(object.metadata.labels) && 'a' in object.metadata.labels && object.metadata.labels.a == 'b'",
            &[],
        ),
        // A condition guards its whole container.
        (
            "sidecars:\n\
             - {name: a, image: i, if: has(object.spec.hostNetwork), args: ['${string(object.spec.hostNetwork)}']}",
            &[],
        ),
        ("variables: [{name: v, expression: object.spec.hostNetwork}]", &["many pods have no spec.hostNetwork"]),
        (
            "appContainers: [{if: container.livenessProbe.httpGet.port == 80, env: [{name: A, value: b}]}]",
            &["many pods have no livenessProbe.httpGet.port"],
        ),
        ("variables: [{name: v, expression: object.spec.newField}]", &[]),
        ("appContainers: [{if: container.name == 'x', env: [{name: A, value: b}]}]", &[]),
        (r#"description: "Reads ${object.metadata.labels.app}""#, &[]),
    ],
};

/// Fields that the API requires, and the namespace, which the API server sets.
const REQUIRED: [&[&str]; 5] = [
    &["object", "metadata", "namespace"],
    &["object", "spec", "containers", "[]", "name"],
    &["object", "spec", "containers", "[]", "image"],
    &["container", "name"],
    &["container", "image"],
];

fn check(linter: &mut Linter<'_>) {
    let mut found = Vec::new();
    linter.visit_expressions(|node, reads| {
        // Loading reports unknown fields.
        let path = reads.unguarded().find(|path| !is_always_set(path) && schema::knows(path));
        let path = path.map(|path| path[1..].join(".").replace(".[]", "[]"));
        found.extend(path.map(|path| (node.span, path)));
    });
    for (span, path) in found {
        linter.find(span, format!("many pods have no {path}"));
    }
}

/// Returns true if the field is required, leads to a required field, or has a default, which the API server sets before
/// it calls webhooks.
fn is_always_set(path: &[String]) -> bool {
    let leads_to = |known: &&[&str]| path.len() <= known.len() && known.iter().zip(path).all(|(a, b)| a == b);
    let steps: Vec<&str> = path.iter().map(String::as_str).collect();
    REQUIRED.iter().any(leads_to)
        || match steps[..] {
            ["object", "spec", field] => defaults::of_spec(field).is_some(),
            ["object", "spec", "containers", "[]", field] | ["container", field] => {
                defaults::of_container("").get(field).is_some()
            }
            _ => false,
        }
}
