//! Compiles the strings of a template: which of them hold expressions, and what those read. It knows YAML nodes and
//! expressions, not what a template's fields mean.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::shown;
use crate::inject::document::yaml::{Node, Value};
use crate::inject::expr::{self, Compiled, Expression, Names, Reads, Scope};
use crate::inject::kube::types::{Checker, PENDING};

/// Compiles the strings of a template.
pub(crate) struct Compiler<'c, 's, 'n> {
    pub(crate) checker: &'c mut Checker<'s>,
    pub(crate) names: Names<'n>,
    pub(crate) reads: Reads,
}

impl Compiler<'_, '_, '_> {
    /// The condition at `node`.
    pub(crate) fn expression(&mut self, node: &Node, key: &str) -> Option<Expression> {
        match &node.value {
            Value::String(source) => match Expression::compile(source, &self.names) {
                Ok(expression) => {
                    self.reads.merge(&expression.reads);
                    Some(expression)
                }
                Err(fault) => {
                    self.checker.fault(node, fault);
                    None
                }
            },
            Value::Bool(value) => Expression::compile(&value.to_string(), &self.names).ok(),
            other => {
                self.checker.error(node.span, format!("{key} must be an expression, not {}", other.kind()), "");
                None
            }
        }
    }

    /// `node` with its strings compiled. Keys are never templated.
    pub(crate) fn strings(&mut self, node: &Node, dynamic: &mut bool) -> Node {
        let value = match &node.value {
            Value::String(text) if text.contains('\0') => {
                self.checker.error(node.span, "a string cannot hold a NUL character", "");
                Value::String(String::new())
            }
            Value::String(text) => match expr::compile(text, &self.names) {
                Ok(Compiled::Plain(text)) => Value::String(text),
                Ok(Compiled::Text(text)) => {
                    text.expressions().for_each(|expression| self.reads.merge(&expression.reads));
                    *dynamic = true;
                    Value::Text(Arc::new(text))
                }
                Err(fault) => {
                    self.checker.fault(node, fault);
                    Value::String(PENDING.to_owned())
                }
            },
            Value::List(items) => Value::List(items.iter().map(|item| self.strings(item, dynamic)).collect()),
            Value::Map(entries) => {
                let mut map = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    if key.name.contains("${") {
                        self.checker.error(key.span, "a key cannot hold an expression", "only values can");
                    }
                    map.push((key.clone(), self.strings(value, dynamic)));
                }
                Value::Map(map)
            }
            other => other.clone(),
        };
        Node { value, span: node.span, written: node.written.clone() }
    }
}

/// `node` with the results of its expressions. A null result drops its key or list item.
pub(crate) fn resolve(node: &Node, scope: &Scope<'_>) -> Result<Option<Node>, String> {
    let value = match &node.value {
        Value::Text(text) => {
            return Ok(match text.evaluate(scope)? {
                Json::Null => None,
                json => Some(Node::of_json(&json, node.span)),
            });
        }
        Value::List(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                list.extend(resolve(item, scope)?);
            }
            Value::List(list)
        }
        Value::Map(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                map.extend(resolve(value, scope)?.map(|value| (key.clone(), value)));
            }
            Value::Map(map)
        }
        constant => constant.clone(),
    };
    Ok(Some(Node { value, span: node.span, written: node.written.clone() }))
}

/// A node as JSON, expressions as they were written.
pub(crate) fn canonical(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Json::Number(number.clone()),
        Value::String(text) => Json::from(text.as_str()),
        Value::Text(text) => Json::from(text.source()),
        Value::List(items) => Json::Array(items.iter().map(canonical).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (key.name.clone(), canonical(value))).collect())
        }
    }
}

/// Most variables of one template: one that reads another is evaluated inside it, on the same stack.
const MAX_VARIABLES: usize = 64;

/// Reads the `variables` of a template, each of which may name those before it.
pub(crate) fn variables(
    checker: &mut Checker<'_>,
    node: Option<&Node>,
    parameters: &[(&str, bool)],
) -> Vec<(String, Expression)> {
    let items = checker.items(node, "variables");
    if items.len() > MAX_VARIABLES {
        let span = node.map_or_else(Default::default, |node| node.span);
        checker.error(span, format!("a template may have at most {MAX_VARIABLES} variables"), "");
        return Vec::new();
    }
    let (mut variables, mut known): (Vec<(String, Expression)>, Vec<String>) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let text = |name: &str| match item.get(name).map(|node| &node.value) {
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let (Some(name), Some(source)) = (text("name"), text("expression")) else {
            let message = format!("variables[{index}] must have a name and an expression, both strings");
            checker.error(item.span, message, "write - {name: app, expression: \"label('app', 'unknown')\"}");
            continue;
        };
        if !crate::inject::template::parameter::is_parameter_name(name) || known.iter().any(|other| other == name) {
            let message = format!("\"{}\" cannot name a variable here, or is taken", shown(name, 80));
            checker.error(item.span, message, "use a letter from a to z, then letters and digits; no word of CEL");
            continue;
        }
        let names = Names { parameters, variables: &known, container: false };
        match (Expression::compile(source, &names), item.get("expression")) {
            (Ok(expression), _) => variables.push((name.to_owned(), expression)),
            (Err(fault), Some(node)) => checker.fault(node, fault),
            (Err(_), None) => {}
        }
        // Known also when it is broken: one error is enough.
        known.push(name.to_owned());
    }
    variables
}
