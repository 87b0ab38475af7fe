//! Typed access to the members of the nodes of a template document. The functions ignore members of other types.

use crate::inject::document::yaml::{Node, Value};

/// The items of the list `key`; empty if there is no such list.
pub(super) fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    match node.get(key).map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// The string `key`, if there is one.
pub(super) fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match node.get(key).map(|node| &node.value) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The strings in the list `key`, with their nodes.
pub(super) fn strings<'n>(node: &'n Node, key: &str) -> Vec<(&'n Node, &'n str)> {
    let string = |item: &'n Node| match &item.value {
        Value::String(text) => Some((item, text.as_str())),
        _ => None,
    };
    items(node, key).iter().filter_map(string).collect()
}

/// The value of a node that is an integer.
pub(super) fn integer(node: Option<&Node>) -> Option<i64> {
    match &node?.value {
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}
