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
    let mut values = Vec::new();
    for file in files {
        let (name, text) = read(file)?;
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

fn read(file: &PathBuf) -> Result<(String, String), Failure> {
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
    let mut value = document.value.clone();
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
            json_patch::patch(&mut value, &patch).context("failed to apply our own patch")?;
            let operations = serde_json::to_value(&patch).context("failed to write the patch")?;
            document.patch.extend(operations.as_array().cloned().unwrap_or_default());
            document.changed = Some(value.clone());
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
        dry_run: true,
        size: pod.pod.len(),
        pod: Some(Pod::parse(&pod.pod)),
    };
    inject::decide(&request, catalog, &Settings::default(), &pod.embedding)
}

/// `KIND/NAME` of the document, or of the item of a list that the pod belongs to.
fn describe(document: &Value, pod: &PodTemplate) -> String {
    let mut steps = pod.embedding.pointer.split('/').skip(1);
    let item = match (steps.next(), steps.next()) {
        (Some("items"), Some(index)) => &document["items"][index.parse::<usize>().unwrap_or_default()],
        _ => document,
    };
    let kind = item["kind"].as_str().unwrap_or("?").to_lowercase();
    let metadata = &item["metadata"];
    let name = metadata["name"].as_str().or(metadata["generateName"].as_str()).unwrap_or("(without name)");
    format!("{kind}/{name}")
}

/// Says so where a workload carries the annotation that belongs on its pods.
fn on_the_wrong_object(document: &Value, file: &str, notes: &mut String) {
    if document["kind"] == "Pod" {
        return;
    }
    let request = inject::select::REQUEST;
    if !document["metadata"]["annotations"][request].is_null() && !pod_templates(document).is_empty() {
        let kind = document["kind"].as_str().unwrap_or("?").to_lowercase();
        let name = document["metadata"]["name"].as_str().unwrap_or("?");
        let _ = writeln!(
            notes,
            "warning: {file}: {kind}/{name}: {request} stands on the {kind} and has no effect there; move it to the pod template's annotations"
        );
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
