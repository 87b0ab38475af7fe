//! Reads template documents from files and folders. A file contains one template document, or any number of ConfigMap
//! manifests with the template label. The module knows file formats. It does not know what templates mean.

use crate::inject::catalog::holder::{FoundDocuments, Holder, HolderId, TemplateText, not_read, template_name};
use crate::inject::catalog::sources::Sources;
use crate::inject::diagnostic::{Diagnostic, Source};
use crate::inject::document::{Node, Value, yaml};
use crate::inject::settings::keys::Keys;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// Reads the files and folders `paths` into `sources`. They replace the files that `sources` contained.
pub fn read(paths: &[PathBuf], sources: &mut Sources) {
    load(&read_files(paths), sources);
}

/// Reads the text of the files and folders `paths`, without parsing it. In a folder, only files with the extension
/// `.yaml` or `.yml` are read, one level deep. A file that `paths` names twice is read once.
#[must_use]
pub fn read_files(paths: &[PathBuf]) -> Vec<TemplateFile> {
    let mut seen = BTreeSet::new();
    paths.iter().flat_map(|path| files(path)).filter(|file| seen.insert(file.path.clone())).collect()
}

/// Replaces the files in `sources` by `files`. A file or folder that cannot be read becomes an error in `sources`, and
/// its earlier documents are kept.
pub fn load(files: &[TemplateFile], sources: &mut Sources) {
    for file in files {
        let holder = Holder::file(&file.path);
        let found = found(file, sources.keys());
        sources.set(&holder, found);
    }
    let unreadable = || files.iter().filter(|file| file.text.is_err());
    sources.retain(|id| match id {
        HolderId::File(path) => {
            let path = Path::new(path);
            let is_in = |folder: &TemplateFile| path.parent() == Some(&folder.path);
            files.iter().any(|file| file.path == path) || unreadable().any(is_in)
        }
        HolderId::ConfigMap { .. } => true,
    });
}

/// The template documents of a file, in an installation with these `keys`. Errors are in the result.
#[must_use]
pub fn found(file: &TemplateFile, keys: &Keys) -> FoundDocuments {
    let origin = file.path.display().to_string();
    match &file.text {
        Ok(text) => documents(&origin, &file.path, text, keys),
        Err(why) => {
            let errors = vec![Diagnostic::of_document(&origin, why)];
            FoundDocuments { errors, incomplete: true, ..FoundDocuments::default() }
        }
    }
}

/// The text of a file, or the error of a file or folder that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFile {
    path: PathBuf,
    text: Result<String, String>,
}

fn files(path: &Path) -> Vec<TemplateFile> {
    let read = |path: PathBuf| TemplateFile {
        text: fs::read_to_string(&path).map_err(|error| format!("the file cannot be read: {error}")),
        path,
    };
    if !path.is_dir() {
        return vec![read(path.to_owned())];
    }
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        // A broken symbolic link is a file that was deleted.
        paths.retain(|path| template_name(&path.to_string_lossy()).is_some() && path.exists() && !path.is_dir());
        paths.sort();
        Ok(paths)
    };
    match list() {
        Ok(paths) => paths.into_iter().map(read).collect(),
        Err(error) => {
            vec![TemplateFile { path: path.to_owned(), text: Err(format!("the folder cannot be read: {error}")) }]
        }
    }
}

/// The template documents of a file: the file itself, or the documents in its ConfigMap manifests.
fn documents(origin: &str, path: &Path, text: &str, keys: &Keys) -> FoundDocuments {
    let mut found = FoundDocuments::default();
    // Only lines without indentation count. Indented lines belong to the text of a template.
    if !text.lines().any(|line| (line.starts_with("kind") || line.starts_with('{')) && is_kind_config_map(line)) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        found.texts.push(TemplateText {
            key: String::new(),
            origin: origin.to_owned(),
            default_name: template_name(&name).unwrap_or(&name).to_owned(),
            text: text.to_owned(),
            ..TemplateText::default()
        });
        return found;
    }
    for (lines_before, document) in split(text) {
        let source = Source { lines_before, ..Source::new(origin, document) };
        match yaml::parse(&source) {
            Ok(Node { value: Value::Null, .. }) => {}
            Ok(node) => manifest_document(&source, &node, keys, &mut found),
            Err(error) => {
                found.errors.push(error);
                found.incomplete = true;
            }
        }
    }
    found
}

/// Returns true if a line contains `kind: ConfigMap`, or the kind of a list, in block or flow style.
fn is_kind_config_map(line: &str) -> bool {
    let Some(at) = line.find("kind") else { return false };
    let value = line[at + "kind".len()..].trim_start_matches(['"', '\'', ' ']).strip_prefix(':').unwrap_or_default();
    let value = value.trim_start_matches([' ', '"', '\'']);
    let kinds = ["ConfigMapList", "ConfigMap", "List"];
    kinds
        .iter()
        .any(|kind| value.strip_prefix(kind).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric())))
}

/// Reads a document of a file with ConfigMaps: a ConfigMap or a list of them. Any other object is an error.
fn manifest_document(source: &Source<'_>, node: &Node, keys: &Keys, found: &mut FoundDocuments) {
    match (text_of(node.get("kind")), node.get("items").map(|items| &items.value)) {
        (Some("ConfigMap"), _) => config_map(source, node, keys, found),
        (Some("List" | "ConfigMapList"), Some(Value::List(items))) => {
            for item in items {
                config_map(source, item, keys, found);
            }
        }
        _ => found.errors.push(source.error(node.span, "a template file with a ConfigMap can contain only ConfigMaps")),
    }
}

/// The documents of a YAML stream, each with the number of lines before it. A line that begins with `---` separates two
/// documents; the rest of that line belongs to the second.
#[must_use]
pub fn split(text: &str) -> Vec<(usize, &str)> {
    let (mut documents, mut from, mut first_line, mut at) = (Vec::new(), 0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if let Some(rest) =
            line.strip_prefix("---").filter(|rest| rest.starts_with(char::is_whitespace) || rest.is_empty())
        {
            documents.push((first_line, &text[from..at]));
            let blank = rest.trim().is_empty();
            from = at + if blank { line.len() } else { "---".len() };
            first_line = number + usize::from(blank);
        }
        at += line.len();
    }
    documents.push((first_line, &text[from..]));
    documents
}

fn text_of(node: Option<&Node>) -> Option<&str> {
    match node.map(|node| &node.value) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

fn config_map(source: &Source<'_>, node: &Node, keys: &Keys, found: &mut FoundDocuments) {
    let metadata = node.get("metadata");
    let label = metadata.and_then(|metadata| metadata.get("labels")).and_then(|labels| labels.get(&keys.template));
    if text_of(label) != Some("true") {
        let message = format!("this ConfigMap lacks the label {}: \"true\"", keys.template);
        let help = "without this label, the injector does not read the ConfigMap";
        found.errors.push(source.error(node.span, message).help(help));
        return;
    }
    let name = metadata.and_then(|metadata| text_of(metadata.get("name"))).unwrap_or_default().to_owned();
    let namespace = metadata.and_then(|metadata| text_of(metadata.get("namespace")));
    let Some(Node { value: Value::Map(data), .. }) = node.get("data") else {
        found.errors.push(source.error(node.span, format!("ConfigMap {name} has no data")));
        return;
    };
    for (key, value) in data {
        let Some(text) = text_of(Some(value)).filter(|_| template_name(&key.name).is_some()) else {
            found.warnings.push(source.error(key.span, not_read(&key.name)).warning());
            continue;
        };
        // A literal block keeps its lines, so that places in it can be converted to places in the file.
        let line = source.text.lines().nth(key.span.line - 1).unwrap_or_default();
        let behind_key = line.chars().skip(key.span.column - 1 + key.span.length).collect::<String>();
        let literal = behind_key.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':').map(str::trim_start);
        let literal = literal.is_some_and(|value| value.starts_with('|'));
        found.texts.push(TemplateText {
            key: format!("{name}/{}", key.name),
            origin: if literal {
                source.origin.to_owned()
            } else {
                format!("{} ConfigMap {name} key {}", source.origin, key.name)
            },
            default_name: template_name(&key.name).unwrap_or(&key.name).to_owned(),
            namespace: namespace.map(str::to_owned),
            text: text.to_owned(),
            lines_before: if literal { source.lines_before + key.span.line } else { 0 },
            columns_before: if literal { indentation(source, key.span.line) } else { 0 },
        });
    }
}

/// The indentation, in columns, of a block that begins after `line`: that of its first non-empty line.
fn indentation(source: &Source<'_>, line: usize) -> usize {
    let first = source.text.lines().skip(line).find(|line| !line.trim().is_empty()).unwrap_or_default();
    first.len() - first.trim_start_matches(' ').len()
}

/// Reads one document of a manifest as kubectl does. `origin` is the name of the file, and `lines_before` is the number
/// of lines in it before `text`.
///
/// # Errors
/// A diagnostic with the place, if the text is not valid YAML or repeats a key.
pub fn manifest(origin: &str, lines_before: usize, text: &str) -> Result<Json, Diagnostic> {
    yaml::parse_manifest(&Source { lines_before, ..Source::new(origin, text) })
}
