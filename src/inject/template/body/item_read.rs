//! Reads one item of a template's lists: a container, a volume or a pull secret, checked and compiled to JSON. An item that
//! the API server would reject in every pod is rejected here, where the author of the template sees it. This module does not
//! know pods.

use serde_json::Value as Json;

use crate::inject::diagnostic::shown;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::names::{is_label, is_subdomain};
use crate::inject::kube::rules::{self, Violation};
use crate::inject::template::body::files;
use crate::inject::template::body::item::{Item, ItemKind, TakenNames, container_item, plain_item};

/// Fields that only containers which keep running may have.
const SIDECAR_ONLY: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];

/// Where an item is in its template.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// The list.
    pub(super) kind: ItemKind,
    /// The path of the item in messages, such as `sidecars[0]`.
    pub(super) path: &'p str,
    /// The beginning of the keys of annotations that carry the files of volumes.
    pub(super) files: &'p str,
}

/// Reads the item `node`. `names` collects the names that are taken. An item whose name only an expression gives has its
/// path as its name. `None` if the item has no name; then an error is reported.
pub(super) fn read(checker: &mut Checker, node: Node, place: Place<'_>, names: &mut TakenNames) -> Option<Item> {
    match place.kind {
        ItemKind::Volume => volume(checker, node, place, names),
        ItemKind::PullSecret => {
            let node = checked(checker, node, "LocalObjectReference", place.path);
            let name = required_name(checker, &node, place.path, names, is_subdomain)?;
            Some(plain_item(name, node.into_json()))
        }
        _ => container(checker, node, place, names),
    }
}

fn checked(checker: &mut Checker, mut node: Node, kind: &str, path: &str) -> Node {
    checker.check(&mut node, kind, path);
    node
}

fn volume(checker: &mut Checker, mut node: Node, place: Place<'_>, names: &mut TakenNames) -> Option<Item> {
    let path = place.path;
    let shared =
        node.get("shared").is_some_and(|node| checker.json(node, "boolean", &format!("{path}.shared")) == true);
    if node.get("files").is_some() {
        return files::volume(checker, node, place, names).map(|item| Item { shared, ..item });
    }
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|(key, _)| key.name != "shared");
    }
    let node = checked(checker, node, "Volume", path);
    let name = required_name(checker, &node, path, names, is_label)?;
    report(checker, path, rules::volume(&node));
    Some(Item { shared, ..plain_item(name, node.into_json()) })
}

fn container(checker: &mut Checker, node: Node, place: Place<'_>, names: &mut TakenNames) -> Option<Item> {
    let (kind, path) = (place.kind, place.path);
    let why = if kind == ItemKind::Init {
        "does not belong to an init container of a template; one that keeps running goes under `sidecars`"
    } else {
        "does not belong to a sidecar; `mode` says how sidecars run"
    };
    refuse_keys(checker, &node, &["restartPolicy"], why);
    if kind == ItemKind::Init {
        let why = "is refused by the API server in an init container that does not keep running";
        refuse_keys(checker, &node, &SIDECAR_ONLY, why);
    }
    let node = checked(checker, node, "Container", path);
    let name = required_name(checker, &node, path, names, is_label)?;
    if !node.has_value("image") {
        checker.error(node.span, format!("{path} (\"{}\") has no image", name_in_messages(&node)), "");
    }
    for (list, member) in
        [("volumeMounts", "name"), ("volumeMounts", "mountPath"), ("volumeDevices", "name"), ("env", "name")]
    {
        require_members(checker, &node, list, member, path);
    }
    report(checker, path, rules::container(&node));
    let mut value = node.into_json();
    if let (ItemKind::NativeSidecar, Json::Object(map)) = (kind, &mut value) {
        let behind = map.keys().position(|key| key == "image").map_or(0, |at| at + 1);
        map.shift_insert(behind, "restartPolicy".to_owned(), Json::from("Always"));
    }
    Some(container_item(name, value))
}

fn name_in_messages(node: &Node) -> &str {
    node.text("name").unwrap_or("?")
}

/// Reports rules of the API server that the object at `path` breaks.
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

/// Reports those of `keys` that the map has.
pub(super) fn refuse_keys(checker: &mut Checker, node: &Node, keys: &[&str], why: &str) {
    for (key, _) in node.entries().iter().filter(|(key, _)| keys.contains(&key.name.as_str())) {
        checker.error(key.span, format!("\"{}\" {why}", key.name), "");
    }
}

/// The name of an item, or its path if only an expression gives the name. `None` if there is no name; then an error is
/// reported, unless there is one already for the item.
pub(super) fn required_name(
    checker: &mut Checker,
    node: &Node,
    path: &str,
    names: &mut TakenNames,
    is_valid: fn(&str) -> bool,
) -> Option<String> {
    let Some(member) = node.get("name") else {
        match &node.value {
            Value::Map(_) => checker.error(node.span, format!("{path} has no name"), ""),
            Value::Null => checker.error(node.span, format!("{path} is empty"), ""),
            _ => {}
        }
        return None;
    };
    if !member.is_known() {
        return Some(path.to_owned());
    }
    let Value::String(name) = &member.value else { return None };
    if !is_valid(name) {
        let help = "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
        checker.error(member.span, format!("{path}.name is no valid name: \"{}\"", shown(name, 80)), help);
    }
    if !names.take(name) {
        let message = format!("the name \"{name}\" is taken by another item of the template");
        let help =
            "names are unique, those of containers over sidecars and initContainers, unless each item has an `if`";
        checker.error(member.span, message, help);
    }
    Some(name.clone())
}
