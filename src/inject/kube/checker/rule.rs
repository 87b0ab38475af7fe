//! Applies the rules of fields and of objects to nodes.

use crate::inject::diagnostic::{LocatedError, shown};
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::checker::path::Path;
use crate::inject::kube::formats::{Format, is_port_name};
use crate::inject::kube::gates::GateUse;
use crate::inject::kube::rules::{FieldRule, Is, Relation};
use crate::inject::kube::types::{Field, ObjectType};

/// The longest value that a message quotes, in characters.
const SHOWN: usize = 80;

impl Checker {
    /// Checks a value against the rules of its field. The value has the type of the field.
    pub(super) fn field_rules(&mut self, node: &Node, field: &Field, path: &Path<'_>) {
        if matches!(node.value, Value::Null | Value::Interpolated(_)) {
            return;
        }
        if field.required && is_empty(node) {
            self.error(node.span, format!("{path} is empty"), "");
            return;
        }
        if field.can_be_empty && is_empty(node) {
            return;
        }
        self.one_of(node, &field.words, path);
        if !field.keys.is_empty() {
            self.unique(node, &field.keys, path);
        }
        // The words of the rules are among those of the field.
        for rule in field.rules.iter().filter(|rule| !matches!(rule, FieldRule::OneOf(_))) {
            self.rule(node, rule, path);
        }
    }

    fn rule(&mut self, node: &Node, rule: &FieldRule, path: &Path<'_>) {
        match (rule, &node.value) {
            (_, Value::Null | Value::Interpolated(_)) => {}
            (FieldRule::NotEmpty, Value::String(text)) if text.is_empty() => {
                self.error(node.span, format!("{path} is empty"), "");
            }
            (FieldRule::Unique(member), _) => self.unique(node, &[member], path),
            (FieldRule::Range(least, most), Value::Number(number)) => {
                let range = if *most == i64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
                if number.as_i64().is_none_or(|number| !(*least..=*most).contains(&number)) {
                    self.error(node.span, format!("{path} must be {range}, not {number}"), "");
                }
            }
            (FieldRule::Length(least, most), value) => {
                let (length, what) = match value {
                    Value::List(items) => (items.len(), "items"),
                    Value::String(text) => (text.len(), "characters"),
                    _ => return,
                };
                if !(*least..=*most).contains(&length) {
                    self.error(node.span, format!("{path} must have {least} to {most} {what}, not {length}"), "");
                }
            }
            (FieldRule::Port, Value::Number(number))
                if number.as_i64().is_none_or(|port| !(1..=65_535).contains(&port)) =>
            {
                self.error(node.span, format!("{path} must be a port, 1 to 65535, not {number}"), "");
            }
            (FieldRule::Port, Value::String(text)) if !is_port_name(text) => {
                let help = "write a number without quotes, or the name of a port of the container";
                self.error(
                    node.span,
                    format!("{path} must be a port or a port name, not \"{}\"", shown(text, SHOWN)),
                    help,
                );
            }
            (FieldRule::Is(format), Value::String(text)) => self.format(node, format, text, path),
            (FieldRule::NotNegative, Value::String(text)) if text.starts_with('-') => {
                self.error(node.span, format!("{path} cannot be negative"), "");
            }
            (FieldRule::Each(rule), Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.rule(item, rule, &path.item(index));
                }
            }
            (FieldRule::Stricter(rule), _) => self.rule(node, rule, path),
            (FieldRule::OneOf(words), _) => self.one_of(node, words, path),
            (FieldRule::Keys(format), Value::Map(entries)) => {
                for (key, _) in entries.iter().filter(|(key, _)| key.name.is_empty() || !(format.is_valid)(&key.name)) {
                    let message = format!("{path}: the key \"{}\" must be {}", shown(&key.name, SHOWN), format.what);
                    self.error(key.span, message, format.help);
                }
            }
            (FieldRule::Values(format), Value::Map(entries)) => {
                for (key, value) in entries {
                    if let Value::String(text) = &value.value {
                        self.format(value, format, text, &path.member(&key.name));
                    }
                }
            }
            (FieldRule::Member(name, rules), _) => self.member(node, name, rules, path),
            (FieldRule::Forbidden(place), _) => {
                self.error(node.span, format!("{path} cannot be set {place}"), "");
            }
            (FieldRule::Gate(gate), _) if !matches!(node.value, Value::Null) && !is_empty(node) => {
                self.gates.push(GateUse::of_field(node.span, path.to_string(), gate));
            }
            (FieldRule::WordGate(word, gate), value) => {
                let is_word = match value {
                    Value::String(text) => text == word,
                    Value::Number(number) => number.to_string() == *word,
                    _ => false,
                };
                if is_word {
                    self.gates.push(GateUse::of_word(node.span, &path.to_string(), word, gate));
                }
            }
            (FieldRule::Beyond(is_old, gate), Value::String(text)) if !text.is_empty() && !is_old(text) => {
                self.gates.push(GateUse::of_word(node.span, &path.to_string(), text, gate));
            }
            _ => {}
        }
    }

    fn member(&mut self, node: &Node, name: &str, rules: &[FieldRule], path: &Path<'_>) {
        let is_required = rules.iter().any(|rule| matches!(rule, FieldRule::Required));
        match node.get(name) {
            Some(member) if is_required && is_empty(member) => {
                self.error(member.span, format!("{} is empty", path.member(name)), "");
            }
            Some(member) => rules.iter().for_each(|rule| self.rule(member, rule, &path.member(name))),
            None if is_required => self.error(node.span, format!("{path} has no {name}"), ""),
            None => {}
        }
    }

    /// Checks a string of a template that is not a field of a Pod. `path` names it in messages.
    pub(crate) fn check_format(&mut self, node: &Node, format: &Format, path: &str) {
        if let Value::String(text) = &node.value {
            self.format(node, format, text, &Path::root(path));
        }
    }

    fn format(&mut self, node: &Node, format: &Format, text: &str, path: &Path<'_>) {
        if !text.is_empty() && !(format.is_valid)(text) {
            let message = format!("{path} must be {}, not \"{}\"", format.what, shown(text, SHOWN));
            self.error(node.span, message, format.help);
        }
    }

    fn one_of(&mut self, node: &Node, words: &[&str], path: &Path<'_>) {
        if let Value::String(text) = &node.value
            && !words.is_empty()
            && !words.contains(&text.as_str())
        {
            let of = if words.len() == 1 { "" } else { "one of " };
            let message = format!("{path} must be {of}{}, not \"{}\"", words.join(", "), shown(text, SHOWN));
            self.error(node.span, message, "");
        }
    }

    /// Reports items of a list with the same values in all of `keys`. Items with an unknown or empty one differ.
    fn unique(&mut self, node: &Node, keys: &[&str], path: &Path<'_>) {
        let Value::List(items) = &node.value else { return };
        if items.len() < 2 {
            return;
        }
        let mut seen = std::collections::HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let values = keys.iter().map(|key| item.text(key).filter(|text| !text.is_empty()));
            let Some(values) = values.collect::<Option<Vec<&str>>>() else { continue };
            let text = shown(&values.join(", "), SHOWN);
            if !seen.insert(values) {
                let message =
                    format!("{} has the same {} as another item: {text}", path.item(index), keys.join(" and "));
                self.error(item.span_of(keys[0]), message, "");
            }
        }
    }

    /// Checks the members of an object together. Each member has been checked alone.
    pub(super) fn object_rules(&mut self, node: &Node, object: &ObjectType, path: &Path<'_>) {
        for field in object.fields.iter().filter(|field| field.required) {
            if lacks(node, &field.name) {
                self.error(node.span, format!("{path} has no {}", field.name), "");
            }
        }
        for relation in &object.relations {
            self.relation(node, relation, object, path);
        }
    }

    fn relation(&mut self, node: &Node, relation: &Relation, object: &ObjectType, path: &Path<'_>) {
        match relation {
            Relation::Exactly(fields) => self.count(node, fields, (1, 1), path),
            Relation::AtMost(fields) => self.count(node, fields, (0, 1), path),
            Relation::AtLeast(fields) => self.count(node, fields, (1, usize::MAX), path),
            Relation::Only(fields) => self.only(node, fields, path),
            Relation::Idle(fields) => {
                if !fields.iter().any(|field| node.has_value(field)) {
                    let message = format!("{path} has none of {}, so it has no effect", fields.join(", "));
                    self.warnings.push(LocatedError::new(node.span, message, ""));
                }
            }
            Relation::OneBeside(name) => self.one_beside(node, name, object, path),
            Relation::Needs(field, is, other) => {
                if holds(node, field, *is) && lacks(node, other) {
                    self.error(node.span_of(field), format!("{} needs {other}", path.member(field)), "");
                }
            }
            Relation::Excludes(field, is, other) => {
                let is_known = node.get(other).is_some_and(Node::is_known);
                if holds(node, field, *is) && is_known && !lacks(node, other) {
                    let word = node.text(field).unwrap_or_default();
                    self.error(
                        node.span_of(other),
                        format!("{} cannot be set with the {field} {word}", path.member(other)),
                        "",
                    );
                }
            }
            Relation::Function(function) => {
                for (member, text) in (function.check)(node) {
                    self.error(node.span_of(member), format!("{path}{text}"), "");
                }
            }
        }
    }

    /// Reports the known members of an object that are not in `fields`. The message names the innermost first member.
    fn only(&mut self, node: &Node, fields: &[&str], path: &Path<'_>) {
        for (key, value) in node.entries().iter().filter(|(key, _)| !fields.contains(&key.name.as_str())) {
            if value.is_known() && !matches!(value.value, Value::Null) {
                let (mut inner, mut at) = (path.member(&key.name).to_string(), value);
                while let Some((step, next)) = first(at) {
                    inner.push_str(&step);
                    at = next;
                }
                let help = format!("only {} can be set here", fields.join(" and "));
                self.error(key.span, format!("{inner} cannot be set"), help);
            }
        }
    }

    /// Reports an object that has fewer or more of `fields` than `range`, ends included.
    fn count(&mut self, node: &Node, fields: &[&str], range: (usize, usize), path: &Path<'_>) {
        let is_set = |name: &&&str| node.has_value(name) && !node.get(name).is_some_and(is_empty);
        let set: Vec<&str> = fields.iter().filter(is_set).copied().collect();
        let known = set.iter().filter(|name| node.get(name).is_some_and(Node::is_known)).count();
        if set.len() < range.0 {
            let which = if range.1 == 1 { "exactly one" } else { "at least one" };
            self.error(node.span, format!("{path} has none of {}", fields.join(", ")), format!("set {which} of them"));
        } else if known > range.1 {
            self.error(node.span_of(set[1]), format!("{path} has more than one of {}", fields.join(", ")), "");
        }
    }

    /// Reports an object that has no known member beside `name`, or more than one. An unknown one can be newer than the
    /// table.
    fn one_beside(&mut self, node: &Node, name: &str, object: &ObjectType, path: &Path<'_>) {
        let mut known = Vec::new();
        let mut has_unknown = false;
        for (key, value) in node.entries().iter().filter(|(key, _)| key.name != name) {
            let is_null = matches!(value.value, Value::Null);
            match object.field(&key.name) {
                // A null result would drop its key.
                Some(_) if !value.is_known() => has_unknown = true,
                Some(_) if !is_null => known.push(key.name.as_str()),
                Some(_) => {}
                None => has_unknown = true,
            }
        }
        if known.len() > 1 {
            self.error(node.span_of(known[1]), format!("{path} has more than one source: {}", known.join(", ")), "");
        } else if known.is_empty() && !has_unknown {
            self.error(node.span, format!("{path} has no source"), "for example emptyDir: {}");
        }
    }
}

/// The first part of a list or map, and the step to it.
fn first(node: &Node) -> Option<(String, &Node)> {
    match &node.value {
        Value::List(items) => items.first().map(|item| ("[0]".to_owned(), item)),
        Value::Map(entries) => entries.first().map(|(key, value)| (format!(".{}", key.name), value)),
        _ => None,
    }
}

/// True if the member is absent or null.
fn lacks(node: &Node, member: &str) -> bool {
    node.get(member).is_none_or(|member| matches!(member.value, Value::Null))
}

/// True for an empty string or an empty list, which are unset values to the API server.
fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::String(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

/// True if `field` of `node` has the value. A value that is not known yet is not an error.
fn holds(node: &Node, field: &str, is: Is) -> bool {
    let Some(member) = node.get(field) else { return false };
    match (is, &member.value) {
        (Is::Set, _) => node.has_value(field) && !is_empty(member) && member.is_known(),
        (Is::Word("true"), Value::Bool(value)) => *value,
        (Is::Word(word), Value::String(text)) => text == word,
        (Is::Not(word), Value::String(text)) => text != word,
        _ => false,
    }
}
