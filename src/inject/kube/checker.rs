//! Checks the nodes of a document as fields of a Pod: their types, and the rules of the API server for their values. It
//! collects all errors, each with its place.
//!
//! If a patch contains a wrong JSON type, the API server answers 500 for the pod, even if the webhook's failurePolicy
//! is Ignore. If a patch contains a value that breaks a rule, it answers 422. Therefore a template with such a value
//! must not load. Fields that are not in the type table pass with a warning, because they can be newer than the table.
//!
//! This module knows no field by name. The types are in [`types`](super::types), the rules in [`rules`](super::rules).
//! A value that an expression sets is not known when a template is loaded. It is checked when the expression has been
//! evaluated for a pod.

mod path;
mod rule;

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::cluster_version::ClusterVersion;
use crate::inject::diagnostic::{LocatedError, Span, nearest};
use crate::inject::document::{Key, Node, Value};
use crate::inject::expr::types::Type;
use crate::inject::expr::{Expression, ExpressionError, Interpolation};
use crate::inject::kube::gates::{self, GateUse};
use crate::inject::kube::quantity;
use crate::inject::kube::schema;
use crate::inject::kube::types::{self, Kind, ObjectType};

use path::Path;

/// Checks nodes against the types of Pod fields and the rules for their values.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// True for results of expressions: scalars become strings where the type is `string`.
    coerces: bool,
    /// Errors that make the document unusable.
    pub(crate) errors: Vec<LocatedError>,
    /// Probable mistakes, which do not make the document unusable.
    pub(crate) warnings: Vec<LocatedError>,
    /// Values that need a feature gate of the API server.
    pub(crate) gates: Vec<GateUse>,
    /// Probable mistakes in expressions.
    pub(crate) doubts: Vec<LocatedError>,
}

impl Checker {
    /// Creates a checker for the results of expressions.
    pub(crate) fn of_results() -> Self {
        Self { coerces: true, ..Self::default() }
    }

    /// The messages of all errors, and of the values that an API server of this version is known to reject.
    pub(crate) fn messages(self, cluster: Option<ClusterVersion>) -> Vec<String> {
        let errors = self.errors.into_iter().map(|error| error.message);
        errors.chain(gates::rejected(&self.gates, cluster)).collect()
    }

    /// Returns the values that need a feature gate, beginning with the number `first`. They are under `condition`: if
    /// it is false, pods do not get them. If it reads the version of the cluster, it is the author's answer to this.
    pub(crate) fn gates_under(&mut self, condition: Option<&Expression>, first: usize) -> Vec<GateUse> {
        let Some(condition) = condition else { return Vec::new() };
        let under = self.gates.split_off(first);
        if !condition.reads.cluster {
            self.gates.extend(under.iter().cloned().map(|place| GateUse { is_conditional: true, ..place }));
        }
        under
    }

    /// Adds an error at `span`. An empty `help` means no help text.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.errors.push(LocatedError::new(span, message, help));
    }

    /// Adds an error in an expression in the string `node`.
    pub(crate) fn expression_error(&mut self, node: &Node, error: ExpressionError) {
        self.errors.push(Self::in_expression(node, error));
    }

    /// Adds a probable mistake in an expression in the string `node`.
    pub(crate) fn expression_warning(&mut self, node: &Node, warning: ExpressionError) {
        self.doubts.push(Self::in_expression(node, warning));
    }

    fn in_expression(node: &Node, error: ExpressionError) -> LocatedError {
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
        LocatedError::new(span, error.message, error.help)
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

    /// Checks `node` against the type `kind` and its rules, and converts its scalars to the form that the API server
    /// accepts. A value of the wrong type is an error and becomes null. `kind` is a type of the table, such as
    /// `Container`, `[]EnvVar` or `string`; `path` names the node in messages.
    pub(crate) fn check(&mut self, node: &mut Node, kind: &str, path: &str) {
        self.walk(node, &types::kind(kind), &Path::root(path));
    }

    /// Checks `node` as the field `name` of the object type `of`, with the rules of the field.
    pub(crate) fn check_field(&mut self, node: &mut Node, of: &str, name: &str, path: &str) {
        let kind = types::kind(of);
        if let Some(field) = kind.object().and_then(|object| object.field(name)) {
            let path = Path::root(path);
            self.walk(node, &field.kind, &path);
            self.field_rules(node, field, &path);
        }
    }

    fn walk(&mut self, node: &mut Node, kind: &Kind, path: &Path<'_>) {
        if let Value::Interpolated(text) = &node.value {
            let (text, errors) = (Arc::clone(text), self.errors.len());
            self.interpolated(node.span, &text, kind, path);
            if let Some(known) = text.constant().filter(|known| !known.is_null() && self.errors.len() == errors) {
                // The result is the same for each pod, so it obeys the rules of a constant here.
                *node = Node::of_json(known, node.span);
                let coerces = std::mem::replace(&mut self.coerces, true);
                self.walk(node, kind, path);
                self.coerces = coerces;
            }
            return;
        }
        match kind {
            Kind::List(item) => self.list(node, item, path),
            Kind::Map(item) => self.map(node, item, path),
            Kind::Object(_) => {
                if let Some(object) = kind.object() {
                    self.object(node, object, path);
                }
            }
            scalar => self.scalar(node, scalar, path),
        }
    }

    /// Checks a value that is not known yet. An expression with text around it always results in a string.
    fn interpolated(&mut self, span: Span, text: &Interpolation, kind: &Kind, path: &Path<'_>) {
        if !text.is_whole() && !matches!(kind, Kind::String | Kind::Quantity | Kind::IntOrString | Kind::Any) {
            let help = "an expression without text around it keeps its type";
            let message =
                format!("{path} must be {}, but text around an expression makes it a string", kind.in_words());
            self.error(span, message, help);
        } else if let Some(result) = text.result().filter(|result| !schema::accepts(kind, result)) {
            let message = format!("{path} must be {}, but the expression returns {result}", kind.in_words());
            self.error(span, message, conversion(kind, &result));
        }
    }

    fn list(&mut self, node: &mut Node, item: &Kind, path: &Path<'_>) {
        match &mut node.value {
            Value::List(items) => {
                for (index, node) in items.iter_mut().enumerate() {
                    self.element(node, item, &path.item(index));
                }
            }
            Value::Null => {}
            _ => self.wrong_type(node, "a list", path),
        }
    }

    fn map(&mut self, node: &mut Node, item: &Kind, path: &Path<'_>) {
        match &mut node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    self.element(value, item, &path.member(&key.name));
                }
            }
            Value::Null => {}
            _ => self.wrong_type(node, "a map", path),
        }
    }

    /// Checks an item of a list or a value of a map. The API server reads null as the empty value: an empty string, 0,
    /// or an object without members.
    fn element(&mut self, node: &mut Node, kind: &Kind, path: &Path<'_>) {
        if matches!(node.value, Value::Null) && *kind != Kind::Any {
            self.error(node.span, format!("{path} is null"), "remove it, or write a value");
        }
        self.walk(node, kind, path);
    }

    fn object(&mut self, node: &mut Node, object: &'static ObjectType, path: &Path<'_>) {
        let entries = match &mut node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => return self.wrong_type(node, "a map", path),
        };
        for (key, value) in entries {
            let path = path.member(&key.name);
            match object.field(&key.name) {
                Some(field) => {
                    self.walk(value, &field.kind, &path);
                    self.field_rules(value, field, &path);
                }
                None => {
                    self.unknown_field(object, key);
                    self.walk(value, &Kind::Any, &path);
                }
            }
        }
        self.object_rules(node, object, path);
    }

    fn unknown_field(&mut self, object: &ObjectType, key: &Key) {
        let message = format!("unknown field \"{}\" in {}; it is passed on unchanged", key.name, object.name);
        let near = nearest(&key.name, object.fields.iter().map(|field| field.name.as_str()));
        let help = near.map(|name| format!("did you mean \"{name}\"?")).unwrap_or_default();
        self.warnings.push(LocatedError::new(key.span, message, help));
    }

    fn scalar(&mut self, node: &mut Node, kind: &Kind, path: &Path<'_>) {
        match (kind, &node.value) {
            (_, Value::Null)
            | (Kind::String | Kind::IntOrString | Kind::Time, Value::String(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Any, Value::Bool(_) | Value::Number(_) | Value::String(_)) => {}
            (Kind::Any, Value::List(_)) => self.list(node, &Kind::Any, path),
            (Kind::Any, Value::Map(_)) => self.map(node, &Kind::Any, path),
            (Kind::String, Value::Bool(value)) if self.coerces => node.value = Value::String(value.to_string()),
            (Kind::String, Value::Number(number)) if self.coerces => node.value = Value::String(number.to_string()),
            (Kind::Int64, Value::Number(number)) if number.is_i64() => {}
            (Kind::Int32 | Kind::IntOrString, Value::Number(number)) if number.as_i64().is_some_and(is_int32) => {}
            (Kind::Quantity, Value::String(text)) => self.quantity(node.span, text, path),
            // Quantities keep the notation of the text: as numbers, 0.5 and 1e3 would be written differently.
            (Kind::Quantity, Value::Number(number)) => {
                let text = node.written.clone().unwrap_or_else(|| number.to_string());
                self.quantity(node.span, &text, path);
                node.value = Value::String(text);
            }
            _ => self.wrong_type(node, kind.in_words(), path),
        }
    }

    fn quantity(&mut self, span: Span, text: &str, path: &Path<'_>) {
        if quantity::quantity(text).is_none() {
            self.error(span, format!("{path} is not a valid quantity"), "for example 100m, 0.5, 64Mi or 1G");
        }
    }

    fn wrong_type(&mut self, node: &mut Node, expected: &str, path: &Path<'_>) {
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
        // A value that counts as unknown causes no further errors.
        node.value = Value::Interpolated(Arc::new(Interpolation::broken()));
    }
}

fn is_int32(value: i64) -> bool {
    i32::try_from(value).is_ok()
}

/// How to convert a result to the kind of a field.
fn conversion(kind: &Kind, result: &Type) -> &'static str {
    match (kind, result) {
        (Kind::String, Type::List(_)) => "write LIST.join(',') or json(…)",
        (Kind::String, _) => "write json(…), or one of its members",
        (Kind::Int32 | Kind::Int64, Type::String | Type::Double) => "write int(…)",
        (Kind::Boolean, Type::String) => "compare it: … == 'true'",
        (Kind::List(_), scalar) if scalar.is_scalar() => "write [ITEM]",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
