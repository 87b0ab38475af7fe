//! Ports of the pod or of its node that two containers use.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use std::collections::BTreeMap;

use crate::inject::authoring::lint::containers::{exclude_each_other, name};
use crate::inject::diagnostic::Severity;
use crate::inject::document::Node;

pub(super) const RULE: Rule = Rule {
    id: "port-clash",
    severity: Severity::Warning,
    explanation: "Two containers of the template declare the same port of the pod or of the node. If both run, one of \
        them cannot listen. Change one of the ports, unless conditions prevent that both run.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            "sidecars:\n\
             - {name: a, image: i, ports: [{containerPort: 1}]}\n\
             - {name: b, image: i, ports: [{containerPort: 2}, {containerPort: 1, protocol: UDP}]}",
            &[],
        ),
        (
            "sidecars:\n\
             - {name: a, image: i, ports: [{containerPort: 1}]}\n\
             - {name: b, image: i, ports: [{containerPort: 1}]}",
            &["b and a both use port 1"],
        ),
        (
            "sidecars:\n\
             - {name: a, image: i, ports: [{containerPort: 1, hostPort: 8080}, {containerPort: 2}]}\n\
             - {name: b, image: i, ports: [{containerPort: 3, hostPort: 8080}]}",
            &["b and a both use port 8080 of the node"],
        ),
        (
            "sidecars:\n\
             - {name: a, image: i, if: 'true', ports: [{containerPort: 1}]}\n\
             - {name: a, image: i, if: 'false', ports: [{containerPort: 1}]}",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let mut seen: BTreeMap<(bool, i64, &str), &Node> = BTreeMap::new();
    for container in linter.sidecars() {
        let mut own = Vec::new();
        for port in container.items("ports") {
            let protocol = port.text("protocol").unwrap_or("TCP");
            for (on_node, field) in [(false, "containerPort"), (true, "hostPort")] {
                let Some(number) = port.integer(field).filter(|number| *number > 0) else { continue };
                let key = (on_node, number, protocol);
                let other = seen.get(&key).copied().filter(|other| !exclude_each_other(other, container));
                if let Some(other) = other {
                    let whose = if on_node { " of the node" } else { "" };
                    let message = format!("{} and {} both use port {number}{whose}", name(container), name(other));
                    linter.find(port.span, message);
                }
                own.push(key);
            }
        }
        seen.extend(own.into_iter().map(|key| (key, container)));
    }
}
