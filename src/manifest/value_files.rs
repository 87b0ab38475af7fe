//! Reads shared values (`values.KEY` in expressions) from flat maps of strings or ConfigMaps, and namespaces from
//! manifests. The module does not know how they are used.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::inject::catalog::namespaces::Namespace;
use crate::inject::diagnostic::Diagnostic;
use crate::manifest::template_files;

/// Reads the shared values in a file: the `data` of a ConfigMap, or a map of `KEY: VALUE`.
///
/// # Errors
/// A diagnostic, if the file cannot be read or is not a map of strings.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, Diagnostic> {
    let origin = path.display().to_string();
    let wrong = |why: String| Diagnostic::of_document(&origin, why);
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
    let document = template_files::manifest(&origin, 0, &text)?;
    let map = if document["kind"] == "ConfigMap" { &document["data"] } else { &document };
    let Some(map) = map.as_object() else { return Err(wrong("values must be a map of strings".to_owned())) };
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        _ => Err(wrong(format!("the value of {key} must be a string")).help("write it in quotes")),
    };
    map.iter().map(text).collect()
}

/// The name, labels and annotations of the namespace in a manifest; `None` if the manifest is not a Namespace.
#[must_use]
pub fn namespace(document: &Value) -> Option<(String, Namespace)> {
    if document["kind"] != "Namespace" || document["apiVersion"] != "v1" {
        return None;
    }
    let map = |key: &str| -> BTreeMap<String, String> {
        let entries = document["metadata"][key].as_object().into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    };
    let name = document["metadata"]["name"].as_str()?;
    Some((name.to_owned(), Namespace::new(name, map("labels"), map("annotations"))))
}
