//! `inject`: manifests in, manifests with sidecars out. Documents without a change come out byte for
//! byte; if anything is refused, nothing is written.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::shown;
use crate::inject::pod::{Pod, Text};
use crate::inject::review::{Request, Target};
use crate::inject::sources::Sources;
use crate::inject::{self, Decision, Settings, Verdict, yaml};
use crate::templates;
use crate::workload::{PodTemplate, pod_templates};

/// Arguments of `inject`.
#[derive(Args, Debug)]
pub(super) struct InjectArgs {
    /// Manifest to read, or - for stdin (repeatable)
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File or folder of templates (repeatable)
    #[arg(long, value_name = "PATH", required = true, env = "SIDECAR_INJECTOR_TEMPLATES", value_delimiter = ',')]
    templates: Vec<PathBuf>,
    /// Namespace of manifests that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// What to write
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// The manifests
    Yaml,
    /// The manifests as JSON, several as a List
    Json,
    /// One line per changed document with its JSON Patch
    Patch,
}

/// One document of the input.
struct Document<'t> {
    /// The separator line before it, if any.
    separator: &'t str,
    text: &'t str,
    /// The document after the patch, if it changed.
    changed: Option<Value>,
    value: Value,
    patch: Vec<Value>,
}

/// Runs the command.
pub(super) fn run(args: &InjectArgs) -> Result<(), Failure> {
    let InjectArgs { files, templates, namespace, output } = args;
    let catalog = load(templates)?;
    let (mut out, mut problems, mut notes) = (String::new(), String::new(), String::new());
    let (mut values, mut unread) = (Vec::new(), None);
    for file in manifest_files(files)? {
        let (name, text) = match read(&file) {
            Ok(read) => read,
            // The others are looked at all the same: one run tells everything.
            Err(error) => {
                unread.get_or_insert(error);
                continue;
            }
        };
        let mut documents = Vec::new();
        for (separator, lines, text) in split(&text) {
            let value = match templates::manifest(&name, lines, text) {
                Ok(value) => value,
                Err(error) => {
                    let _ = writeln!(problems, "{error}");
                    continue;
                }
            };
            let mut document = Document { separator, text, changed: None, value, patch: Vec::new() };
            inject_document(&mut document, &catalog, namespace, &name, &mut problems, &mut notes)?;
            documents.push(document);
        }
        match output {
            Output::Yaml => write_yaml(&mut out, &documents)?,
            Output::Json => values.extend(documents.into_iter().map(Document::value).filter(|value| !value.is_null())),
            Output::Patch => write_patches(&mut out, &documents),
        }
    }
    eprint!("{notes}");
    if let Some(error) = unread {
        eprint!("{problems}");
        return Err(Failure::Io(error));
    }
    if !problems.is_empty() {
        return Err(Failure::Found(problems));
    }
    if let Output::Json = output {
        let value = match values.len() {
            1 => values.remove(0),
            _ => json!({"apiVersion": "v1", "kind": "List", "items": values}),
        };
        out = serde_json::to_string_pretty(&value).context("failed to write JSON")? + "\n";
    }
    std::io::stdout().write_all(out.as_bytes()).context("failed to write to stdout")?;
    Ok(())
}

/// The files themselves, and of folders what kubectl reads of them: the manifests one level deep.
fn manifest_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
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

fn load(paths: &[PathBuf]) -> Result<Catalog, Failure> {
    let mut sources = Sources::default();
    templates::read(paths, &mut sources);
    let published = sources.catalog();
    for warning in &published.warnings {
        eprintln!("{warning}");
    }
    if published.errors.is_empty() {
        return Ok(published.catalog);
    }
    let missing = paths.iter().find(|path| !path.exists());
    if let Some(path) = missing {
        return Err(Failure::Io(anyhow!("{}: no such file or folder", path.display())));
    }
    let errors: Vec<String> = published.errors.iter().map(ToString::to_string).collect();
    Err(Failure::Found(errors.join("\n")))
}

fn read(file: &PathBuf) -> anyhow::Result<(String, String)> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("failed to read stdin")?;
        return Ok(("stdin".to_owned(), text));
    }
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {name}"))?;
    Ok((name, text))
}

/// The documents with the separator line before each and the number of lines before their text.
fn split(text: &str) -> Vec<(&str, usize, &str)> {
    let mut end = 0;
    let parts = templates::split(text);
    let separated = parts.into_iter().map(|(lines, part)| {
        let from = part.as_ptr() as usize - text.as_ptr() as usize;
        let separator = &text[end..from];
        end = from + part.len();
        (separator, lines, part)
    });
    separated.collect()
}

fn inject_document(
    document: &mut Document<'_>,
    catalog: &Catalog,
    namespace: &str,
    file: &str,
    problems: &mut String,
    notes: &mut String,
) -> Result<(), Failure> {
    for pod in pod_templates(&document.value) {
        let decision = decide(&pod, catalog, namespace);
        let place = format!("{file}: {}", describe(&document.value, &pod));
        for warning in &decision.warnings {
            let _ = writeln!(notes, "warning: {place}: {warning}");
        }
        if decision.verdict == Verdict::Denied {
            let _ = writeln!(problems, "error: {place}: {}", decision.message);
        } else if let Some(patch) = &decision.patch {
            let patch: json_patch::Patch = serde_json::from_slice(patch).context("failed to read our own patch")?;
            let changed = document.changed.get_or_insert_with(|| document.value.clone());
            json_patch::patch(changed, &patch).context("failed to apply our own patch")?;
            let operations = patch.0.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
            document.patch.extend(operations.context("failed to write the patch")?);
        }
    }
    on_the_wrong_object(&document.value, file, notes);
    Ok(())
}

fn decide(pod: &PodTemplate, catalog: &Catalog, namespace: &str) -> Decision {
    let text = |text: &'static str| Text(text.into());
    let namespace = pod.namespace.as_deref().unwrap_or(namespace);
    let request = Request {
        uid: Text::default(),
        target: Target { operation: text("CREATE"), group: text(""), resource: text("pods"), subresource: text("") },
        namespace: Text(namespace.into()),
        dry_run: false,
        document: &pod.pod,
        at: &[],
        pod: Some(Pod::parse(&pod.pod)),
    };
    inject::decide(&request, catalog, &Settings::default(), &pod.embedding)
}

/// `KIND/NAME` of the document, or of the item of a list that the pod belongs to.
fn describe(document: &Value, pod: &PodTemplate) -> String {
    let object = document.pointer(&pod.object).unwrap_or(document);
    let kind = object["kind"].as_str().unwrap_or("pod").to_lowercase();
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or("(without name)");
    shown(&format!("{kind}/{name}"), 320)
}

/// Says so where a workload carries the annotation that belongs on its pods.
fn on_the_wrong_object(document: &Value, file: &str, notes: &mut String) {
    let request = inject::select::REQUEST;
    for pod in pod_templates(document).iter().filter(|pod| pod.object != pod.embedding.pointer) {
        let object = document.pointer(&pod.object).unwrap_or(document);
        let outer = [&object["metadata"], &object["spec"]["jobTemplate"]["metadata"]];
        if outer.iter().any(|metadata| !metadata["annotations"][request].is_null()) {
            let _ = writeln!(
                notes,
                "warning: {file}: {}: {request} has no effect there; move it to the pod template's annotations",
                describe(document, pod)
            );
        }
    }
}

impl Document<'_> {
    fn value(self) -> Value {
        self.changed.unwrap_or(self.value)
    }
}

fn write_yaml(out: &mut String, documents: &[Document<'_>]) -> Result<(), Failure> {
    for (index, document) in documents.iter().enumerate() {
        let text = match &document.changed {
            None => document.text.to_owned(),
            Some(value) => yaml::write(value).map_err(|why| anyhow!("failed to write YAML: {why}"))?,
        };
        if document.separator.is_empty() && index == 0 && !out.is_empty() {
            out.push_str(if out.ends_with('\n') { "---\n" } else { "\n---\n" });
        }
        out.push_str(document.separator);
        out.push_str(&text);
    }
    Ok(())
}

fn write_patches(out: &mut String, documents: &[Document<'_>]) {
    for document in documents.iter().filter(|document| !document.patch.is_empty()) {
        let metadata = &document.value["metadata"];
        let line = json!({
            "apiVersion": document.value["apiVersion"],
            "kind": document.value["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "patch": document.patch,
        });
        let _ = writeln!(out, "{line}");
    }
}
