//! A document as a tree of nodes, each with its place in the text. [`yaml`] reads such trees, and templates are
//! compiled from them. The module owns nodes, places, scalars and compiled expressions. It does not know what a
//! document means.

pub mod yaml;

use std::sync::Arc;

use serde_json::{Number, Value as Json};

use crate::inject::diagnostic::Span;
use crate::inject::expr::Interpolation;

/// A value of a document, with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The place where it is used.
    pub span: Span,
    /// The scalar as written in the text, with its quotes; for an alias, the scalar at the anchor. `None` for lists,
    /// maps and values without a text.
    pub written: Option<String>,
}

/// The value of a node. Maps keep the order of the text.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~` or an empty value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer or a float.
    Number(Number),
    /// A string.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Map(Vec<(Key, Node)>),
    /// A string with compiled expressions. Its value is unknown until they are evaluated for a pod.
    Interpolated(Arc<Interpolation>),
}

/// A key of a mapping with its place.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key.
    pub name: String,
    /// The place of the key.
    pub span: Span,
}

impl Node {
    /// Creates a node for a value without a text, such as the result of an expression at `span`. All parts get `span`.
    #[must_use]
    pub fn of_json(json: &Json, span: Span) -> Self {
        let node = |json| Self::of_json(json, span);
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => Value::Number(number.clone()),
            Json::String(text) => Value::String(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(node).collect()),
            Json::Object(map) => {
                Value::Map(map.iter().map(|(key, value)| (Key { name: key.clone(), span }, node(value))).collect())
            }
        };
        Self { value, span, written: None }
    }

    /// The node as JSON. Members and list items with an unknown value are omitted; a node with an unknown value is
    /// null.
    #[must_use]
    pub fn into_json(self) -> Json {
        match self.value {
            Value::Null | Value::Interpolated(_) => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Number(number) => Json::Number(number),
            Value::String(text) => Json::String(text),
            Value::List(items) => Json::Array(items.into_iter().filter(Self::is_known).map(Self::into_json).collect()),
            Value::Map(entries) => {
                let known = entries.into_iter().filter(|(_, node)| node.is_known());
                Json::Object(known.map(|(key, node)| (key.name, node.into_json())).collect())
            }
        }
    }

    /// The node as JSON, with expressions as written, such as `${params.port}`.
    #[must_use]
    pub fn source_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::String(text) => Json::from(text.as_str()),
            Value::Interpolated(text) => Json::from(text.source()),
            Value::List(items) => Json::Array(items.iter().map(Self::source_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(key, value)| (key.name.clone(), value.source_json())).collect())
            }
        }
    }

    /// True unless the value depends on an expression.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self.value, Value::Interpolated(_))
    }

    /// The member `name` of a map; `None` for any other value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The place of a member, or of the whole node if there is no such member.
    #[must_use]
    pub fn span_of(&self, name: &str) -> Span {
        self.get(name).map_or(self.span, |member| member.span)
    }

    /// The entries of a map; none for any other value.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A copy of a map with only these members.
    #[must_use]
    pub fn only(&self, members: &[&str]) -> Self {
        let kept = self.entries().iter().filter(|(key, _)| members.contains(&key.name.as_str())).cloned().collect();
        Self { value: Value::Map(kept), span: self.span, written: None }
    }

    /// Inserts a member into a map, behind the member `other`, or first without it.
    pub fn insert_behind(&mut self, other: &str, name: &str, value: Value) {
        let span = self.span;
        if let Value::Map(entries) = &mut self.value {
            let at = entries.iter().position(|(key, _)| key.name == other).map_or(0, |at| at + 1);
            entries.insert(at, (Key { name: name.to_owned(), span }, Self { value, span, written: None }));
        }
    }

    /// True for a map with at least one entry.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        !self.entries().is_empty()
    }

    /// The items of the list `name` of a map; none if there is no such list.
    #[must_use]
    pub fn items(&self, name: &str) -> &[Self] {
        match self.get(name).map(|node| &node.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The string `name` of a map, if its value is known.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name).map(|node| &node.value) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The integer `name` of a map, if its value is known.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name).map(|node| &node.value) {
            Some(Value::Number(number)) => number.as_i64(),
            _ => None,
        }
    }

    /// True if the map has a member `name` that is neither null nor the empty string. An expression counts as a value.
    #[must_use]
    pub fn has_value(&self, name: &str) -> bool {
        match self.get(name).map(|node| &node.value) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }
}

impl Value {
    /// The kind of value with its article, for messages: "a string", "an integer".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(number) if number.is_f64() => "a number",
            Self::Number(_) => "an integer",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Interpolated(_) => "text with an expression",
        }
    }
}
