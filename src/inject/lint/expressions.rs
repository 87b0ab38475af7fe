//! Rules about parameters and expressions.

use super::{Linter, items, span_of, text};
use crate::inject::yaml::{Node, Value};

pub(super) fn check(linter: &mut Linter<'_>) {
    let node = linter.node;
    let containers = || items(node, "sidecars").iter().chain(items(node, "initContainers"));
    for container in containers() {
        shell(linter, container);
        image(linter, container);
    }
    parameters(linter);
    unguarded(linter);
}

fn strings<'n>(node: &'n Node, key: &str) -> Vec<(&'n Node, &'n str)> {
    let string = |item: &'n Node| match &item.value {
        Value::String(text) => Some((item, text.as_str())),
        _ => None,
    };
    items(node, key).iter().filter_map(string).collect()
}

/// Expressions in the text of `sh -c`.
fn shell(linter: &mut Linter<'_>, container: &Node) {
    let mut words = strings(container, "command");
    words.extend(strings(container, "args"));
    let is_shell = |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh"));
    let Some(shell) = words.iter().position(|(_, word)| is_shell(word)) else { return };
    let Some(flag) = words.iter().skip(shell).position(|(_, word)| word.starts_with('-') && word.contains('c')) else {
        return;
    };
    let Some((node, script)) = words.get(shell + flag + 1) else { return };
    let mut rest = script.replace("$${", "");
    while let Some(at) = rest.find("${") {
        let inside = rest[at + 2..].trim_start().to_owned();
        if !inside.starts_with("shellQuote(") {
            linter.find("shell-expression", node.span, "an expression in a shell command without shellQuote");
            return;
        }
        rest = inside;
    }
}

/// Images that a pod's author can choose freely.
fn image(linter: &mut Linter<'_>, container: &Node) {
    let Some(image) = text(container, "image") else { return };
    let free = |name: &str| linter.template.parameters.iter().any(|p| p.name == name && p.is_free());
    let named =
        image.split("params.").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or(""));
    if let Some(name) = named.into_iter().find(|name| free(name)) {
        let message = format!("the free parameter {name} sets the image");
        linter.find("free-image", span_of(container, "image"), message);
    }
}

fn parameters(linter: &mut Linter<'_>) {
    let Some(Value::Map(entries)) = linter.node.get("parameters").map(|node| &node.value) else { return };
    for (key, declared) in entries {
        if let Some(pattern) = text(declared, "pattern")
            && !(pattern.starts_with('^') && pattern.ends_with('$'))
            && !pattern.starts_with("(?")
        {
            let message = format!("the pattern of {} matches anywhere in a value", key.name);
            linter.find("unanchored-pattern", span_of(declared, "pattern"), message);
        }
        if !linter.template.reads().parameters.contains(&key.name) {
            linter.find("unused-parameter", key.span, format!("no expression reads params.{}", key.name));
        }
    }
}

/// Members of the pod that many pods lack, read directly.
fn unguarded(linter: &mut Linter<'_>) {
    // Required by the API, or filled in by the API server before any webhook sees the pod.
    const ALWAYS: [&[&str]; 8] = [
        &["metadata", "namespace"],
        &["spec", "containers"],
        &["spec", "restartPolicy"],
        &["spec", "dnsPolicy"],
        &["spec", "serviceAccountName"],
        &["spec", "schedulerName"],
        &["spec", "terminationGracePeriodSeconds"],
        &["spec", "securityContext"],
    ];
    let mut found = Vec::new();
    visit(linter.node, &mut |node, text| {
        for expression in text.split("${").skip(1) {
            for access in expression.split("object.").skip(1) {
                let end =
                    access.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(access.len());
                let path: Vec<&str> = access[..end].split('.').filter(|step| !step.is_empty()).collect();
                let always = ALWAYS.iter().any(|known| path.starts_with(known) && path.len() <= known.len() + 1);
                let guarded = expression.contains("has(object.") || expression.contains(" in object.");
                if path.len() > 1 && !always && !guarded {
                    found.push((node.span, path.join(".")));
                }
            }
        }
    });
    for (span, path) in found {
        linter.find("unguarded-access", span, format!("many pods have no {path}"));
    }
}

/// Calls `look` with every string of the document.
fn visit<'n>(node: &'n Node, look: &mut impl FnMut(&'n Node, &'n str)) {
    match &node.value {
        Value::String(text) => look(node, text),
        Value::List(items) => items.iter().for_each(|item| visit(item, look)),
        Value::Map(entries) => entries.iter().for_each(|(_, value)| visit(value, look)),
        _ => {}
    }
}
