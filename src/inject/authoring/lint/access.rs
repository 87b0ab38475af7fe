//! Rules about parameters and expressions.

use crate::inject::authoring::lint::{Linter, items, text};
use crate::inject::document::{Node, Value};
use crate::inject::expr::{self, Compiled, Expression, Interpolation, Part, Reads, Vocabulary};

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
    fn with_names<T>(&self, look: impl FnOnce(&Vocabulary<'_>) -> T) -> T {
        let parameters: Vec<(&str, bool)> =
            self.template.parameters.iter().map(|p| (p.name.as_str(), p.is_map())).collect();
        let variables: Vec<String> = self.template.variables().iter().map(|(name, _)| name.clone()).collect();
        look(&Vocabulary { parameters: &parameters, variables: &variables, container: true })
    }

    /// A string of the template, if there are expressions in it.
    pub(super) fn compiled(&self, text: &str) -> Option<Interpolation> {
        match self.with_names(|names| expr::compile(text, names)) {
            Ok(Compiled::Interpolated(text)) => Some(text),
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
    let is_shell =
        |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "ksh" | "mksh" | "zsh"));
    let Some(shell) = words.iter().position(|(_, word)| is_shell(word)) else { return };
    let is_flag = |word: &str| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
    let Some(flag) = words.iter().skip(shell).position(|(_, word)| is_flag(word)) else { return };
    let Some((node, script)) = words.get(shell + flag + 1) else { return };
    let Some(script) = linter.compiled(script) else { return };
    let (mut quote, mut before) = (Quote::None, '\n');
    for part in script.parts() {
        match part {
            Part::Literal(text) => quote = quote.behind(text, before),
            Part::Expression(expression) if !expression.is_call_of("shellQuote") => {
                let message = "an expression in a shell command without shellQuote";
                return linter.find("shell-expression", node.span, message);
            }
            Part::Expression(_) if quote != Quote::None => {
                let message =
                    "shellQuote brings quotes of its own, so it may not stand in quotes, comments or behind \\";
                return linter.find("shell-expression", node.span, message);
            }
            Part::Expression(_) => {}
        }
        before = 'x';
    }
}

/// Inside which quotes of a shell a place is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
    Comment,
    /// Behind a backslash outside of quotes.
    Escaped,
}

impl Quote {
    /// Where the end of `text` is, given where it begins and what stands before it.
    fn behind(mut self, text: &str, before: char) -> Self {
        let (mut before, mut escaped) = (before, false);
        for c in text.chars() {
            let begins_word = before.is_whitespace() || ";&|(".contains(before);
            self = match (self, c) {
                (Self::None, '\\') => Self::Escaped,
                (Self::None, '\'') => Self::Single,
                (Self::None, '"') => Self::Double,
                (Self::None, '#') if begins_word => Self::Comment,
                (Self::Double, '"') if !escaped => Self::None,
                (Self::Single, '\'') | (Self::Comment, '\n') | (Self::Escaped, _) => Self::None,
                (quote, _) => quote,
            };
            escaped = c == '\\' && !escaped && self == Self::Double;
            before = c;
        }
        self
    }
}

/// Images that a pod's author can choose freely, also by way of variables.
fn image(linter: &mut Linter<'_>, container: &Node) {
    let Some(image) = text(container, "image").and_then(|image| linter.compiled(image)) else { return };
    let mut reads = Reads::default();
    image.expressions().for_each(|expression| reads.merge(&expression.reads));
    for (name, expression) in linter.template.variables().iter().rev() {
        if reads.variables.contains(name) {
            reads.merge(&expression.reads);
        }
    }
    if reads.reads_metadata() {
        linter.find("free-image", container.span_of("image"), "a label or annotation of the pod sets the image");
    }
    let free = |name: &&String| linter.template.parameters.iter().any(|p| p.name == **name && p.is_free());
    if let Some(name) = reads.parameters.iter().find(free) {
        let message = format!("the free parameter {name} sets the image");
        linter.find("free-image", container.span_of("image"), message);
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
            linter.find("unanchored-pattern", declared.span_of("pattern"), message);
        }
        if !linter.template.reads().parameters.contains(&key.name) {
            linter.find("unused-parameter", key.span, format!("no expression reads params.{}", key.name));
        }
    }
}

/// Members of the pod that many pods lack, read directly.
fn unguarded(linter: &mut Linter<'_>) {
    // Required by the API, or filled in by the API server before any webhook sees the pod.
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
    let mut found = Vec::new();
    linter.with_names(|names| {
        visit(linter.node, names, &Reads::default(), &mut |node, reads| {
            let always = |path: &[String]| {
                ALWAYS.iter().any(|known| path.len() <= known.len() && known.iter().zip(path).all(|(a, b)| a == b))
            };
            let path =
                reads.unguarded().find(|path| !always(path)).map(|path| path[1..].join(".").replace(".[]", "[]"));
            found.extend(path.map(|path| (node.span, path)));
        });
    });
    for (span, path) in found {
        linter.find("unguarded-access", span, format!("many pods have no {path}"));
    }
}

/// Calls `look` with what every expression of the document reads. `around` is what conditions around it ask about.
fn visit<'n>(node: &'n Node, names: &Vocabulary<'_>, around: &Reads, look: &mut impl FnMut(&'n Node, &Reads)) {
    let guarded = |expression: &Expression| {
        let mut reads = expression.reads.clone();
        reads.guard_with(around);
        reads
    };
    match &node.value {
        Value::String(text) => {
            if let Ok(Compiled::Interpolated(text)) = expr::compile(text, names) {
                text.expressions().for_each(|expression| look(node, &guarded(expression)));
            }
        }
        Value::List(items) => items.iter().for_each(|item| visit(item, names, around, look)),
        Value::Map(entries) => {
            let condition = node.get("if").and_then(|node| whole(node, names));
            let mut inside = around.clone();
            if let Some(condition) = &condition {
                inside.guard_with(&condition.reads);
            }
            for (key, value) in entries {
                match key.name.as_str() {
                    // Text for people.
                    "description" | "lint" | "parameters" => {}
                    "if" | "expression" => {
                        if let Some(expression) = whole(value, names) {
                            look(value, &guarded(&expression));
                        }
                    }
                    _ => visit(value, names, &inside, look),
                }
            }
        }
        _ => {}
    }
}

/// An expression that is not in a string: a condition or a variable.
fn whole(node: &Node, names: &Vocabulary<'_>) -> Option<Expression> {
    let Value::String(source) = &node.value else { return None };
    Expression::compile(source, names).ok()
}
