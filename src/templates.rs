//! Reads template documents from files and folders: a document alone, or ConfigMap manifests with the
//! template label, several to a file. It knows file formats, not what templates mean.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::inject::diagnostic::{Diagnostic, Source};
use crate::inject::sources::{Holder, Sources, Text};
use crate::inject::yaml::{self, Node, Value};

/// The label of ConfigMaps that hold templates.
pub const LABEL: &str = "sidecar.io/template";

/// Reads everything under `paths` into `sources`, replacing what was read before.
pub fn read(paths: &[PathBuf], sources: &mut Sources) {
    load(&read_files(paths), sources);
}

/// Reads the files under `paths`, without looking into them. A folder is read one level deep, files
/// ending in `.yaml` or `.yml`.
#[must_use]
pub fn read_files(paths: &[PathBuf]) -> Vec<File> {
    paths.iter().flat_map(|path| files(path)).collect()
}

/// Makes `sources` hold exactly `files`. What cannot be read is a problem in `sources`.
pub fn load(files: &[File], sources: &mut Sources) {
    let mut seen = std::collections::BTreeSet::new();
    for file in files {
        let holder = Holder { created: String::new(), name: file.path.display().to_string() };
        seen.insert(holder.name.clone());
        match &file.text {
            Ok(text) => {
                let (texts, problems) = documents(&holder.name, &file.path, text);
                sources.set(&holder, texts, problems);
            }
            Err(why) => sources.set(&holder, Vec::new(), vec![Diagnostic::of_document(&holder.name, why)]),
        }
    }
    sources.retain(&seen);
}

/// A file as it was found.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    path: PathBuf,
    text: Result<String, String>,
}

fn files(path: &Path) -> Vec<File> {
    let read = |path: PathBuf| File {
        text: fs::read_to_string(&path).map_err(|error| format!("the file cannot be read: {error}")),
        path,
    };
    if !path.is_dir() {
        return vec![read(path.to_owned())];
    }
    match fs::read_dir(path) {
        Err(error) => {
            vec![File { path: path.to_owned(), text: Err(format!("the folder cannot be read: {error}")) }]
        }
        Ok(entries) => {
            let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
            paths.retain(|path| is_yaml(&path.to_string_lossy()) && path.is_file());
            paths.sort();
            paths.into_iter().map(read).collect()
        }
    }
}

fn is_yaml(name: &str) -> bool {
    [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending))
}

fn stem(name: &str) -> String {
    name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned()
}

/// The template documents of a file: the file itself, or those in its ConfigMap manifests.
fn documents(origin: &str, path: &Path, text: &str) -> (Vec<Text>, Vec<Diagnostic>) {
    if !mentions_config_map(text) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = Text {
            key: String::new(),
            origin: origin.to_owned(),
            default_name: stem(&name),
            text: text.to_owned(),
            lines_before: 0,
            columns_before: 0,
        };
        return (vec![text], Vec::new());
    }
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (lines_before, document) in split(text) {
        let source = Source { lines_before, ..Source::new(origin, document) };
        match yaml::parse(&source) {
            Ok(Node { value: Value::Null, .. }) => {}
            Ok(node) => config_map(&source, &node, &mut texts, &mut problems),
            Err(error) => problems.push(error),
        }
    }
    (texts, problems)
}

fn mentions_config_map(text: &str) -> bool {
    text.lines().any(|line| line.trim_end() == "kind: ConfigMap")
}

/// The documents of a YAML stream with the number of lines before each. As kubectl does it, a line
/// that begins with `---` separates.
#[must_use]
pub fn split(text: &str) -> Vec<(usize, &str)> {
    let (mut documents, mut from, mut first_line, mut at) = (Vec::new(), 0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            documents.push((first_line, &text[from..at]));
            (from, first_line) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    documents.push((first_line, &text[from..]));
    documents
}

/// Whether a line separates documents.
#[must_use]
pub fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty() || rest.starts_with([' ', '\t']))
}

fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
}

fn text_of(node: Option<&Node>) -> Option<&str> {
    match node.map(|node| &node.value) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn config_map(source: &Source<'_>, node: &Node, texts: &mut Vec<Text>, problems: &mut Vec<Diagnostic>) {
    let kind = text_of(get(node, "kind"));
    if kind != Some("ConfigMap") {
        let message = "beside ConfigMaps a file of templates holds only ConfigMaps";
        problems.push(source.error(node.span, message));
        return;
    }
    let metadata = get(node, "metadata");
    let label = metadata.and_then(|m| get(m, "labels")).and_then(|labels| get(labels, LABEL));
    if text_of(label) != Some("true") {
        let message = format!("this ConfigMap lacks the label {LABEL}: \"true\"");
        problems.push(source.error(node.span, message).help("without it the injector does not read it"));
        return;
    }
    let name = metadata.and_then(|metadata| text_of(get(metadata, "name"))).unwrap_or_default().to_owned();
    let Some(Node { value: Value::Map(data), .. }) = get(node, "data") else {
        problems.push(source.error(node.span, format!("ConfigMap {name} has no data")));
        return;
    };
    for (key, value) in data {
        let Some(text) = text_of(Some(value)).filter(|_| is_yaml(&key.name)) else {
            let message = format!("key {} of ConfigMap {name} does not end in .yaml or .yml and is not read", key.name);
            problems.push(source.error(key.span, message));
            continue;
        };
        // A literal block keeps its lines, so places in it are places in the file.
        let literal = source.text.lines().nth(key.span.line - 1).is_some_and(|line| line.contains(": |"));
        texts.push(Text {
            key: format!("{name}/{}", key.name),
            origin: if literal {
                source.origin.to_owned()
            } else {
                format!("{} ConfigMap {name} key {}", source.origin, key.name)
            },
            default_name: stem(&key.name),
            text: text.to_owned(),
            lines_before: if literal { source.lines_before + value.span.line - 1 } else { 0 },
            columns_before: if literal { value.span.column - 1 } else { 0 },
        });
    }
}

/// The template documents of a ConfigMap from the API server: `data` and the name of its holder.
#[must_use]
pub fn of_config_map(
    holder: &Holder,
    data: impl IntoIterator<Item = (String, String)>,
) -> (Vec<Text>, Vec<Diagnostic>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    for (key, text) in data {
        let origin = format!("{} key {key}", holder.name);
        if is_yaml(&key) {
            let default_name = stem(&key);
            texts.push(Text { key, origin, default_name, text, lines_before: 0, columns_before: 0 });
        } else {
            problems.push(Diagnostic::of_document(&origin, "the key does not end in .yaml or .yml and is not read"));
        }
    }
    if texts.is_empty() && problems.is_empty() {
        problems.push(Diagnostic::of_document(&holder.name, "it holds no template"));
    }
    (texts, problems)
}

/// Reads one document of a manifest as kubectl does.
///
/// # Errors
/// A diagnostic with the place.
pub fn manifest(origin: &str, lines_before: usize, text: &str) -> Result<Json, Diagnostic> {
    yaml::parse_manifest(&Source { lines_before, ..Source::new(origin, text) })
}
