//! The dry run of `lint`: creates pods with each template in a cluster, as a dry run with strict field validation.
//! Nothing is stored. The module sends the pods and collects what the cluster refuses; it does not decide on pods itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::commands::common::api::{Api, ApiError};
use crate::commands::common::decider::{self, Decider};
use crate::commands::failure::Failure;
use crate::inject::authoring::dry_run::matrix::{MAX_PODS, MatrixPod, PodMatrix};
use crate::inject::authoring::dry_run::pod_kind::{APP, PodKind};
use crate::inject::authoring::dry_run::refusal::{Refusal, RefusedBy};
use crate::inject::authoring::lint::{self, Finding, RefusedPods};
use crate::inject::catalog::Catalog;
use crate::inject::catalog::holder::TemplateText;
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::{Decision, Verdict};
use crate::inject::diagnostic::shown;
use crate::inject::kube::names::is_label;
use crate::inject::settings::Settings;
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::manifest::value_files;
use crate::manifest::workload::pod_templates;

/// Maximum length of a message of the API server or the injector in a note, in characters.
const MAX_NOTE: usize = 300;

/// Arguments of the dry run.
#[derive(Args, Debug)]
pub(super) struct DryRunArgs {
    /// Also create pods with each template in the cluster of the kubeconfig, as a dry run; nothing is stored
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = DryRunMode::None)]
    dry_run: DryRunMode,
    /// Namespace of the dry run [default: the namespace of the kubeconfig]
    #[arg(short, long, value_name = "NAMESPACE", requires = "dry_run")]
    namespace: Option<String>,
    /// Shared values for templates in the dry run: a file of KEY: VALUE pairs, or a ConfigMap (repeatable)
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub(super) values: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRunMode {
    /// Send nothing
    None,
    /// Create pods with dryRun=All
    Server,
}

/// The result of a dry run.
#[derive(Default)]
pub(super) struct DryRunReport {
    /// The refusals.
    pub(super) findings: Vec<Finding>,
    /// What was not tried, and why: sentences without a full stop.
    pub(super) notes: Vec<String>,
    /// What was tried, for the summary; empty without a dry run.
    pub(super) summary: String,
}

/// Runs the dry run, if the flags request one.
///
/// # Errors
/// A namespace or values that are not valid, a cluster that cannot be reached, missing rights, or a cluster that refuses
/// pods without templates.
pub(super) fn run(
    args: &DryRunArgs,
    cluster: Option<ClusterVersion>,
    keys: &Keys,
    templates: &[(TemplateText, Arc<Template>)],
) -> Result<DryRunReport, Failure> {
    if args.dry_run == DryRunMode::None {
        return Ok(DryRunReport::default());
    }
    if let Some(namespace) = args.namespace.as_deref().filter(|namespace| !is_label(namespace)) {
        return Err(Failure::Usage(format!("--namespace {namespace}: this is not a valid name of a namespace")));
    }
    let mut values = BTreeMap::new();
    for path in &args.values {
        values.extend(value_files::read(path).map_err(|error| Failure::Found(error.to_string()))?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start")?;
    let report = runtime.block_on(async {
        let api = Api::connect().await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| api.default_namespace().to_owned());
        let cluster = match cluster {
            None => version(&api).await,
            known => known,
        };
        let mut run = DryRun {
            api,
            namespace,
            keys,
            values,
            cluster,
            kinds: BTreeMap::new(),
            created: 0,
            without_resources: false,
        };
        run.report(templates).await
    })?;
    Ok(report)
}

/// The version that the API server names; `None` if it does not tell.
async fn version(api: &Api) -> Option<ClusterVersion> {
    let version = api.get("/version").await.ok()?;
    version["gitVersion"].as_str()?.parse().ok()
}

/// A dry run in a namespace.
struct DryRun<'k> {
    api: Api,
    namespace: String,
    keys: &'k Keys,
    values: BTreeMap<String, String>,
    /// The version of the cluster; `None` if it is not known.
    cluster: Option<ClusterVersion>,
    /// The kinds of pods that were tried without a template, with the refusal.
    kinds: BTreeMap<PodKind, Option<Refusal>>,
    /// The number of pods with a template that were created.
    created: usize,
    /// True if the namespace refuses the resources of the application's container.
    without_resources: bool,
}

/// One template in the dry run.
struct Trial<'t> {
    matrix: PodMatrix<'t>,
    decider: Decider<'t>,
    /// The pods that were created, with the refusal. Equal pods are created once.
    pods: BTreeMap<String, Option<Refusal>>,
    /// The decisions that left the template out, the first for each reason.
    left_out: Vec<Decision>,
}

/// What the injector made of a pod.
enum Injected {
    /// The pod with the template.
    Pod(Value),
    /// The pod without it: an expression of the template failed.
    Failed(Value, Refusal),
}

/// A pod of a template that the cluster refused.
struct RefusedPod {
    pod: MatrixPod,
    object: Value,
    refusal: Refusal,
}

impl DryRun<'_> {
    async fn report(&mut self, templates: &[(TemplateText, Arc<Template>)]) -> anyhow::Result<DryRunReport> {
        let mut report = DryRunReport::default();
        let unusable = self.unusable_kinds(&mut report.notes).await?;
        for (text, template) in templates {
            self.try_template(text, template, &unusable, &mut report).await?;
        }
        report.summary = format!(", dry-run pods: {}", self.created);
        Ok(report)
    }

    /// Tries pods without a template. Returns the kinds that the cluster refuses.
    async fn unusable_kinds(&mut self, notes: &mut Vec<String>) -> anyhow::Result<Vec<PodKind>> {
        let namespace = self.namespace.clone();
        let mut refusal = self.try_kind(PodKind::default()).await?;
        if refusal.is_some() {
            // A LimitRange can demand more. Without resources, it sets its defaults.
            self.without_resources = true;
            self.kinds.clear();
            refusal = self.try_kind(PodKind::default()).await?;
        }
        if let Some(Refusal { by, why }) = refusal {
            return Err(anyhow!(
                "{by} refuses even a plain pod without a template in the namespace {namespace}, so templates cannot be tried there: {why}\nChoose another namespace with --namespace"
            ));
        }
        let mut unusable = Vec::new();
        for kind in PodKind::singles() {
            if let Some(Refusal { by, why }) = self.try_kind(kind).await? {
                let (words, why) = (kind.words().join(", "), shown(&why, MAX_NOTE));
                notes.push(format!(
                    "pods with {words} are not tried in the namespace {namespace}: {by} refuses them without a template: {why}"
                ));
                unusable.push(kind);
            }
        }
        Ok(unusable)
    }

    /// Tries a pod without a template, once for each kind.
    async fn try_kind(&mut self, kind: PodKind) -> anyhow::Result<Option<Refusal>> {
        if let Some(known) = self.kinds.get(&kind) {
            return Ok(known.clone());
        }
        let refusal = self.create(&kind.pod()).await?;
        self.kinds.insert(kind, refusal.clone());
        Ok(refusal)
    }

    /// Tries the pods of one template.
    async fn try_template(
        &mut self,
        text: &TemplateText,
        template: &Arc<Template>,
        unusable: &[PodKind],
        report: &mut DryRunReport,
    ) -> anyhow::Result<()> {
        let namespace = self.namespace.clone();
        let catalog =
            Catalog::new([Arc::clone(template)], BTreeMap::new()).with_values(&self.values).with_cluster(self.cluster);
        let settings = Settings { keys: self.keys.clone(), ..Settings::default() };
        let mut trial = Trial {
            matrix: PodMatrix::of(template, self.keys, unusable),
            decider: Decider::of_catalog(catalog, settings, &namespace),
            pods: BTreeMap::new(),
            left_out: Vec::new(),
        };
        let mut refused: Vec<RefusedPod> = Vec::new();
        for pod in trial.matrix.pods().to_vec() {
            let Some(found) = self.try_pod(&mut trial, &pod).await? else { continue };
            if !refused.iter().any(|other| other.refusal.is_like(&found.refusal)) {
                refused.push(self.simplest(&mut trial, found).await?);
            }
        }
        self.created += trial.pods.len();
        report.notes.extend(trial.notes(template));
        for RefusedPod { pod, object, refusal } in &refused {
            let is_alike = |other: &&Option<Refusal>| other.as_ref().is_some_and(|other| other.is_like(refusal));
            report.findings.extend(lint::refused(
                &text.source(),
                template,
                &RefusedPods {
                    refusal,
                    pod: object,
                    words: &trial.matrix.words(pod),
                    namespace: &namespace,
                    count: trial.pods.values().filter(is_alike).count(),
                    of: trial.pods.len(),
                },
            ));
        }
        Ok(())
    }

    /// Removes settings of a refused pod, as long as the cluster refuses the pod for the same reason.
    async fn simplest(&mut self, trial: &mut Trial<'_>, mut refused: RefusedPod) -> anyhow::Result<RefusedPod> {
        'simpler: loop {
            for pod in refused.pod.simpler().collect::<Vec<_>>() {
                if let Some(found) = self.try_pod(trial, &pod).await?
                    && found.refusal.is_like(&refused.refusal)
                {
                    refused = found;
                    continue 'simpler;
                }
            }
            return Ok(refused);
        }
    }

    /// Tries a pod with the template. `None` if the cluster accepts it, if the injector leaves the template out, or if
    /// the cluster refuses the pod without the template too.
    async fn try_pod(&mut self, trial: &mut Trial<'_>, pod: &MatrixPod) -> anyhow::Result<Option<RefusedPod>> {
        let object = match trial.injected(pod)? {
            Some(Injected::Pod(object)) => object,
            Some(Injected::Failed(object, refusal)) => {
                trial.pods.insert(object.to_string(), Some(refusal.clone()));
                return Ok(Some(RefusedPod { pod: pod.clone(), object, refusal }));
            }
            None => return Ok(None),
        };
        let text = object.to_string();
        let refusal = match trial.pods.get(&text) {
            Some(known) => known.clone(),
            None if self.try_kind(pod.kind()).await?.is_some() => None,
            None => {
                let refusal = self.create(&object).await?;
                trial.pods.insert(text, refusal.clone());
                refusal
            }
        };
        Ok(refusal.map(|refusal| RefusedPod { pod: pod.clone(), object, refusal }))
    }

    /// Creates a pod as a dry run. Returns the refusal, if the cluster refuses the pod.
    ///
    /// # Errors
    /// Everything else that prevents the creation.
    async fn create(&self, pod: &Value) -> anyhow::Result<Option<Refusal>> {
        let namespace = &self.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict");
        let mut pod = pod.clone();
        let containers = pod["spec"]["containers"].as_array_mut().into_iter().flatten();
        for container in containers.filter(|own| self.without_resources && own["name"] == APP) {
            container["resources"] = json!({});
        }
        let Err(error) = self.api.create(&path, &pod).await else { return Ok(None) };
        match Refusal::read(error.code, &error.message) {
            Some(refusal) => Ok(Some(refusal)),
            None => Err(anyhow!(
                "failed to create a pod in the namespace {namespace} as a dry run: {error}\n{}",
                remedy(&error)
            )),
        }
    }
}

/// What to do about an error that is not about the pod.
fn remedy(error: &ApiError) -> &'static str {
    match error.code {
        401 => "Check the credentials of the current context in the kubeconfig",
        403 => {
            "Check the name of the namespace, ask for the right to create pods in it, or choose another one with --namespace"
        }
        404 => "Create the namespace, or choose another namespace with --namespace",
        409 => "Delete the pod of this name, or choose another namespace with --namespace",
        0 => "Check the current context of the kubeconfig, and that the cluster can be reached",
        _ => "The cluster could not decide on the pod; try again",
    }
}

impl Trial<'_> {
    /// The pod with the template, as it is created; `None` if the injector leaves the template out.
    fn injected(&mut self, pod: &MatrixPod) -> anyhow::Result<Option<Injected>> {
        let mut object = self.matrix.requesting(pod);
        let Some(requesting) = pod_templates(&object).pop() else { return Ok(None) };
        let decision = self.decider.decide(&requesting);
        let patch = decision.patch.as_ref().filter(|_| decision.verdict == Verdict::Injected);
        let Some(patch) = patch else {
            // The parameters have valid values, so the template must be able to use them.
            if decision.reason == Reason::ExpressionFailed {
                let refusal = Refusal { by: RefusedBy::Injector, why: decision.message };
                return Ok(Some(Injected::Failed(object, refusal)));
            }
            if self.left_out.iter().all(|other| other.reason != decision.reason) {
                self.left_out.push(decision);
            }
            return Ok(None);
        };
        decider::apply(patch, &mut object)?;
        self.matrix.remove_request(&mut object);
        Ok(Some(Injected::Pod(object)))
    }

    /// What was not tried, and why.
    fn notes(&self, template: &Template) -> Vec<String> {
        let name = template.display();
        let mut notes = Vec::new();
        if self.matrix.left_out > 0 {
            notes.push(format!("{name} is tried with {MAX_PODS} pods, {} more are left out", self.matrix.left_out));
        }
        // These reasons depend on the pod, so the template is meant for other pods.
        let is_expected = |reason| matches!(reason, Reason::HostNetwork | Reason::WindowsPod | Reason::NothingToAdd);
        for decision in self.left_out.iter().filter(|left_out| self.pods.is_empty() || !is_expected(left_out.reason)) {
            let why = decision.warnings.first().filter(|_| decision.message.is_empty()).unwrap_or(&decision.message);
            let scope = if self.pods.is_empty() { "any pod" } else { "some of the pods" };
            let (meaning, _) = decision.reason.explanation();
            let why = if why.is_empty() { meaning } else { why };
            notes.push(format!(
                "{name} is not tried with {scope}: the injector does not add it: {}",
                shown(why, MAX_NOTE)
            ));
        }
        notes
    }
}
