//! What the containers of a template request together. Expressions count with the most that they can give.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::containers::together;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::document::yaml::{Node, Value};
use crate::inject::expr::Expression;
use crate::inject::kube::quantity::quantity;

pub(super) const RULE: Rule = Rule {
    id: "budget",
    severity: Severity::Error,
    explanation: "The containers of the template together may ask for more than --budget allows; where an expression \
        says how much, the maximum or enum of its parameter counts, else the largest quantity that is written in it. \
        What a sidecar requests is requested once for every pod, so small numbers become whole nodes. Lower the \
        requests, or raise the budget.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: i, resources: {requests: {cpu: 100m, memory: 128Mi}}}]", &[]),
        (
            "sidecars: [{name: a, image: i, resources: {requests: {cpu: 200m}}}]",
            &["its containers request 200m of cpu, the budget is 100m"],
        ),
        (
            "sidecars: [{name: a, image: i, resources: {limits: {memory: 1Gi}}}]",
            &["its containers request 1024Mi of memory, the budget is 128Mi"],
        ),
        // Containers that exclude each other do not add up.
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
            &["its containers request 140m of cpu, the budget is 100m"],
        ),
        // Parameters count with their maximum.
        (
            "parameters: {cpu: {type: quantity, maximum: 1}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: '${params.cpu}'}}}]",
            &["its containers request 1000m of cpu, the budget is 100m"],
        ),
        (
            "parameters: {cpu: {type: quantity, enum: [10m, 20m]}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: '${params.cpu}'}}}]",
            &[],
        ),
        (
            "parameters: {cpu: {type: quantity}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: '${params.cpu}'}}}]",
            &["nothing says how much this may become; give the parameter a maximum"],
        ),
        (
            "parameters: {m: {type: integer, maximum: 4096}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {memory: '${params.m}Mi'}}}]",
            &["its containers request 4096Mi of memory, the budget is 128Mi"],
        ),
        // Quantities in expressions count, the largest of them.
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: \"${params.x == 'a' ? '20m' : '200m'}\"}}}]",
            &["its containers request 200m of cpu, the budget is 100m"],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {cpu: \"${params.x == 'a' ? '20m' : '50m'}\"}}}]",
            &[],
        ),
        (
            "parameters: {x: {type: string}, q: {type: quantity, maximum: 4Gi}}\n\
             sidecars: [{name: a, image: i, resources: {requests: {memory: \"${params.x == 'l' ? params.q : '64Mi'}\"}}}]",
            &["its containers request 4096Mi of memory, the budget is 128Mi"],
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
            let message = "nothing says how much this may become; give the parameter a maximum";
            linter.find(container.span_of("resources"), message);
        }
        let weight = |container: &Node| {
            let at = containers.iter().position(|other| std::ptr::eq(*other, container));
            at.and_then(|at| requests[at]).unwrap_or(0)
        };
        let total: i128 = together(&containers, weight).into_iter().map(weight).sum();
        if total > *limit {
            let (total, limit) = (shown(resource, total), shown(resource, *limit));
            let message = format!("its containers request {total} of {resource}, the budget is {limit}");
            linter.find(linter.node.span, message);
        }
    }
}

fn shown(resource: &str, nano: i128) -> String {
    if resource == "cpu" { format!("{}m", nano / 1_000_000) } else { format!("{}Mi", nano / 1_000_000_000 / (1 << 20)) }
}

/// The most that a container may request of a resource; `None` where nothing bounds it.
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
    // Integers with a unit behind them.
    let pieces = text.pieces().map(|piece| match piece {
        Ok(text) => Some(text.to_owned()),
        Err(expression) => most(linter, expression, 4).map(|nano| (nano / 1_000_000_000).to_string()),
    });
    quantity(&pieces.collect::<Option<String>>()?)
}

/// The most that an expression gives: the maximum of its parameters, or the largest quantity written in it.
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
