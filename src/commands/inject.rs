//! `inject`: reads manifests and writes them with sidecars. Unchanged documents are written byte for byte. If a pod is
//! denied or a document is not valid, nothing is written. The module does not know how decisions are made.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::commands::common::decider::{self, DecideArgs, Decider, ReadManifests};
use crate::commands::common::manifests::{self, Document};
use crate::commands::failure::Failure;
use crate::inject::decision::Verdict;
use crate::inject::document::yaml;
use crate::manifest::workload::{PodTemplate, pod_templates};

/// Arguments of `inject`.
#[derive(Args, Debug)]
pub(super) struct InjectArgs {
    #[command(flatten)]
    decide: DecideArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = InjectOutput::Yaml)]
    output: InjectOutput,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InjectOutput {
    /// The manifests as YAML
    Yaml,
    /// The manifests as JSON; several become a List
    Json,
    /// One line with a JSON Patch for each changed document
    Patch,
}

/// Decides on the pods of all documents and applies the patches.
struct Injector<'a> {
    decider: Decider<'a>,
    /// Errors. If there are any, nothing is written.
    problems: String,
    /// Warnings.
    notes: String,
}

/// Runs the command.
///
/// # Errors
/// Invalid flags, files that cannot be read, invalid manifests or templates, and denied pods.
pub(super) fn run(args: &InjectArgs) -> Result<(), Failure> {
    let settings = args.decide.settings()?;
    let ReadManifests { files, unread } = args.decide.read()?;
    let mut problems = String::new();
    let parsed: Vec<Vec<Document<'_>>> = files.iter().map(|file| manifests::documents(file, &mut problems)).collect();
    let decider = args.decide.decider(settings, &parsed)?;
    let mut injector = Injector { decider, problems, notes: String::new() };
    let (mut out, mut values) = (String::new(), Vec::new());
    for (file, mut documents) in files.iter().zip(parsed) {
        for document in &mut documents {
            injector.inject(document, &file.name)?;
        }
        match args.output {
            InjectOutput::Yaml => write_yaml(&mut out, &documents)?,
            InjectOutput::Json => {
                values.extend(documents.into_iter().map(Document::value).filter(|value| !value.is_null()));
            }
            InjectOutput::Patch => write_patches(&mut out, &documents),
        }
    }
    eprint!("{}", injector.notes);
    if let Some(error) = unread {
        eprint!("{}", injector.problems);
        return Err(Failure::Io(error));
    }
    if !injector.problems.is_empty() {
        return Err(Failure::Found(injector.problems));
    }
    if let InjectOutput::Json = args.output {
        let value = match values.len() {
            1 => values.remove(0),
            _ => json!({"apiVersion": "v1", "kind": "List", "items": values}),
        };
        out = serde_json::to_string_pretty(&value).context("failed to write JSON")? + "\n";
    }
    std::io::stdout().write_all(out.as_bytes()).context("failed to write to stdout")?;
    Ok(())
}

impl Injector<'_> {
    /// Decides on the pods of a document of `file`, and stores the patched document in it.
    fn inject(&mut self, document: &mut Document<'_>, file: &str) -> Result<(), Failure> {
        for pod in pod_templates(&document.value) {
            let decision = self.decider.decide(&pod);
            let place = format!("{file}: {}", manifests::describe(&document.value, &pod));
            if let Some(note) =
                manifests::on_the_wrong_object(&document.value, &pod, &self.decider.settings.keys.request)
            {
                let _ = writeln!(self.notes, "warning: {place}: {note}");
            }
            for warning in &decision.warnings {
                let _ = writeln!(self.notes, "warning: {place}: {warning}");
            }
            if decision.verdict == Verdict::Denied {
                let _ = writeln!(self.problems, "error: {place}: {}", decision.message);
            } else if let Some(patch) = &decision.patch {
                let changed = document.changed.get_or_insert_with(|| document.value.clone());
                let patch = decider::apply(patch, changed)?;
                let notes = [
                    brings_pull_secrets(&document.value, changed, &pod).then_some(PULL_SECRETS),
                    has_limits_alone(&document.value, &pod).then_some(LIMITS_ALONE),
                ];
                for note in notes.into_iter().flatten() {
                    let _ = writeln!(self.notes, "warning: {place}: {note}");
                }
                let operations = patch.0.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>();
                document.patch.extend(operations.context("failed to write the patch")?);
            }
        }
        Ok(())
    }
}

/// The `ServiceAccount` admission plugin adds its pull secrets only to pods that have none.
const PULL_SECRETS: &str =
    "the ServiceAccount's imagePullSecrets are not added to a pod that has its own; list them too if needed";

/// `SetDefaults_PodResources`: a missing request of the whole pod becomes the sum of its containers' requests, or its
/// limit if no container has a request. The webhook is called after that.
const LIMITS_ALONE: &str =
    "the pod's own resources have limits without requests, and added containers change the defaults; set requests";

/// Returns true if the pod-level resources of the pod have a limit without a request.
fn has_limits_alone(before: &Value, pod: &PodTemplate) -> bool {
    let resources = before.pointer(&format!("{}/spec/resources", pod.embedding.pointer)).unwrap_or(&Value::Null);
    resources["limits"].as_object().into_iter().flatten().any(|(name, _)| resources["requests"][name].is_null())
}

/// Returns true if only the changed pod has pull secrets.
fn brings_pull_secrets(before: &Value, after: &Value, pod: &PodTemplate) -> bool {
    let pointer = format!("{}/spec/imagePullSecrets", pod.embedding.pointer);
    let has = |document: &Value| document.pointer(&pointer).and_then(Value::as_array).is_some_and(|l| !l.is_empty());
    has(after) && !has(before)
}

impl Document<'_> {
    /// The document as it is written.
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
