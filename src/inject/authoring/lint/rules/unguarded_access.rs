//! Members of the pod that many pods lack, read directly.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "unguarded-access",
    severity: Severity::Warning,
    explanation: "An expression reads a member of the pod that many pods do not have. For those the template is \
        refused, or left out, with ExpressionFailed. Use label(key, default), annotation(key, default), get(object, \
        path, default) or has(…).",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            r#"sidecars: [{name: a, image: i, args: ["${has(object.spec.hostNetwork) ? 'h' : 'p'}", '${object.spec.containers[0].name}', "${label('a', 'b')}"]}]"#,
            &[],
        ),
        (
            "sidecars: [{name: a, image: i, args: ['${object.metadata.labels.app}']}]",
            &["many pods have no metadata.labels.app"],
        ),
        (
            r#"sidecars: [{name: a, image: i, args: ["${has(object.metadata.labels) ? object.metadata.labels.app : 'none'}"]}]"#,
            &["many pods have no metadata.labels.app"],
        ),
        (
            "sidecars: [{name: a, image: i, args: ['${string(object.spec.containers[0].livenessProbe.httpGet.path)}']}]",
            &["many pods have no spec.containers[].livenessProbe.httpGet.path"],
        ),
        ("sidecars: [{name: a, image: i, if: object.spec.hostNetwork}]", &["many pods have no spec.hostNetwork"]),
        ("sidecars: [{name: a, image: i, if: has(object.spec.hostNetwork) && object.spec.hostNetwork}]", &[]),
        ("sidecars: [{name: a, image: i, if: has(object.spec.os.name)}]", &["many pods have no spec.os"]),
        (
            r#"sidecars: [{name: a, image: i, if: "has(object.metadata.labels) && 'a' in object.metadata.labels && object.metadata.labels.a == 'b'"}]"#,
            &[],
        ),
        // A condition guards everything that it decides on.
        (
            "sidecars: [{name: a, image: i, if: has(object.spec.hostNetwork), args: ['${string(object.spec.hostNetwork)}']}]",
            &[],
        ),
        ("variables: [{name: v, expression: object.spec.hostNetwork}]", &["many pods have no spec.hostNetwork"]),
        (
            "appContainers: [{if: container.livenessProbe.httpGet.port == 80, env: [{name: A, value: b}]}]",
            &["many pods have no livenessProbe.httpGet.port"],
        ),
        ("appContainers: [{if: container.name == 'x', env: [{name: A, value: b}]}]", &[]),
        (r#"description: "Reads ${object.metadata.labels.app}""#, &[]),
    ],
};

/// Required by the API, or filled in by the API server before any webhook sees the pod.
const ALWAYS: [&[&str]; 15] = [
    &["object", "metadata", "namespace"],
    &["object", "spec", "containers", "[]", "name"],
    &["object", "spec", "containers", "[]", "image"],
    &["object", "spec", "containers", "[]", "resources"],
    &["object", "spec", "containers", "[]", "imagePullPolicy"],
    &["object", "spec", "restartPolicy"],
    &["object", "spec", "dnsPolicy"],
    &["object", "spec", "serviceAccountName"],
    &["object", "spec", "schedulerName"],
    &["object", "spec", "terminationGracePeriodSeconds"],
    &["object", "spec", "enableServiceLinks"],
    &["object", "spec", "securityContext"],
    &["container", "name"],
    &["container", "image"],
    &["container", "resources"],
];

fn check(linter: &mut Linter<'_>) {
    let mut found = Vec::new();
    linter.visit_expressions(|node, reads| {
        let path = reads.unguarded().find(|path| !is_always_there(path));
        let path = path.map(|path| path[1..].join(".").replace(".[]", "[]"));
        found.extend(path.map(|path| (node.span, path)));
    });
    for (span, path) in found {
        linter.find(span, format!("many pods have no {path}"));
    }
}

fn is_always_there(path: &[String]) -> bool {
    ALWAYS.iter().any(|known| path.len() <= known.len() && known.iter().zip(path).all(|(a, b)| a == b))
}
