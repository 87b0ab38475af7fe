//! Checks the types of the nodes of a document as fields of a Pod, and collects all errors.
//!
//! If a patch contains a wrong JSON type, the API server answers 500 for the pod, even if the webhook's failurePolicy
//! is Ignore. Therefore a template with a wrong type must not load. Fields that are not in the type table pass with a
//! warning, because they can be newer than the table. This module does not know what the fields mean;
//! [`rules`](super::rules) does.

use serde_json::Value as Json;

use crate::inject::diagnostic::{LocatedError, Span, nearest};
use crate::inject::document::{Key, Node, Value};
use crate::inject::expr::{ExpressionError, Interpolation};
use crate::inject::kube::quantity;
use crate::inject::kube::types::fields_of;

/// Checks nodes against the types of Pod fields. A type is a name in the table, such as `Container`, a list `[]TYPE`, a
/// map `{}TYPE`, or one of `string`, `boolean`, `int32`, `int64`, `int-or-string`, `quantity` and `any`.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// True for results of expressions: scalars become strings where the type is `string`.
    coerces: bool,
    /// Errors that make the document unusable.
    pub(crate) errors: Vec<LocatedError>,
    /// Probable mistakes, which do not make the document unusable.
    pub(crate) warnings: Vec<LocatedError>,
}

impl Checker {
    /// Creates a checker for the results of expressions.
    pub(crate) fn of_results() -> Self {
        Self { coerces: true, ..Self::default() }
    }

    /// Adds an error at `span`. An empty `help` means no help text.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(LocatedError::new(span, message, help));
    }

    /// Adds an error in an expression in the string `node`.
    pub(crate) fn expression_error(&mut self, node: &Node, error: ExpressionError) {
        let mut span = node.span;
        // The place inside a scalar of several lines cannot be computed from its value.
        let plain = node.written.as_ref().filter(|written| !written.contains('\n'));
        if let (Value::String(text), Some(written)) = (&node.value, plain)
            && let Some(from) = written.find(text.as_str())
            && let Some(before) = text.get(..error.offset)
        {
            let before = written[..from].chars().count() + before.chars().count();
            span = Span { column: span.column + before, length: 1, ..span };
        }
        self.error(span, error.message, error.help);
    }

    /// The items of a list of the template; none if `node` is absent or null. Any other value is an error. `key` names
    /// the list in messages.
    pub(crate) fn items<'n>(&mut self, node: Option<&'n Node>, key: &str) -> &'n [Node] {
        match node.map(|node| (&node.value, node.span)) {
            None | Some((Value::Null, _)) => &[],
            Some((Value::List(items), _)) => items,
            Some((other, span)) => {
                self.error(span, format!("{key} must be a list, not {}", other.kind()), "");
                &[]
            }
        }
    }

    /// Checks `node` against the type `kind` and returns it as JSON; see [`Self::check`].
    pub(crate) fn json(&mut self, node: &Node, kind: &str, path: &str) -> Json {
        let mut node = node.clone();
        self.check(&mut node, kind, path);
        node.into_json()
    }

    /// Checks `node` against the type `kind` and converts its scalars to the form that the API server accepts. A value
    /// of the wrong type is an error and becomes null. `path` names the node in messages.
    pub(crate) fn check(&mut self, node: &mut Node, kind: &str, path: &str) {
        if let Value::Interpolated(text) = &node.value {
            return self.interpolated(node.span, &text.clone(), kind, path);
        }
        if let Some(item) = kind.strip_prefix("[]") {
            self.list(node, item, path);
        } else if let Some(item) = kind.strip_prefix("{}") {
            self.map(node, path, |_, _| Some(item));
        } else if let Some(fields) = fields_of(kind) {
            self.map(node, path, |checker, key| checker.field(fields, kind, key));
        } else {
            self.scalar(node, kind, path);
        }
    }

    /// Checks a value that is not known yet. An expression with text around it always results in a string.
    fn interpolated(&mut self, span: Span, text: &Interpolation, kind: &str, path: &str) {
        if !text.is_whole() && !matches!(kind, "string" | "quantity" | "int-or-string" | "any") {
            let words = if kind.starts_with("[]") { "a list" } else { in_words(kind) };
            let help = "an expression without text around it keeps its type";
            self.error(span, format!("{path} must be {words}, but text around an expression makes it a string"), help);
        }
    }

    fn list(&mut self, node: &mut Node, item: &str, path: &str) {
        match &mut node.value {
            Value::List(items) => {
                for (index, node) in items.iter_mut().enumerate() {
                    self.check(node, item, &format!("{path}[{index}]"));
                }
            }
            Value::Null => {}
            _ => self.wrong_type(node, "a list", path),
        }
    }

    fn map<'k>(&mut self, node: &mut Node, path: &str, kind_of: impl Fn(&mut Self, &Key) -> Option<&'k str>) {
        match &mut node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    let kind = kind_of(self, key).unwrap_or("any");
                    self.check(value, kind, &format!("{path}.{}", key.name));
                }
            }
            Value::Null => {}
            _ => self.wrong_type(node, "a map", path),
        }
    }

    fn field(&mut self, fields: &[(&'static str, &'static str)], kind: &str, key: &Key) -> Option<&'static str> {
        let known = fields.iter().find(|(name, _)| *name == key.name).map(|(_, kind)| *kind);
        if known.is_none() {
            let message = format!("unknown field \"{}\" in {kind}; it is passed on unchanged", key.name);
            let near = nearest(&key.name, fields.iter().map(|(name, _)| *name));
            let help = near.map(|name| format!("did you mean \"{name}\"?")).unwrap_or_default();
            self.warnings.push(LocatedError::new(key.span, message, help));
        }
        known
    }

    fn scalar(&mut self, node: &mut Node, kind: &str, path: &str) {
        match (kind, &node.value) {
            (_, Value::Null)
            | ("string" | "int-or-string", Value::String(_))
            | ("boolean", Value::Bool(_))
            | ("any", Value::Bool(_) | Value::Number(_) | Value::String(_)) => {}
            ("any", Value::List(_)) => self.list(node, "any", path),
            ("any", Value::Map(_)) => self.map(node, path, |_, _| None),
            ("string", Value::Bool(value)) if self.coerces => node.value = Value::String(value.to_string()),
            ("string", Value::Number(number)) if self.coerces => node.value = Value::String(number.to_string()),
            ("int64", Value::Number(number)) if number.is_i64() => {}
            ("int32" | "int-or-string", Value::Number(number)) if number.as_i64().is_some_and(is_int32) => {}
            ("quantity", Value::String(text)) => self.quantity(node.span, text, path),
            // Quantities keep the notation of the text: as numbers, 0.5 and 1e3 would be written differently.
            ("quantity", Value::Number(number)) => {
                let text = node.written.clone().unwrap_or_else(|| number.to_string());
                self.quantity(node.span, &text, path);
                node.value = Value::String(text);
            }
            _ => self.wrong_type(node, in_words(kind), path),
        }
    }

    fn quantity(&mut self, span: Span, text: &str, path: &str) {
        if quantity::quantity(text).is_none() {
            self.error(span, format!("{path} is not a valid quantity"), "for example 100m, 0.5, 64Mi or 1G");
        }
    }

    fn wrong_type(&mut self, node: &mut Node, expected: &str, path: &str) {
        let message = format!("{path} must be {expected}, not {}", node.value.kind());
        let help = match (&node.value, &node.written) {
            (Value::Bool(_) | Value::Number(_), Some(written)) if expected == "a string" => {
                format!("write \"{written}\" in quotes")
            }
            (Value::String(text), _) if expected == "an integer" && text.parse::<i64>().is_ok() => {
                format!("write {text} without quotes")
            }
            (Value::String(text), _) if expected == "a boolean" && matches!(&**text, "true" | "false") => {
                format!("write {text} without quotes")
            }
            _ => String::new(),
        };
        self.error(node.span, message, help);
        node.value = Value::Null;
    }
}

/// The type `kind` in words, with its article.
fn in_words(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "boolean" => "a boolean",
        "int32" => "a 32-bit integer",
        "int64" => "an integer",
        "int-or-string" => "an integer or a string",
        _ => "a quantity",
    }
}

fn is_int32(value: i64) -> bool {
    i32::try_from(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::diagnostic::{Diagnostic, Source};
    use crate::inject::document::yaml;

    fn check(text: &str) -> (Json, Vec<String>, Vec<String>) {
        let source = Source::new("t", text);
        let node = yaml::parse(&source).expect("YAML");
        let mut checker = Checker::default();
        let json = checker.json(&node, "Container", "c");
        let lines = |list: Vec<LocatedError>| {
            list.into_iter().map(|error| source.diagnostic(error)).map(|error: Diagnostic| error.one_line()).collect()
        };
        (json, lines(checker.errors), lines(checker.warnings))
    }

    #[test]
    fn valid_fields_become_json_in_order() {
        let (json, errors, warnings) = check(
            "name: a\nresources: {requests: {cpu: 0.5, memory: 64Mi, x.y/z: 1e3}}\nports: [{containerPort: 0644}]\nargs: [\"1\"]\ncommand:\n",
        );
        assert_eq!(
            json.to_string(),
            r#"{"name":"a","resources":{"requests":{"cpu":"0.5","memory":"64Mi","x.y/z":"1e3"}},"ports":[{"containerPort":420}],"args":["1"],"command":null}"#
        );
        assert!(errors.is_empty() && warnings.is_empty(), "{errors:?} {warnings:?}");
    }

    #[test]
    fn wrong_types_are_errors_with_a_remedy() {
        for (text, error) in [
            (
                "env: [{name: A, value: 8080}]",
                "t:1:24: c.env[0].value must be a string, not an integer (write \"8080\" in quotes)",
            ),
            (
                "env: [{name: A, value: true}]",
                "t:1:24: c.env[0].value must be a string, not a boolean (write \"true\" in quotes)",
            ),
            ("env: {A: b}", "t:1:6: c.env must be a list, not a map"),
            (
                "ports: [{containerPort: \"80\"}]",
                "t:1:25: c.ports[0].containerPort must be a 32-bit integer, not a string",
            ),
            (
                "ports: [{containerPort: 80.5}]",
                "t:1:25: c.ports[0].containerPort must be a 32-bit integer, not a number",
            ),
            (
                "ports: [{containerPort: 5000000000}]",
                "t:1:25: c.ports[0].containerPort must be a 32-bit integer, not an integer",
            ),
            ("tty: \"true\"", "t:1:6: c.tty must be a boolean, not a string (write true without quotes)"),
            (
                "resources: {limits: {memory: 64Mx}}",
                "t:1:30: c.resources.limits.memory is not a valid quantity (for example 100m, 0.5, 64Mi or 1G)",
            ),
            ("args: x", "t:1:7: c.args must be a list, not a string"),
            ("securityContext: []", "t:1:18: c.securityContext must be a map, not a list"),
        ] {
            assert_eq!(check(text).1, [error], "{text}");
        }
    }

    #[test]
    fn every_error_is_reported() {
        assert_eq!(check("tty: 1\nstdin: 2\n").1.len(), 2);
    }

    #[test]
    fn unknown_fields_are_accepted_with_a_warning() {
        let (json, errors, warnings) = check("imagePulPolicy: Always\nnewInKubernetes2: {a: [1, {b: \"${x}\"}]}\n");
        assert_eq!(json["newInKubernetes2"].to_string(), r#"{"a":[1,{"b":"${x}"}]}"#);
        assert!(errors.is_empty());
        assert!(warnings[0].contains("did you mean \"imagePullPolicy\"?"), "{warnings:?}");
        assert_eq!(warnings.len(), 2);
    }
}
