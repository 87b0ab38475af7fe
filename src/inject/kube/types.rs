//! The types of a Pod's known fields, and the check of template text against them.
//!
//! A wrong JSON type in a patch makes the API server answer 500 for the pod, even where the webhook's
//! failurePolicy is Ignore, so it must not get past loading. Fields the table does not know pass with
//! a warning: they may be newer than the table. It must not know what the fields mean.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use crate::inject::diagnostic::{Diagnostic, Source, Span, nearest};
use crate::inject::document::yaml::{Key, Node, Value};
use crate::inject::expr::Text;
use crate::inject::kube::quantity;

/// Type name -> (field, type) in the order of the table.
type Table = HashMap<&'static str, Vec<(&'static str, &'static str)>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    let mut current = "";
    for line in include_str!("pod_types.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ").and_then(|field| field.split_once(' ')) {
            Some(field) => table.entry(current).or_default().push(field),
            None => {
                current = line;
                table.entry(current).or_default();
            }
        }
    }
    table
});

/// The fields of a type with their types, if it is one of the table's.
pub(crate) fn fields_of(kind: &str) -> Option<&'static [(&'static str, &'static str)]> {
    TABLE.get(kind).map(Vec::as_slice)
}

/// Stands where an expression will put its result, while a template is loaded.
pub(crate) const PENDING: &str = "\u{0}";

/// Reads nodes as Pod fields and collects everything that is wrong with them.
pub(crate) struct Checker<'s> {
    source: &'s Source<'s>,
    /// Whether scalars become strings where the schema wants some: results of expressions do.
    coerces: bool,
    /// What makes the document unusable.
    pub(crate) errors: Vec<Diagnostic>,
    /// What is probably not meant.
    pub(crate) warnings: Vec<Diagnostic>,
}

impl<'s> Checker<'s> {
    pub(crate) fn new(source: &'s Source<'s>) -> Self {
        Self { source, coerces: false, errors: Vec::new(), warnings: Vec::new() }
    }

    /// A checker for results of expressions.
    pub(crate) fn of_results(source: &'s Source<'s>) -> Self {
        Self { coerces: true, ..Self::new(source) }
    }

    /// An expression where one chooses what a pod may do.
    pub(crate) fn sensitive(&self, span: Span, what: &str) -> Diagnostic {
        let message = format!("an expression in {what} is only for templates of the profile privileged");
        self.source.error(span, message)
    }

    /// Reports what is wrong with an expression that begins `offset` bytes into the string at `node`.
    pub(crate) fn fault(&mut self, node: &Node, fault: crate::inject::expr::Fault) {
        let mut span = node.span;
        // Places inside of scalars over several lines cannot be told from the value.
        let plain = node.written.as_ref().filter(|written| !written.contains('\n'));
        if let (Value::String(text), Some(written)) = (&node.value, plain)
            && let Some(from) = written.find(text.as_str())
            && let Some(before) = text.get(..fault.offset)
        {
            let before = written[..from].chars().count() + before.chars().count();
            span = Span { column: span.column + before, length: 1, ..span };
        }
        self.error(span, fault.message, fault.help);
    }

    /// The items of a list of the template; what is none is reported. `key` names it.
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

    /// Reports an error at a place.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        let diagnostic = self.source.error(span, message);
        let help = help.into();
        self.errors.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    /// The JSON of `node` read as `kind`, e.g. `Container` or `[]string`. `path` names it in messages.
    /// What is wrong is reported and stands as null in the result.
    pub(crate) fn json(&mut self, node: &Node, kind: &str, path: &str) -> Json {
        if let Value::Text(text) = &node.value {
            return self.pending(node, text, kind, path);
        }
        if let Some(item) = kind.strip_prefix("[]") {
            return self.list(node, item, path);
        }
        if let Some(item) = kind.strip_prefix("{}") {
            return self.map(node, path, |_, _| Some(item));
        }
        if let Some(fields) = TABLE.get(kind) {
            return self.map(node, path, |checker, key| checker.field(fields, kind, key));
        }
        self.scalar(node, kind, path)
    }

    /// What stands for a value that is not known yet.
    fn pending(&mut self, node: &Node, text: &Text, kind: &str, path: &str) -> Json {
        if !text.is_whole() && !matches!(kind, "string" | "quantity" | "int-or-string" | "any") {
            let words = if kind.starts_with("[]") { "a list" } else { in_words(kind) };
            let help = "an expression without text around it keeps its type";
            self.error(
                node.span,
                format!("{path} must be {words}, and text around an expression makes a string"),
                help,
            );
        }
        Json::String(PENDING.to_owned())
    }

    fn list(&mut self, node: &Node, item: &str, path: &str) -> Json {
        match &node.value {
            Value::List(items) => {
                let read = |(index, node)| self.json(node, item, &format!("{path}[{index}]"));
                Json::Array(items.iter().enumerate().map(read).collect())
            }
            Value::Null => Json::Null,
            _ => self.wrong_type(node, "a list", path),
        }
    }

    fn map<'k>(&mut self, node: &Node, path: &str, kind_of: impl Fn(&mut Self, &Key) -> Option<&'k str>) -> Json {
        match &node.value {
            Value::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, value) in entries {
                    let kind = kind_of(self, key).unwrap_or("any");
                    map.insert(key.name.clone(), self.json(value, kind, &format!("{path}.{}", key.name)));
                }
                Json::Object(map)
            }
            Value::Null => Json::Null,
            _ => self.wrong_type(node, "a map", path),
        }
    }

    fn field(&mut self, fields: &[(&'static str, &'static str)], kind: &str, key: &Key) -> Option<&'static str> {
        let known = fields.iter().find(|(name, _)| *name == key.name).map(|(_, kind)| *kind);
        if known.is_none() {
            let message = format!("{kind} has no field \"{}\" that is known here; it is passed on as it is", key.name);
            let diagnostic = self.source.error(key.span, message).warning();
            self.warnings.push(match nearest(&key.name, fields.iter().map(|(name, _)| *name)) {
                Some(name) => diagnostic.help(format!("did you mean \"{name}\"?")),
                None => diagnostic,
            });
        }
        known
    }

    fn scalar(&mut self, node: &Node, kind: &str, path: &str) -> Json {
        match (kind, &node.value) {
            (_, Value::Null) => Json::Null,
            ("any", _) => self.any(node, path),
            ("string" | "int-or-string", Value::String(text)) => Json::String(text.clone()),
            ("string", Value::Bool(value)) if self.coerces => Json::String(value.to_string()),
            ("string", Value::Number(number)) if self.coerces => Json::String(number.to_string()),
            ("boolean", Value::Bool(value)) => Json::Bool(*value),
            ("int64", Value::Number(number)) if number.is_i64() => Json::Number(number.clone()),
            ("int32" | "int-or-string", Value::Number(number)) if number.as_i64().is_some_and(is_int32) => {
                Json::Number(number.clone())
            }
            ("quantity", Value::String(text)) => self.quantity(node, text, path),
            // As it is written: 0.5 and 1e3 are quantities, and as numbers they would change.
            ("quantity", Value::Number(number)) => {
                let text = node.written.clone().unwrap_or_else(|| number.to_string());
                self.quantity(node, &text, path)
            }
            _ => self.wrong_type(node, in_words(kind), path),
        }
    }

    /// A value of an unknown field: any shape is right.
    fn any(&mut self, node: &Node, path: &str) -> Json {
        match &node.value {
            Value::List(_) => self.list(node, "any", path),
            Value::Map(_) => self.map(node, path, |_, _| None),
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::String(text) => Json::String(text.clone()),
            Value::Text(_) => Json::String(PENDING.to_owned()),
        }
    }

    fn quantity(&mut self, node: &Node, text: &str, path: &str) -> Json {
        if quantity::quantity(text).is_none() {
            let message = format!("{path} is no quantity");
            self.error(node.span, message, "write for example 100m, 0.5, 64Mi or 1G");
        }
        Json::String(text.to_owned())
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, path: &str) -> Json {
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
        Json::Null
    }
}

fn in_words(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "boolean" => "a boolean",
        "int32" => "an integer of 32 bits",
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
    use crate::inject::document::yaml;

    fn check(text: &str) -> (Json, Vec<String>, Vec<String>) {
        let source = Source::new("t", text);
        let node = yaml::parse(&source).expect("YAML");
        let mut checker = Checker::new(&source);
        let json = checker.json(&node, "Container", "c");
        let lines = |list: Vec<Diagnostic>| list.iter().map(Diagnostic::one_line).collect();
        (json, lines(checker.errors), lines(checker.warnings))
    }

    #[test]
    fn sound_fields_become_json_in_order() {
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
    fn wrong_types_are_errors_with_the_way_out() {
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
                "t:1:25: c.ports[0].containerPort must be an integer of 32 bits, not a string",
            ),
            (
                "ports: [{containerPort: 80.5}]",
                "t:1:25: c.ports[0].containerPort must be an integer of 32 bits, not a number",
            ),
            (
                "ports: [{containerPort: 5000000000}]",
                "t:1:25: c.ports[0].containerPort must be an integer of 32 bits, not an integer",
            ),
            ("tty: \"true\"", "t:1:6: c.tty must be a boolean, not a string (write true without quotes)"),
            (
                "resources: {limits: {memory: 64Mx}}",
                "t:1:30: c.resources.limits.memory is no quantity (write for example 100m, 0.5, 64Mi or 1G)",
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
    fn unknown_fields_pass_with_a_warning() {
        let (json, errors, warnings) = check("imagePulPolicy: Always\nnewInKubernetes2: {a: [1, {b: \"${x}\"}]}\n");
        assert_eq!(json["newInKubernetes2"].to_string(), r#"{"a":[1,{"b":"${x}"}]}"#);
        assert!(errors.is_empty());
        assert!(warnings[0].contains("did you mean \"imagePullPolicy\"?"), "{warnings:?}");
        assert_eq!(warnings.len(), 2);
    }
}
