//! Checks that the items of all lists share: names, paths, and keys that are not allowed.

use crate::inject::diagnostic::shown;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::paths;
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

/// Reports each of `keys` that the map `node` has. `why` completes the message after the key.
pub(super) fn refuse_keys(checker: &mut Checker, node: &Node, keys: &[&str], why: &str) {
    for (key, _) in node.entries().iter().filter(|(key, _)| keys.contains(&key.name.as_str())) {
        checker.error(key.span, format!("\"{}\" {why}", key.name), "");
    }
}

/// Reports an item without a name, or with one that is not valid. The rules of containers and volumes include this.
pub(super) fn check_name(checker: &mut Checker, node: &Node, path: &str, is_valid: fn(&str) -> bool) {
    match node.get("name") {
        None if matches!(node.value, Value::Map(_)) => checker.error(node.span, format!("{path} has no name"), ""),
        Some(Node { value: Value::String(name), span, .. }) if !is_valid(name) => {
            let help = "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
            checker.error(*span, format!("{path}.name is not a valid name: \"{}\"", shown(name, 80)), help);
        }
        _ => {}
    }
}

/// The name of an item, or its path if only an expression sets the name. `None` if there is no name. A name that
/// another item has is an error.
pub(super) fn take_name(checker: &mut Checker, node: &Node, path: &str, names: &mut TakenNames) -> Option<String> {
    let member = node.get("name")?;
    if !member.is_known() {
        return Some(path.to_owned());
    }
    let Value::String(name) = &member.value else { return None };
    if !names.take(name) {
        let message = format!("the name \"{name}\" is taken by another item of the template");
        let help =
            "names must be unique, for containers across sidecars and initContainers, unless each item has an `if`";
        checker.error(member.span, message, help);
    }
    Some(name.clone())
}

/// Reports mounts and devices of `node` at one path that is written differently, such as `/data` and `/data/`. The
/// runtime cleans the paths, so that one would hide the other. Equal texts are the business of the API server's rules.
pub(super) fn check_paths(checker: &mut Checker, node: &Node, path: &str) {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for (list, field) in [("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")] {
        for (index, item) in node.items(list).iter().enumerate() {
            let Some(text) = item.text(field) else { continue };
            let clean = paths::clean(text);
            if let Some((_, other)) = seen.iter().find(|(known, other)| *known == clean && *other != text) {
                let message = format!("{path}.{list}[{index}] uses the same path as \"{}\"", shown(other, 80));
                checker.error(item.span_of(field), message, "");
            }
            seen.push((clean.into_owned(), text));
        }
    }
}
