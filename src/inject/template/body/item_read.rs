//! Reads one item of a template's lists: a container, a volume or a pull secret, checked and compiled to JSON. An item
//! that the API server would reject in every pod is rejected here, so that the author of the template sees the error.
//! This module does not know about pods.

use serde_json::Value as Json;

use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::names::{is_label, is_subdomain};
use crate::inject::kube::rules;
use crate::inject::template::body::files;
use crate::inject::template::body::item::{Item, ItemKind, TakenNames, container_item, plain_item};
use crate::inject::template::body::item_checks::{
    Place, can_be_map, refuse_keys, report, require_members, required_name,
};

/// Fields that only containers that keep running can have.
const SIDECAR_ONLY: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];

/// Reads the item `node`. `names` collects the names that are taken. If only an expression sets the name, the item has
/// its path as its name. `None` if the item has no name; then an error is reported.
pub(super) fn read(checker: &mut Checker, node: Node, place: Place<'_>, names: &mut TakenNames) -> Option<Item> {
    if !can_be_map(checker, &node, place.path) {
        return None;
    }
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
        "is not allowed in an init container of a template; `sidecars` adds containers that keep running"
    } else {
        "is not allowed in a sidecar; `mode` sets how sidecars run"
    };
    refuse_keys(checker, &node, &["restartPolicy"], why);
    if kind == ItemKind::Init {
        let why = "is rejected by the API server in an init container that does not keep running";
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
