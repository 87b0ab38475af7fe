//! Reads one item of a template's lists: a container, a volume or a pull secret, checked and compiled to JSON. An item
//! that the API server would reject in every pod is rejected here, so that the author of the template sees the error.
//! This module does not know about pods.

use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::gates::{self, GateUse};
use crate::inject::kube::names::is_subdomain;
use crate::inject::template::body::files;
use crate::inject::template::body::item::{Crossing, Item, ItemKind, TakenNames, container_item, plain_item};
use crate::inject::template::body::item_checks::{Place, can_be_map, check_name, check_paths, refuse_keys, take_name};

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
            check_name(checker, &node, place.path, is_subdomain);
            let name = take_name(checker, &node, place.path, names)?;
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
    let name = take_name(checker, &node, path, names)?;
    let value = node.into_json();
    Some(Item { shared, crossing: Crossing::of_volume(&value), ..plain_item(name, value) })
}

fn container(checker: &mut Checker, mut node: Node, place: Place<'_>, names: &mut TakenNames) -> Option<Item> {
    let (kind, path) = (place.kind, place.path);
    let keeps_running = |node: &Node| node.text("restartPolicy") == Some("Always");
    if kind == ItemKind::Init {
        let why =
            "Always is not allowed in an init container of a template; `sidecars` adds containers that keep running";
        let span = node.span_of("restartPolicy");
        if keeps_running(&node) {
            checker.error(span, format!("\"restartPolicy\": {why}"), "");
        }
    } else {
        refuse_keys(checker, &node, &["restartPolicy"], "is not allowed in a sidecar; `mode` sets how sidecars run");
    }
    if kind == ItemKind::NativeSidecar {
        node.insert_behind("image", "restartPolicy", Value::String("Always".to_owned()));
    }
    let node = checked(checker, node, if kind == ItemKind::Init { "InitContainer" } else { "Container" }, path);
    if let Some(rules) = node.get("restartPolicyRules").filter(|_| kind == ItemKind::NativeSidecar)
        && !node.items("restartPolicyRules").is_empty()
    {
        // A container that keeps running may have rules only since it may also restart all containers.
        let what = format!("{path}.restartPolicyRules");
        checker.gates.push(GateUse::of_field(rules.span, what, &gates::RESTART_ALL));
    }
    let name = take_name(checker, &node, path, names)?;
    check_paths(checker, &node, path);
    Some(container_item(name, node.into_json()))
}
