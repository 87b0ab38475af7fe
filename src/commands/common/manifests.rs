//! Reads the manifests of commands from files, folders and stdin, and splits them into documents. The text of each
//! document is kept, so that an unchanged document can be written byte for byte. The module does not decide on pods.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::Value;

use crate::commands::failure::Failure;
use crate::inject::diagnostic::shown;
use crate::manifest::template_files;
use crate::manifest::workload::PodTemplate;

/// One document of the input.
pub(in crate::commands) struct Document<'t> {
    /// The separator before the document; empty for the first.
    pub(in crate::commands) separator: &'t str,
    /// The text as read.
    pub(in crate::commands) text: &'t str,
    /// The patched document; `None` if nothing changed.
    pub(in crate::commands) changed: Option<Value>,
    /// The document as read.
    pub(in crate::commands) value: Value,
    /// The operations of the JSON Patch that changed it.
    pub(in crate::commands) patch: Vec<Value>,
}

/// A file that was read.
pub(in crate::commands) struct ManifestFile {
    /// The path, or `stdin`.
    pub(in crate::commands) name: String,
    /// The text of the file.
    pub(in crate::commands) text: String,
}

/// The documents of a file. Adds an error to `problems` for each document that is not valid YAML.
pub(in crate::commands) fn documents<'f>(file: &'f ManifestFile, problems: &mut String) -> Vec<Document<'f>> {
    let mut documents = Vec::new();
    for (separator, lines, text) in split(&file.text) {
        match template_files::manifest(&file.name, lines, text) {
            Ok(value) => documents.push(Document { separator, text, changed: None, value, patch: Vec::new() }),
            Err(error) => {
                let _ = writeln!(problems, "{error}");
            }
        }
    }
    documents
}

/// The paths of the files in `paths`, with each folder replaced by the files that kubectl reads from it: those with the
/// extension `.yaml`, `.yml` or `.json`, one level deep, sorted.
///
/// # Errors
/// A folder that cannot be read.
pub(in crate::commands) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).with_context(|| format!("failed to read {}", path.display()))?;
        let is_manifest = |path: &PathBuf| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            path.is_file() && matches!(ending, Some("yaml" | "yml" | "json"))
        };
        let mut found: Vec<PathBuf> =
            entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_manifest).collect();
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Reads a file, or stdin for the path `-`.
///
/// # Errors
/// A file that cannot be read or is not UTF-8.
pub(in crate::commands) fn read(file: &PathBuf) -> anyhow::Result<ManifestFile> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("failed to read stdin")?;
        return Ok(ManifestFile { name: "stdin".to_owned(), text });
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {name}"))?;
    Ok(ManifestFile { name, text })
}

/// The documents of a file: for each, the separator before it, the number of lines before its text, and the text.
fn split(text: &str) -> Vec<(&str, usize, &str)> {
    let mut end = 0;
    let parts = template_files::split(text);
    let separated = parts.into_iter().map(|(lines, part)| {
        let from = part.as_ptr() as usize - text.as_ptr() as usize;
        let separator = &text[end..from];
        end = from + part.len();
        (separator, lines, part)
    });
    separated.collect()
}

/// `KIND/NAME` of the object that contains the pod: the document, or an item of a list.
pub(in crate::commands) fn describe(document: &Value, pod: &PodTemplate) -> String {
    let object = document.pointer(&pod.object).unwrap_or(document);
    let kind = object["kind"].as_str().unwrap_or("pod").to_lowercase();
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or("(without name)");
    shown(&format!("{kind}/{name}"), 320)
}

/// A warning, if a workload has the annotation `request`, which only has an effect on pods.
pub(in crate::commands) fn on_the_wrong_object(document: &Value, pod: &PodTemplate, request: &str) -> Option<String> {
    if pod.object == pod.embedding.pointer {
        return None;
    }
    let object = document.pointer(&pod.object).unwrap_or(document);
    let outer = [&object["metadata"], &object["spec"]["jobTemplate"]["metadata"]];
    let is_there = outer.iter().any(|metadata| !metadata["annotations"][request].is_null());
    is_there.then(|| format!("{request} has no effect there; move it to the pod template's annotations"))
}
