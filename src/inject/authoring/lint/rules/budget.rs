//! The requests of a template's containers. An expression counts with the largest amount that it can return.

use crate::inject::authoring::lint::containers::together;
use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::document::{Node, Value};
use crate::inject::expr::{Expression, Part};
use crate::inject::kube::quantity::quantity;

pub(super) const RULE: Rule = Rule {
    id: "budget",
    severity: Severity::Error,
    explanation: "The containers of the template can together request more than `--budget` allows. Every pod with the \
        template makes these requests, so small amounts add up to whole nodes. Where an expression sets the amount, \
        the largest of these counts: the maximum or the enum values of its parameters, and the quantities written in \
        it. Lower the requests or raise the budget.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, resources: {requests: {cpu: 100m, memory: 128Mi}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, resources: {requests: {cpu: 200m}}}]",
            &["the containers together request 200m of cpu, the budget is 100m"],
        ),
        (
            "sidecars: [{name: a, image: i, resources: {limits: {memory: 1Gi}}}]",
            &["the containers together request 1024Mi of memory, the budget is 128Mi"],
        ),
        // Of containers that exclude each other, only the largest counts.
        (
            "sidecars:\n\
             - {name: a, image: i, if: 'true', resources: {requests: {cpu: 60m}}}\n\
             - {name: a, image: i, if: 'false', resources: {requests: {cpu: 80m}}}",
            &[],
        ),
        (
            "sidecars:\n\
             - {name: a, image: i, resources: {requests: {cpu: 60m}}}\n\
             - {name: b, image: i, resources: {requests: {cpu: 80m}}}",
            &["the containers together request 140m of cpu, the budget is 100m"],
        ),
        // Parameters count with their maximum.
        (
            "parameters: {cpu: {type: quantity, maximum: 1}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: '${params.cpu}'}}}]",
            &["the containers together request 1000m of cpu, the budget is 100m"],
        ),
        (
            "parameters: {cpu: {type: quantity, enum: [10m, 20m]}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: '${params.cpu}'}}}]",
            &[],
        ),
        (
            "parameters: {cpu: {type: quantity}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: '${params.cpu}'}}}]",
            &["this amount has no upper limit; set a maximum on the parameter"],
        ),
        (
            "parameters: {m: {type: integer, maximum: 4096}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {memory: '${params.m}Mi'}}}]",
            &["the containers together request 4096Mi of memory, the budget is 128Mi"],
        ),
        // The largest quantity in an expression counts.
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: \"${params.x == 'a' ? '20m' : '200m'}\"}}}]",
            &["the containers together request 200m of cpu, the budget is 100m"],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: \"${params.x == 'a' ? '20m' : '50m'}\"}}}]",
            &[],
        ),
        (
            "parameters: {x: {type: string}, q: {type: quantity, maximum: 4Gi}}\n\
             sidecars:\n\
             - {name: a, image: i, resources: {requests: {memory: \"${params.x == 'l' ? params.q : '64Mi'}\"}}}",
            &["the containers together request 4096Mi of memory, the budget is 128Mi"],
        ),
        (
            "variables: [{name: r, expression: \"'64Mi'\"}]\n\
             sidecars: [{name: a, image: i, resources: {requests: {memory: '${variables.r}'}}}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let containers = linter.containers();
    for (resource, limit) in &linter.limits.budget {
        let requests: Vec<Option<i128>> =
            containers.iter().map(|container| request(linter, container, resource)).collect();
        for (container, _) in containers.iter().zip(&requests).filter(|(_, request)| request.is_none()) {
            let message = "this amount has no upper limit; set a maximum on the parameter";
            linter.find(container.span_of("resources"), message);
        }
        let weight = |container: &Node| {
            let at = containers.iter().position(|other| std::ptr::eq(*other, container));
            at.and_then(|at| requests[at]).unwrap_or(0)
        };
        let total: i128 = together(&containers, weight).into_iter().map(weight).sum();
        if total > *limit {
            let (total, limit) = (shown(resource, total), shown(resource, *limit));
            let message = format!("the containers together request {total} of {resource}, the budget is {limit}");
            linter.find(linter.node.span, message);
        }
    }
}

fn shown(resource: &str, nano: i128) -> String {
    if resource == "cpu" { format!("{}m", nano / 1_000_000) } else { format!("{}Mi", nano / 1_000_000_000 / (1 << 20)) }
}

/// The largest request of a container for `resource`, in 10^-9 units; `None` if it has no upper limit.
fn request(linter: &Linter<'_>, container: &Node, resource: &str) -> Option<i128> {
    let Some(resources) = container.get("resources") else { return Some(0) };
    let node = ["requests", "limits"].iter().find_map(|part| {
        let part = resources.get(part)?;
        if matches!(part.value, Value::String(_)) { Some(part) } else { part.get(resource) }
    });
    let whole = matches!(resources.value, Value::String(_)).then_some(resources);
    let Some(node) = whole.or(node) else { return Some(0) };
    let written = match &node.value {
        Value::String(text) => text.as_str(),
        _ => node.written.as_deref()?,
    };
    let Some(text) = linter.compiled(written) else { return quantity(written) };
    if whole.is_some() || matches!(&node.value, Value::Map(_)) {
        return None;
    }
    if text.is_whole() {
        return text.expressions().next().and_then(|expression| most(linter, expression, 4));
    }
    // An integer, followed by its unit.
    let parts = text.parts().iter().map(|part| match part {
        Part::Literal(text) => Some(text.clone()),
        Part::Expression(expression) => most(linter, expression, 4).map(|nano| (nano / 1_000_000_000).to_string()),
    });
    quantity(&parts.collect::<Option<String>>()?)
}

/// The largest amount that an expression can return, in 10^-9 units: the maximum of its parameters, or the largest
/// quantity in it.
fn most(linter: &Linter<'_>, expression: &Expression, depth: usize) -> Option<i128> {
    let mut found = Vec::new();
    for name in &expression.reads.parameters {
        let parameter = linter.template.parameters.iter().find(|parameter| parameter.name == *name)?;
        if parameter.is_amount() {
            found.push(parameter.most()?);
        }
    }
    for name in &expression.reads.variables {
        let variable = linter.template.variables().iter().find(|(other, _)| other == name);
        let (_, variable) = variable.filter(|_| depth > 0)?;
        found.extend(most(linter, variable, depth - 1));
    }
    found.extend(expression.source().split(['\'', '"']).skip(1).step_by(2).filter_map(quantity));
    found.into_iter().max()
}
