//! Rules about parameters and expressions.

use super::{Linter, items, span_of, text};
use crate::inject::expr::{self, Compiled, Expression, Names, Text};
use crate::inject::yaml::{Node, Value};

pub(super) fn check(linter: &mut Linter<'_>) {
    let node = linter.node;
    for container in items(node, "sidecars").iter().chain(items(node, "initContainers")) {
        for words in commands(container) {
            shell(linter, &words);
        }
        image(linter, container);
    }
    parameters(linter);
    unguarded(linter);
}

impl Linter<'_> {
    /// Calls `look` with what expressions of this template may name.
    fn with_names<T>(&self, look: impl FnOnce(&Names<'_>) -> T) -> T {
        let parameters: Vec<(&str, bool)> =
            self.template.parameters.iter().map(|p| (p.name.as_str(), p.is_map())).collect();
        let variables: Vec<String> = self.template.variables().iter().map(|(name, _)| name.clone()).collect();
        look(&Names { parameters: &parameters, variables: &variables, container: true })
    }

    /// A string of the template, if there are expressions in it.
    pub(super) fn compiled(&self, text: &str) -> Option<Text> {
        match self.with_names(|names| expr::compile(text, names)) {
            Ok(Compiled::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// The texts of the commands that a container runs: its own, and those of its probes and hooks.
fn commands(container: &Node) -> Vec<Vec<(&Node, &str)>> {
    let mut own = strings(container, "command");
    own.extend(strings(container, "args"));
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.get(probe));
    let lifecycle = container.get("lifecycle");
    let hooks = ["postStart", "preStop"].map(|hook| lifecycle.and_then(|lifecycle| lifecycle.get(hook)));
    let handlers = probes.into_iter().chain(hooks).flatten();
    let others = handlers.filter_map(|handler| Some(strings(handler.get("exec")?, "command")));
    std::iter::once(own).chain(others).collect()
}

fn strings<'n>(node: &'n Node, key: &str) -> Vec<(&'n Node, &'n str)> {
    let string = |item: &'n Node| match &item.value {
        Value::String(text) => Some((item, text.as_str())),
        _ => None,
    };
    items(node, key).iter().filter_map(string).collect()
}

/// Expressions in the text of `sh -c`.
fn shell(linter: &mut Linter<'_>, words: &[(&Node, &str)]) {
    let is_shell = |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh"));
    let Some(shell) = words.iter().position(|(_, word)| is_shell(word)) else { return };
    let Some(flag) = words.iter().skip(shell).position(|(_, word)| word.starts_with('-') && word.contains('c')) else {
        return;
    };
    let Some((node, script)) = words.get(shell + flag + 1) else { return };
    let Some(script) = linter.compiled(script) else { return };
    let mut quote = Quote::None;
    for piece in script.pieces() {
        match piece {
            Ok(text) => quote = quote.behind(text),
            Err(expression) if !expression.is_call_of("shellQuote") => {
                let message = "an expression in a shell command without shellQuote";
                return linter.find("shell-expression", node.span, message);
            }
            Err(_) if quote != Quote::None => {
                let message = "shellQuote brings quotes of its own, so it may not stand inside quotes";
                return linter.find("shell-expression", node.span, message);
            }
            Err(_) => {}
        }
    }
}

/// Inside which quotes of a shell a place is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

impl Quote {
    /// Where the end of `text` is, given where it begins.
    fn behind(mut self, text: &str) -> Self {
        let mut escaped = false;
        for c in text.chars() {
            let was_escaped = std::mem::take(&mut escaped);
            self = match (self, c) {
                (Self::None, '\'') => Self::Single,
                (Self::None, '"') if !was_escaped => Self::Double,
                (Self::Single, '\'') => Self::None,
                (Self::Double, '"') if !was_escaped => Self::None,
                (quote, c) => {
                    escaped = c == '\\' && quote != Self::Single && !was_escaped;
                    quote
                }
            };
        }
        self
    }
}

/// Images that a pod's author can choose freely, also by way of variables.
fn image(linter: &mut Linter<'_>, container: &Node) {
    let Some(image) = text(container, "image").and_then(|image| linter.compiled(image)) else { return };
    let mut reads = crate::inject::expr::Reads::default();
    image.expressions().for_each(|expression| reads.merge(&expression.reads));
    for (name, expression) in linter.template.variables().iter().rev() {
        if reads.variables.contains(name) {
            reads.merge(&expression.reads);
        }
    }
    let free = |name: &&String| linter.template.parameters.iter().any(|p| p.name == **name && p.is_free());
    if let Some(name) = reads.parameters.iter().find(free) {
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
    const ALWAYS: [&[&str]; 9] = [
        &["metadata", "namespace"],
        &["spec", "containers"],
        &["spec", "restartPolicy"],
        &["spec", "dnsPolicy"],
        &["spec", "serviceAccountName"],
        &["spec", "schedulerName"],
        &["spec", "terminationGracePeriodSeconds"],
        &["spec", "enableServiceLinks"],
        &["spec", "securityContext"],
    ];
    let mut found = Vec::new();
    linter.with_names(|names| {
        visit(linter.node, names, &mut |node, expression| {
            let always = |path: &[String]| {
                ALWAYS.iter().any(|known| path.len() <= known.len() && known.iter().zip(path).all(|(a, b)| a == b))
            };
            let path = expression.reads.unguarded().find(|path| !always(path)).map(|path| path.join("."));
            found.extend(path.map(|path| (node.span, path)));
        });
    });
    for (span, path) in found {
        linter.find("unguarded-access", span, format!("many pods have no {path}"));
    }
}

/// Calls `look` with every expression of the document.
fn visit<'n>(node: &'n Node, names: &Names<'_>, look: &mut impl FnMut(&'n Node, &Expression)) {
    match &node.value {
        Value::String(text) => {
            if let Ok(Compiled::Text(text)) = expr::compile(text, names) {
                text.expressions().for_each(|expression| look(node, expression));
            }
        }
        Value::List(items) => items.iter().for_each(|item| visit(item, names, look)),
        Value::Map(entries) => {
            for (key, value) in entries {
                match (key.name.as_str(), &value.value) {
                    // Expressions as a whole: conditions and variables.
                    ("if" | "expression", Value::String(source)) => {
                        if let Ok(expression) = Expression::compile(source, names) {
                            look(value, &expression);
                        }
                    }
                    _ => visit(value, names, look),
                }
            }
        }
        _ => {}
    }
}
