//! Compiles the strings of a template: finds their expressions, and records the names and paths that those read. This
//! module depends on document nodes and expressions. It does not know the meaning of a template's fields.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::shown;
use crate::inject::document::{Node, Value};
use crate::inject::expr::{self, Compiled, Expression, Interpolation, Reads, Scope, Vocabulary};
use crate::inject::kube::checker::Checker;
use crate::inject::template::parameter::{is_parameter_name, name_help};

/// Compiles the strings of one template.
pub(crate) struct Compiler<'c, 'n> {
    pub(crate) checker: &'c mut Checker,
    /// The names that expressions may use.
    pub(crate) vocabulary: Vocabulary<'n>,
    /// Everything that the expressions compiled so far read.
    pub(crate) reads: Reads,
}

impl Compiler<'_, '_> {
    /// Compiles the condition at `node`, which is the value of `key`: a string or a boolean. `None` if it is not valid;
    /// then the error is reported.
    pub(crate) fn condition(&mut self, node: &Node, key: &str) -> Option<Expression> {
        match &node.value {
            Value::String(source) => match Expression::condition(source, &self.vocabulary) {
                Ok(expression) => {
                    self.reads.merge(&expression.reads);
                    Some(found(self.checker, node, expression))
                }
                Err(error) => {
                    self.checker.expression_error(node, error);
                    None
                }
            },
            Value::Bool(value) => Expression::compile(&value.to_string(), &self.vocabulary).ok(),
            other => {
                self.checker.error(node.span, format!("{key} must be an expression, not {}", other.kind()), "");
                None
            }
        }
    }

    /// Compiles the strings in `node`. Returns the compiled node, and true if it has an expression. Keys cannot have
    /// expressions.
    pub(crate) fn strings(&mut self, node: &Node) -> (Node, bool) {
        let mut is_dynamic = false;
        let node = self.compiled(node, &mut is_dynamic);
        (node, is_dynamic)
    }

    fn compiled(&mut self, node: &Node, is_dynamic: &mut bool) -> Node {
        let value = match &node.value {
            Value::String(text) if text.contains('\0') => {
                self.checker.error(node.span, "a string cannot contain a NUL character", "");
                Value::String(String::new())
            }
            Value::String(text) => match expr::compile(text, &self.vocabulary) {
                Ok(Compiled::Plain(text)) => Value::String(text),
                Ok(Compiled::Interpolated(text)) => {
                    for expression in text.expressions() {
                        self.reads.merge(&expression.reads);
                        warn(self.checker, node, expression);
                    }
                    *is_dynamic = true;
                    Value::Interpolated(Arc::new(text))
                }
                Err(error) => {
                    self.checker.expression_error(node, error);
                    Value::Interpolated(Arc::new(Interpolation::broken()))
                }
            },
            Value::List(items) => Value::List(items.iter().map(|item| self.compiled(item, is_dynamic)).collect()),
            Value::Map(entries) => {
                let mut map = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    if key.name.contains("${") {
                        self.checker.error(key.span, "a key cannot have an expression", "only values can");
                    }
                    map.push((key.clone(), self.compiled(value, is_dynamic)));
                }
                Value::Map(map)
            }
            other => other.clone(),
        };
        Node { value, span: node.span, written: node.written.clone() }
    }
}

/// Replaces the expressions in `node` by their results. A null result drops its key or list item; `None` if `node`
/// itself is null.
///
/// # Errors
/// The first expression that failed and the cause, a sentence without full stop.
pub(crate) fn resolve(node: &Node, scope: &Scope<'_>) -> Result<Option<Node>, String> {
    let value = match &node.value {
        Value::Interpolated(text) => {
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

/// Maximum number of variables in one template. A variable that another one reads is evaluated inside it, on the same
/// stack.
const MAX_VARIABLES: usize = 64;

/// Reports the probable mistakes in an expression at `node`.
fn warn(checker: &mut Checker, node: &Node, expression: &Expression) {
    expression.warnings.iter().for_each(|warning| checker.expression_warning(node, warning.clone()));
}

/// Reports the probable mistakes in an expression at `node`, and returns the expression.
pub(crate) fn found(checker: &mut Checker, node: &Node, expression: Expression) -> Expression {
    warn(checker, node, &expression);
    expression
}

/// Reads and compiles the `variables` of a template. Each can use the variables before it, besides `names`. Errors go
/// to `checker`.
pub(crate) fn variables(
    checker: &mut Checker,
    node: Option<&Node>,
    names: &Vocabulary<'_>,
) -> Vec<(String, Expression)> {
    let items = checker.items(node, "variables");
    if items.len() > MAX_VARIABLES {
        let span = node.map_or_else(Default::default, |node| node.span);
        checker.error(span, format!("a template may have at most {MAX_VARIABLES} variables"), "");
        return Vec::new();
    }
    let mut variables: Vec<(String, Expression)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let (Some(name), Some(source)) = (item.text("name"), item.text("expression")) else {
            let message = format!("variables[{index}] must have a name and an expression, both strings");
            checker.error(item.span, message, "write - {name: app, expression: \"label('app', 'unknown')\"}");
            continue;
        };
        if !is_parameter_name(name) || variables.iter().any(|(other, _)| other == name) {
            let is_used = is_parameter_name(name);
            let what = if is_used { "is already the name of a variable" } else { "is not a valid variable name" };
            let help = if is_used { "use another name".to_owned() } else { name_help(name) };
            checker.error(item.span, format!("\"{}\" {what}", shown(name, 80)), help);
            continue;
        }
        let vocabulary = Vocabulary { variables: &variables, ..*names };
        let expression = match (Expression::compile(source, &vocabulary), item.get("expression")) {
            (Ok(expression), Some(node)) => found(checker, node, expression),
            (Err(error), Some(node)) => {
                checker.expression_error(node, error);
                Expression::broken()
            }
            (_, None) => Expression::broken(),
        };
        variables.push((name.to_owned(), expression));
    }
    variables
}
