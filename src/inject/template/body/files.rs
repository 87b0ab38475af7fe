//! Volumes with `files`: small configuration files in the template, without an object in the pod's namespace. Each file
//! becomes an annotation of the pod, and a downwardAPI volume mounts it. The kubelet keeps that volume current
//! (`docs: tasks/inject-data-application/downward-api-volume-expose-pod-information`). This module does not know about
//! pods.

use serde_json::{Value as Json, json};

use crate::inject::diagnostic::shown;
use crate::inject::document::{Node, Value};
use crate::inject::kube::MAX_ANNOTATIONS;
use crate::inject::kube::checker::Checker;
use crate::inject::kube::names::{is_label, is_label_value};
use crate::inject::template::body::item::{Item, TakenNames, plain_item};
use crate::inject::template::body::item_checks::{Place, check_name, refuse_keys, take_name};

/// Reads a volume with `files`. `None` if it has no name or its `files` are not a map; then an error is reported.
pub(super) fn volume(checker: &mut Checker, mut node: Node, place: Place<'_>, names: &mut TakenNames) -> Option<Item> {
    let path = place.path;
    let own = ["name", "files", "shared"];
    let keys = node.entries().iter().map(|(key, _)| key.name.as_str());
    let other: Vec<&str> = keys.filter(|key| !own.contains(key)).collect();
    refuse_keys(checker, &node, &other, "cannot be combined with files");
    if let Value::Map(entries) = &mut node.value {
        for (_, name) in entries.iter_mut().filter(|(key, _)| key.name == "name") {
            checker.check(name, "string", &format!("{path}.name"));
        }
    }
    check_name(checker, &node, path, is_label);
    let name = take_name(checker, &node, path, names)?;
    let files = node.get("files")?;
    let Value::Map(entries) = &files.value else {
        checker.error(files.span, format!("{path}.files must be a map, not {}", files.value.kind()), "");
        return None;
    };
    if entries.is_empty() {
        checker.error(files.span, format!("{path}.files is empty"), "");
    }
    let (mut items, mut annotations, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (file, content) in entries {
        let key = format!("{name}.{}", file.name);
        // The part of an annotation key after the slash follows the same rules as a label value.
        if !is_label_value(&key) || file.name.starts_with('.') || file.name.is_empty() {
            let message = format!("\"{}\" is not a valid file name in the volume {name}", shown(&file.name, 80));
            let help = "VOLUME.FILE has at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends";
            checker.error(file.span, message, help);
        }
        let json = checker.json(content, "string", &format!("{path}.files.{}", file.name));
        let text = json.as_str().unwrap_or_default();
        bytes += text.len();
        let annotation = format!("{}{key}", place.files);
        items.push(
            json!({"path": file.name, "fieldRef": {"fieldPath": format!("metadata.annotations['{annotation}']")}}),
        );
        annotations.push((annotation, text.to_owned()));
    }
    if bytes > MAX_ANNOTATIONS {
        let message = format!("the files of {path} have {bytes} bytes; a pod's annotations may have {MAX_ANNOTATIONS}");
        checker.error(files.span, message, "use a ConfigMap");
    }
    let value: Json = json!({"name": name, "downwardAPI": {"items": items}});
    Some(Item { files: annotations, ..plain_item(name, value) })
}
