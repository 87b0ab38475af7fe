//! `inject`: manifests in, manifests with sidecars out. Documents without a change come out byte for
//! byte; if anything is refused, nothing is written.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::manifests::{self, Document};
use super::settings::SettingsArgs;
use crate::inject::catalog::Catalog;
use crate::inject::keys::Keys;
use crate::inject::namespaces::Namespaces;
use crate::inject::pod::{Pod, Text};
use crate::inject::review::{Request, Target, Version};
use crate::inject::sources::{Holder, Rules, Sources};
use crate::inject::{self, Decision, Entry, Settings, Verdict, defaults, yaml};
use crate::templates;
use crate::values;
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
    /// Shared values of templates: a file of KEY: VALUE pairs, or a ConfigMap (repeatable)
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// Decide as the policy webhook: namespace defaults and autoInject reach pods that say nothing
    #[arg(long)]
    policy: bool,
    /// Namespace of manifests that name none
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    settings: SettingsArgs,
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

/// What decides on the pods of all documents.
struct Injector<'a> {
    catalog: Catalog,
    settings: Settings,
    entry: Entry,
    /// Of manifests that name none.
    namespace: &'a str,
    /// What stands in the way, and what is worth knowing.
    problems: String,
    notes: String,
}

/// Runs the command.
pub(super) fn run(args: &InjectArgs) -> Result<(), Failure> {
    let settings = args.settings.settings().map_err(|error| Failure::Usage(error.to_string()))?;
    let entry = if args.policy { Entry::Policy } else { Entry::Requests };
    let (mut files, mut unread) = (Vec::new(), None);
    for path in manifests::files(&args.files)? {
        match manifests::read(&path) {
            Ok(file) => files.push(file),
            // The others are looked at all the same: one run tells everything.
            Err(error) => drop(unread.get_or_insert(error)),
        }
    }
    let mut problems = String::new();
    let parsed: Vec<Vec<Document<'_>>> = files.iter().map(|file| manifests::documents(file, &mut problems)).collect();
    let namespaces = parsed.iter().flatten().filter_map(|document| values::namespace(&document.value));
    let namespaces = Namespaces { watched: false, known: namespaces.collect() };
    let catalog = load(&args.templates, &args.values, &settings.keys)?.with_namespaces(Arc::new(namespaces));
    let mut injector =
        Injector { catalog, settings, entry, namespace: &args.namespace, problems, notes: String::new() };
    let (mut out, mut values) = (String::new(), Vec::new());
    for (file, mut documents) in files.iter().zip(parsed) {
        for document in &mut documents {
            injector.inject(document, &file.name)?;
        }
        match args.output {
            Output::Yaml => write_yaml(&mut out, &documents)?,
            Output::Json => values.extend(documents.into_iter().map(Document::value).filter(|value| !value.is_null())),
            Output::Patch => write_patches(&mut out, &documents),
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
    if let Output::Json = args.output {
        let value = match values.len() {
            1 => values.remove(0),
            _ => json!({"apiVersion": "v1", "kind": "List", "items": values}),
        };
        out = serde_json::to_string_pretty(&value).context("failed to write JSON")? + "\n";
    }
    std::io::stdout().write_all(out.as_bytes()).context("failed to write to stdout")?;
    Ok(())
}

fn load(paths: &[PathBuf], values: &[PathBuf], keys: &Keys) -> Result<Catalog, Failure> {
    if let Some(path) = paths.iter().chain(values).find(|path| !path.exists()) {
        return Err(Failure::Io(anyhow!("{}: no such file or folder", path.display())));
    }
    let mut sources = Sources::with_rules(Rules::default(), keys.clone());
    templates::read(paths, &mut sources);
    for path in values {
        let holder = Holder { created: String::new(), name: path.display().to_string() };
        let values = values::read(path).map_err(|error| Failure::Found(error.to_string()))?;
        sources.set_values(&holder, Some(values));
    }
    let published = sources.catalog();
    for warning in &published.warnings {
        eprintln!("{warning}");
    }
    if published.errors.is_empty() {
        return Ok(published.catalog);
    }
    let errors: Vec<String> = published.errors.iter().map(ToString::to_string).collect();
    Err(Failure::Found(errors.join("\n")))
}

impl Injector<'_> {
    fn inject(&mut self, document: &mut Document<'_>, file: &str) -> Result<(), Failure> {
        for pod in pod_templates(&document.value) {
            let decision = self.decide(&pod);
            let place = format!("{file}: {}", manifests::describe(&document.value, &pod));
            if let Some(note) = manifests::on_the_wrong_object(&document.value, &pod, &self.settings.keys.request) {
                let _ = writeln!(self.notes, "warning: {place}: {note}");
            }
            for warning in &decision.warnings {
                let _ = writeln!(self.notes, "warning: {place}: {warning}");
            }
            if decision.verdict == Verdict::Denied {
                let _ = writeln!(self.problems, "error: {place}: {}", decision.message);
            } else if let Some(patch) = &decision.patch {
                let patch: json_patch::Patch = serde_json::from_slice(patch).context("failed to read our own patch")?;
                let changed = document.changed.get_or_insert_with(|| document.value.clone());
                json_patch::patch(changed, &patch).context("failed to apply our own patch")?;
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

    fn decide(&self, pod: &PodTemplate) -> Decision {
        let text = |text: &'static str| Text(text.into());
        let namespace = pod.namespace.as_deref().unwrap_or(self.namespace);
        // Expressions see what they would see in the cluster; the user's document comes out without it.
        let filled = serde_json::from_str(&pod.pod).unwrap_or_default();
        let filled = defaults::fill(filled, namespace, &pod.embedding.claims).to_string();
        let request = Request {
            version: Version::default(),
            uid: Text::default(),
            target: Target {
                operation: text("CREATE"),
                group: text(""),
                resource: text("pods"),
                subresource: text(""),
            },
            namespace: Text(namespace.into()),
            dry_run: false,
            document: &filled,
            at: &[],
            pod: Some(Pod::parse(&pod.pod)),
        };
        inject::decide(&request, self.entry, &self.catalog, &self.settings, &pod.embedding)
    }
}

/// The service account plugin adds its pull secrets only to pods that have none.
const PULL_SECRETS: &str =
    "with imagePullSecrets in the manifest those of the ServiceAccount are not added; list them too if they are needed";

/// `SetDefaults_PodResources`: what a pod requests as a whole is its limit, or, where containers request something, their
/// sum. The webhook sees the pod after that.
const LIMITS_ALONE: &str = "the pod's own resources have limits without requests, and added containers change what they become; write requests";

fn has_limits_alone(before: &Value, pod: &PodTemplate) -> bool {
    let resources = before.pointer(&format!("{}/spec/resources", pod.embedding.pointer)).unwrap_or(&Value::Null);
    resources["limits"].as_object().into_iter().flatten().any(|(name, _)| resources["requests"][name].is_null())
}

/// Whether the pod has pull secrets now and had none before.
fn brings_pull_secrets(before: &Value, after: &Value, pod: &PodTemplate) -> bool {
    let pointer = format!("{}/spec/imagePullSecrets", pod.embedding.pointer);
    let has = |document: &Value| document.pointer(&pointer).and_then(Value::as_array).is_some_and(|l| !l.is_empty());
    has(after) && !has(before)
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
