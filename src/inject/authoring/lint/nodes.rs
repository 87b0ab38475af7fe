//! Lists of strings in a template document.

use crate::inject::document::{Node, Value};

/// The strings in the list `key`, with their nodes.
pub(super) fn strings<'n>(node: &'n Node, key: &str) -> Vec<(&'n Node, &'n str)> {
    let string = |item: &'n Node| match &item.value {
        Value::String(text) => Some((item, text.as_str())),
        _ => None,
    };
    node.items(key).iter().filter_map(string).collect()
}
