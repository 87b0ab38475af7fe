//! Decides on the pods of manifests, for all commands that do so. The module loads templates, shared values and
//! namespaces from files, and calls the engine with a request like that of the API server. It does not print decisions.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;

use crate::commands::common::manifests::{self, Document, ManifestFile};
use crate::commands::common::settings::{KubernetesArgs, SettingsArgs};
use crate::commands::failure::Failure;
use crate::inject::Engine;
use crate::inject::catalog::Catalog;
use crate::inject::catalog::holder::Holder;
use crate::inject::catalog::namespaces::Namespaces;
use crate::inject::catalog::sources::{SourceRules, Sources};
use crate::inject::decision::Decision;
use crate::inject::decision::trace::Trace;
use crate::inject::kube::defaults;
use crate::inject::review::pod::{JsonStr, Pod};
use crate::inject::review::{Request, Subject, Version};
use crate::inject::settings::keys::Keys;
use crate::inject::settings::{EntryPoint, Settings};
use crate::manifest::workload::PodTemplate;
use crate::manifest::{template_files, value_files};

/// Arguments for the manifests, and for the templates and settings of the decisions.
#[derive(Args, Debug)]
pub(in crate::commands) struct DecideArgs {
    /// Manifest or folder to read, or - for stdin (repeatable)
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// File or folder of templates (repeatable)
    #[arg(long, value_name = "PATH", required = true, env = "SIDECAR_INJECTOR_TEMPLATES", value_delimiter = ',')]
    templates: Vec<PathBuf>,
    /// Shared values for templates: a file of KEY: VALUE pairs, or a ConfigMap (repeatable)
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// Decide like the policy webhook: namespace defaults and autoInject also apply to pods without a request
    #[arg(long)]
    policy: bool,
    /// Namespace of manifests that do not set one
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// The manifests that were read.
pub(in crate::commands) struct ReadManifests {
    /// The files that could be read.
    pub(in crate::commands) files: Vec<ManifestFile>,
    /// The error of the first file that could not be read.
    pub(in crate::commands) unread: Option<anyhow::Error>,
}

impl DecideArgs {
    /// Converts the flags to settings.
    ///
    /// # Errors
    /// [`Failure::Usage`], if a flag is not valid.
    pub(in crate::commands) fn settings(&self) -> Result<Settings, Failure> {
        self.settings.settings().map_err(|error| Failure::Usage(error.to_string()))
    }

    /// Reads the manifests.
    ///
    /// # Errors
    /// A folder that cannot be read. Errors of files are in the result.
    pub(in crate::commands) fn read(&self) -> Result<ReadManifests, Failure> {
        let mut read = ReadManifests { files: Vec::new(), unread: None };
        for path in manifests::files(&self.files)? {
            match manifests::read(&path) {
                Ok(file) => read.files.push(file),
                // The other files are read anyway, so that one run reports all problems.
                Err(error) => drop(read.unread.get_or_insert(error)),
            }
        }
        Ok(read)
    }

    /// Creates the decider. The namespaces among `documents` are known to it.
    ///
    /// # Errors
    /// Templates or values that do not exist or are not valid.
    pub(in crate::commands) fn decider(
        &self,
        settings: Settings,
        documents: &[Vec<Document<'_>>],
    ) -> Result<Decider<'_>, Failure> {
        let namespaces = documents.iter().flatten().filter_map(|document| value_files::namespace(&document.value));
        let namespaces = Namespaces { watched: false, known: namespaces.collect() };
        let catalog = load(&self.templates, &self.values, self.kubernetes.rules(), &settings.keys)?
            .with_namespaces(Arc::new(namespaces));
        let entry_point = if self.policy { EntryPoint::Policy } else { EntryPoint::Requests };
        Ok(Decider { catalog, settings, entry_point, namespace: &self.namespace })
    }
}

/// Decides on the pods of manifests.
pub(in crate::commands) struct Decider<'a> {
    catalog: Catalog,
    pub(in crate::commands) settings: Settings,
    entry_point: EntryPoint,
    /// The namespace of manifests that do not set one.
    namespace: &'a str,
}

/// Loads the catalog. Warnings go to stderr.
fn load(paths: &[PathBuf], values: &[PathBuf], rules: SourceRules, keys: &Keys) -> Result<Catalog, Failure> {
    if let Some(path) = paths.iter().chain(values).find(|path| !path.exists()) {
        return Err(Failure::Io(anyhow!("{}: no such file or folder", path.display())));
    }
    let mut sources = Sources::with_rules(rules, keys.clone());
    template_files::read(paths, &mut sources);
    for path in values {
        let holder = Holder::file(path);
        let values = value_files::read(path).map_err(|error| Failure::Found(error.to_string()))?;
        sources.set_values(holder, values);
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

/// Applies a patch of a decision to the document that contains the pod, and returns the patch.
///
/// # Errors
/// A patch that is not valid or does not apply. This is an error of the program.
pub(in crate::commands) fn apply(patch: &[u8], document: &mut Value) -> anyhow::Result<json_patch::Patch> {
    let patch: json_patch::Patch = serde_json::from_slice(patch).context("failed to parse the generated patch")?;
    json_patch::patch(document, &patch).context("failed to apply the generated patch")?;
    Ok(patch)
}

impl<'a> Decider<'a> {
    /// Decides on pods in `namespace` with the templates of `catalog`.
    pub(in crate::commands) fn of_catalog(catalog: Catalog, settings: Settings, namespace: &'a str) -> Self {
        Self { catalog, settings, entry_point: EntryPoint::Requests, namespace }
    }
}

impl Decider<'_> {
    /// Decides on a pod.
    pub(in crate::commands) fn decide(&self, pod: &PodTemplate) -> Decision {
        self.ask(pod, |engine, request| engine.decide(request, &pod.embedding))
    }

    /// Decides on a pod, with the trace of all checks.
    pub(in crate::commands) fn trace(&self, pod: &PodTemplate) -> (Decision, Trace) {
        self.ask(pod, |engine, request| engine.trace(request, &pod.embedding))
    }

    /// Calls `decide` with the request that the API server sends when the pod is created.
    fn ask<T>(&self, pod: &PodTemplate, decide: impl FnOnce(Engine<'_>, &Request<'_>) -> T) -> T {
        let text = |text: &'static str| JsonStr(text.into());
        let namespace = pod.namespace.as_deref().unwrap_or(self.namespace);
        // With the defaults, expressions read the same pod as in a cluster. The user's document does not get them.
        let filled = serde_json::from_str(&pod.pod).unwrap_or_default();
        let filled = defaults::fill(filled, namespace, &pod.embedding.claims).to_string();
        let request = Request {
            version: Version::default(),
            uid: JsonStr::default(),
            subject: Subject {
                operation: text("CREATE"),
                group: text(""),
                resource: text("pods"),
                subresource: text(""),
            },
            namespace: JsonStr(namespace.into()),
            dry_run: false,
            document: &filled,
            at: &[],
            pod: Some(Pod::parse(&pod.pod)),
        };
        decide(Engine::new(&self.catalog, &self.settings, self.entry_point), &request)
    }
}
