//! Reads shared values (`values.KEY` in expressions) and namespaces from files: flat maps of strings and manifests.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::inject::catalog::namespaces::Namespace;
use crate::inject::diagnostic::Diagnostic;
use crate::manifest::template_files;

/// The values in a file: a ConfigMap's `data`, or the whole as `KEY: VALUE`.
///
/// # Errors
/// When the file cannot be read or is no map of strings.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, Diagnostic> {
    let origin = path.display().to_string();
    let wrong = |why: String| Diagnostic::of_document(&origin, why);
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let document = template_files::manifest(&origin, 0, &text)?;
    let map = if document["kind"] == "ConfigMap" { &document["data"] } else { &document };
    let Some(map) = map.as_object() else { return Err(wrong("values are a map of strings".to_owned())) };
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone())),
        _ => Err(wrong(format!("the value of {key} must be a string")).help("write it in quotes")),
    };
    map.iter().map(text).collect()
}

/// The namespace that a manifest is, with its name.
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
