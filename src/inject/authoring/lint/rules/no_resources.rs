//! Containers without requests or without a memory limit.

use crate::inject::authoring::lint::containers::name;
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::document::{Node, Value};

pub(super) const RULE: Rule = Rule {
    id: "no-resources",
    severity: Severity::Warning,
    explanation: "A container has no CPU or memory request, or no memory limit. The scheduler reserves nothing for it, \
        a LimitRange can set any values, and a namespace with a ResourceQuota rejects its pods. Set CPU and memory \
        requests and a memory limit.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, resources: {requests: {cpu: 10m}, limits: {memory: 32Mi}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, resources: {requests: {cpu: 10m, memory: 32Mi}}}]",
            &["the container a has no limits.memory"],
        ),
        (
            "initContainers: [{name: a, image: i}]",
            &["the container a has no requests.cpu, no requests.memory, no limits.memory"],
        ),
        (
            "parameters: {r: {type: map}}\n\
             sidecars: [{name: a, image: i, resources: {requests: '${params.r}'}}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers() {
        let missing = missing(container);
        if !missing.is_empty() {
            let message = format!("the container {} has no {}", name(container), missing.join(", no "));
            linter.find(container.span_of("resources"), message);
        }
    }
}

/// The required resources that are missing, such as `limits.memory`; none where an expression sets them.
fn missing(container: &Node) -> Vec<String> {
    let resources = container.get("resources");
    let is_expression = |node: &Node| matches!(&node.value, Value::String(_));
    let parts = ["requests", "limits"].map(|part| resources.and_then(|resources| resources.get(part)));
    if resources.into_iter().chain(parts.into_iter().flatten()).any(is_expression) {
        return Vec::new();
    }
    let has = |kind: &str, name: &str| resources.and_then(|r| r.get(kind)).is_some_and(|kind| kind.get(name).is_some());
    let wanted = [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")];
    // The API server sets a missing request to the limit.
    let missing = wanted.iter().filter(|(kind, name)| !(has(kind, name) || *kind == "requests" && has("limits", name)));
    missing.map(|(kind, name)| format!("{kind}.{name}")).collect()
}
