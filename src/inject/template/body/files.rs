//! Volumes of `files`: small configuration that a template brings along, without an object in the pod's namespace.
//! Each file travels as an annotation of the pod and appears through a downwardAPI volume, which the kubelet keeps
//! current (`docs: tasks/inject-data-application/downward-api-volume-expose-pod-information`).

use serde_json::{Value as Json, json};

use crate::inject::diagnostic::shown;
use crate::inject::document::yaml::{Node, Value};
use crate::inject::kube::names::{is_label, is_label_value};
use crate::inject::kube::types::{Checker, PENDING};
use crate::inject::template::body::item::{Item, Names, plain, refuse_keys, required_name};

/// All annotations of a pod together have at most this many bytes, so neither may the files of a volume.
const MAX_BYTES: usize = 256 * 1024;

/// Reads a volume with `files`; `keys` is what the keys of their annotations begin with.
pub(crate) fn volume(
    checker: &mut Checker<'_>,
    node: &Node,
    keys: &str,
    path: &str,
    names: &mut Names,
) -> Option<Item> {
    refuse_other_keys(checker, node);
    let found = json!({"name": node.get("name").map(|name| checker.json(name, "string", &format!("{path}.name")))});
    let name = required_name(checker, node, &found, path, names, is_label)?;
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
        // What stands behind the slash of an annotation's key follows the rules of a label's value.
        if !is_label_value(&key) || file.name.starts_with('.') || file.name.is_empty() {
            let message = format!("\"{}\" cannot be a file of the volume {name}", shown(&file.name, 80));
            let help = "VOLUME.FILE has at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends";
            checker.error(file.span, message, help);
        }
        let json = checker.json(content, "string", &format!("{path}.files.{}", file.name));
        let text = json.as_str().unwrap_or_default();
        let text = if text == PENDING { "" } else { text };
        bytes += text.len();
        let annotation = format!("{keys}{key}");
        items.push(
            json!({"path": file.name, "fieldRef": {"fieldPath": format!("metadata.annotations['{annotation}']")}}),
        );
        annotations.push((annotation, text.to_owned()));
    }
    if bytes > MAX_BYTES {
        let message = format!("the files of {path} have {bytes} bytes; a pod's annotations may have {MAX_BYTES}");
        checker.error(files.span, message, "use a ConfigMap");
    }
    let value: Json = json!({"name": name, "downwardAPI": {"items": items}});
    Some(Item { files: annotations, ..plain(name, value) })
}

fn refuse_other_keys(checker: &mut Checker<'_>, node: &Node) {
    let Value::Map(entries) = &node.value else { return };
    let own = ["name", "files", "shared"];
    let other: Vec<&str> = entries.iter().map(|(key, _)| key.name.as_str()).filter(|key| !own.contains(key)).collect();
    refuse_keys(checker, node, &other, |_| "does not go with files");
}
