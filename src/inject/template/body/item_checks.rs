//! Checks that the items of all lists share: names, required members, and keys that are not allowed.

use crate::inject::diagnostic::shown;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::rules::Violation;
use crate::inject::template::body::item::{ItemKind, TakenNames};

/// The place of an item in its template.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// The list.
    pub(super) kind: ItemKind,
    /// The path of the item in messages, such as `sidecars[0]`.
    pub(super) path: &'p str,
    /// The prefix of the keys of annotations that contain the files of volumes.
    pub(super) files: &'p str,
}

/// Returns true if an item can be a map: it is one, or an expression returns it. Otherwise, an error is reported.
pub(super) fn can_be_map(checker: &mut Checker, node: &Node, path: &str) -> bool {
    match &node.value {
        Value::Map(_) | Value::Interpolated(_) => return true,
        Value::Null => checker.error(node.span, format!("{path} is empty"), ""),
        other => checker.error(node.span, format!("{path} must be a map, not {}", other.kind()), ""),
    }
    false
}

/// Reports the rules of the API server that the object at `path` breaks.
pub(super) fn report(checker: &mut Checker, path: &str, violations: Vec<Violation>) {
    for violation in violations {
        checker.error(violation.span, format!("{path}{}", violation.text), "");
    }
}

/// Reports the first item of the list `list` that has no `member`.
pub(super) fn require_members(checker: &mut Checker, node: &Node, list: &str, member: &str, path: &str) {
    if let Some(index) = node.items(list).iter().position(|item| !item.has_value(member)) {
        checker.error(node.span_of(list), format!("{path}.{list}[{index}] has no {member}"), "");
    }
}

/// Reports each of `keys` that the map `node` has. `why` completes the message after the key.
pub(super) fn refuse_keys(checker: &mut Checker, node: &Node, keys: &[&str], why: &str) {
    for (key, _) in node.entries().iter().filter(|(key, _)| keys.contains(&key.name.as_str())) {
        checker.error(key.span, format!("\"{}\" {why}", key.name), "");
    }
}

/// The name of an item, or its path if only an expression sets the name. `None` if there is no name; then an error is
/// reported, unless the item already has one.
pub(super) fn required_name(
    checker: &mut Checker,
    node: &Node,
    path: &str,
    names: &mut TakenNames,
    is_valid: fn(&str) -> bool,
) -> Option<String> {
    let Some(member) = node.get("name") else {
        if let Value::Map(_) = node.value {
            checker.error(node.span, format!("{path} has no name"), "");
        }
        return None;
    };
    if !member.is_known() {
        return Some(path.to_owned());
    }
    let Value::String(name) = &member.value else { return None };
    if !is_valid(name) {
        let help = "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
        checker.error(member.span, format!("{path}.name is not a valid name: \"{}\"", shown(name, 80)), help);
    }
    if !names.take(name) {
        let message = format!("the name \"{name}\" is taken by another item of the template");
        let help =
            "names must be unique, for containers across sidecars and initContainers, unless each item has an `if`";
        checker.error(member.span, message, help);
    }
    Some(name.clone())
}
