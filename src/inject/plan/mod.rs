//! How chosen templates join one pod: what would be added where, and what stands in the way. Decides
//! order and conflicts; it must not know JSON Patch.
//!
//! Templates are placed one after the other. One with a problem is not placed at all, and planning starts
//! again without it, so that the others are planned as if it had not been asked for.

mod app;
mod finish;
mod fit;
mod glob;
pub(crate) mod order;
pub(crate) mod patch;
pub(crate) mod pod_fields;

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::Ready;
use crate::inject::expr::paths::Paths;
use crate::inject::kube::defaults;
use crate::inject::plan::fit::Fit;
use crate::inject::plan::order::Arrangement;
use crate::inject::plan::pod_fields::{Operation, PodLevel};
use crate::inject::review::Request;
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::template::body::item::Item;
use crate::inject::template::words::{Clash, Mode, OnConflict, Position};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

pub(crate) use app::{AppAdded, AppContainer, EnvAddition};

/// Whether anything of a template is missing from a pod that has it. Its containers are left out of the question: they
/// are looked up by name.
pub(crate) fn would_add(ready: &Ready<'_>, pod: &PodContext<'_>) -> bool {
    let ready = Ready {
        template: ready.template,
        additions: Arc::clone(&ready.additions),
        hash: Cow::Borrowed(""),
        changes: Vec::new(),
        on_conflict: OnConflict::all(Clash::Keep),
        verifies: true,
    };
    let mut plan = Plan::of(pod);
    let problems = plan.place(0, &ready, pod);
    !problems.is_empty() || plan.placed.iter().any(|placed| !placed.has_only_containers())
}

/// The additions, in the order in which they will stand in the pod.
#[derive(Debug, Default)]
pub(crate) struct Plan<'r> {
    pub(crate) init_containers: Arrangement<'r>,
    pub(crate) containers: Arrangement<'r>,
    pub(crate) volumes: Vec<&'r Item>,
    pub(crate) image_pull_secrets: Vec<&'r Item>,
    pub(crate) labels: Vec<(&'r str, &'r str)>,
    pub(crate) annotations: Vec<(&'r str, Cow<'r, str>)>,
    /// Pod-level fields, once a template has some.
    pub(crate) pod_level: Option<PodLevel>,
    /// The pod's own containers that get something.
    pub(crate) app_containers: Vec<AppContainer<'r>>,
    /// The placed templates in order.
    pub(crate) placed: Vec<Placed<'r>>,
    /// What is done otherwise than somebody may expect.
    pub(crate) warnings: Vec<Warning<'r>>,
}

/// A placed template and the part of it that was missing from the pod.
#[derive(Debug)]
pub(crate) struct Placed<'r> {
    /// The index of its candidate.
    pub(crate) index: usize,
    pub(crate) ready: &'r Ready<'r>,
    pub(crate) init_containers: Vec<Arc<Item>>,
    pub(crate) containers: Vec<Arc<Item>>,
    pub(crate) volumes: Vec<&'r Item>,
    pub(crate) image_pull_secrets: Vec<&'r str>,
    pub(crate) labels: Vec<&'r str>,
    pub(crate) annotations: Vec<&'r str>,
    pub(crate) app_containers: Vec<AppAdded<'r>>,
    pub(crate) pod: Vec<Operation>,
    /// Pointer in the pod -> what stood there before.
    pub(crate) replaced: BTreeMap<String, Json>,
}

impl Placed<'_> {
    /// Whether nothing of the template was missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.init_containers.is_empty() && self.containers.is_empty() && self.has_only_containers()
    }

    /// Whether nothing but containers was missing.
    fn has_only_containers(&self) -> bool {
        self.volumes.is_empty()
            && self.image_pull_secrets.is_empty()
            && self.labels.is_empty()
            && self.annotations.is_empty()
            && self.app_containers.is_empty()
            && self.pod.is_empty()
    }
}

/// Something worth knowing that is no problem.
#[derive(Debug)]
pub(crate) struct Warning<'r> {
    pub(crate) template: &'r str,
    pub(crate) reason: Reason,
    pub(crate) what: String,
}

/// The pod the plan is for.
#[derive(Clone, Copy)]
pub(crate) struct PodContext<'p> {
    pub(crate) request: &'p Request<'p>,
    /// Volumes of the pod that a status says are shared.
    pub(crate) shared: &'p [&'p str],
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) spec: &'p Spec<'p>,
    /// Whether the pod is a Job's, which ends when its containers do.
    pub(crate) of_job: bool,
    /// Containers of the pod that are not the application's: somebody's sidecars.
    pub(crate) foreign: &'p [&'p str],
    /// Those that only a status says so of, which can be forged: no reason to leave a required template's changes out.
    pub(crate) listed: &'p [&'p str],
    /// Volumes the pod will have that its spec does not list: claim templates of a `StatefulSet`.
    pub(crate) claims: &'p [String],
}

impl<'r> Plan<'r> {
    /// The pod as it is.
    pub(crate) fn of(pod: &PodContext<'r>) -> Self {
        let names = |list: &'r Option<Vec<crate::inject::review::pod::Container<'r>>>| {
            list.iter().flatten().map(|c| c.name.as_str())
        };
        Self {
            init_containers: Arrangement::of(names(&pod.spec.init_containers)),
            containers: Arrangement::of(names(&pod.spec.containers)),
            ..Self::default()
        }
    }

    /// Places a template, or tells everything that stands in its way.
    pub(crate) fn place(&mut self, index: usize, ready: &'r Ready<'r>, pod: &PodContext<'r>) -> Vec<Problem> {
        let mut fit = Fit::of(self, ready, pod);
        let app = app::change(self, ready, pod);
        fit.keep_mounted(ready, &app);
        let (pod_level, conflicts) = self.with_pod_level(ready, pod);
        let mut problems = fit.problems;
        problems.extend(app.problems);
        problems.extend(self.taken_metadata(ready, pod));
        problems.extend(taken_file(&fit.volumes, pod));
        let mut warnings = fit.warnings;
        warnings.extend(app.warnings);
        for what in conflicts.iter().map(|field| self.taken_field(field)) {
            match ready.on_conflict.pod {
                Clash::Fail => {
                    let fix = "Change the pod's, or a template";
                    problems.push(Problem { reason: Reason::Conflict, what, fix });
                }
                Clash::Keep => warnings.push((Reason::Conflict, format!("kept what is there: {what}"))),
            }
        }
        if !problems.is_empty() {
            return problems;
        }
        warnings.extend(ready.changes.iter().map(|what| (Reason::Injected, what.clone())));
        for (reason, what) in warnings {
            self.warn(ready, reason, what);
        }
        self.app_containers = app.containers;
        let before = self.pod_level.as_ref().map_or(0, |pod| pod.operations.len());
        self.pod_level = pod_level;
        let operations = self.pod_level.iter().flat_map(|pod| pod.operations.iter().skip(before).cloned());
        let placed = Placed {
            index,
            ready,
            init_containers: fit.init_containers,
            containers: fit.containers,
            volumes: fit.volumes,
            image_pull_secrets: Vec::new(),
            labels: Vec::new(),
            annotations: Vec::new(),
            app_containers: app.added,
            pod: operations.collect(),
            replaced: BTreeMap::new(),
        };
        self.add(placed, pod);
        problems
    }

    fn taken_field(&self, field: &str) -> String {
        match self.placed_with(|placed| placed.pod.iter().any(|operation| operation.gave(field))) {
            Some(other) => format!("it sets pod.{field}, which template {other} sets otherwise"),
            None => format!("it sets pod.{field}, which the pod has otherwise"),
        }
    }

    /// The pod-level fields with those of a template, and the fields that the pod has otherwise.
    fn with_pod_level(&self, ready: &Ready<'_>, pod: &PodContext<'_>) -> (Option<PodLevel>, Vec<String>) {
        if ready.additions.pod.is_empty() {
            return (self.pod_level.clone(), Vec::new());
        }
        let mut level = self.pod_level.clone().unwrap_or_else(|| PodLevel::of(|name| pod.spec.field(name)));
        let conflicts = level.add(&ready.additions.pod);
        (Some(level), conflicts)
    }

    fn add(&mut self, mut placed: Placed<'r>, pod: &PodContext<'r>) {
        let ready = placed.ready;
        let (template, additions) = (ready.template, ready.additions.as_ref());
        let absent = |file: &&'r (String, String)| pod.metadata.annotation(&file.0).is_none();
        for (key, text) in placed.volumes.iter().flat_map(|volume| &volume.files).filter(absent) {
            self.annotations.push((key, Cow::Borrowed(text)));
            placed.annotations.push(key);
        }
        for operation in &placed.pod {
            placed.replaced.extend(operation.replaced.clone().map(|old| (operation.pointer(), old)));
        }
        let default = template.position.as_ref();
        for item in &placed.init_containers {
            self.join(true, Arc::clone(item), item.position.as_ref().or(default).unwrap_or(&Position::First), ready);
        }
        for item in &placed.containers {
            self.join(false, Arc::clone(item), item.position.as_ref().or(default).unwrap_or(&Position::Last), ready);
        }
        if pod.of_job && template.mode == Mode::Container && !additions.containers.is_empty() {
            let name = &additions.containers[0].name;
            self.warn(ready, Reason::Injected, format!("the Job does not finish before its plain container {name}"));
        }
        self.volumes.extend(&placed.volumes);
        for secret in &additions.image_pull_secrets {
            let has = pod.spec.image_pull_secrets.iter().flatten().any(|own| own.name.as_str() == secret.name);
            if !has && self.image_pull_secrets.iter().all(|other| other.name != secret.name) {
                self.image_pull_secrets.push(secret);
                placed.image_pull_secrets.push(&secret.name);
            }
        }
        for (key, value) in &additions.labels {
            let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            let known = own.or(find(&self.labels, key)).map(str::to_owned);
            if self.adds(known.as_deref(), value, ready, "label", key) {
                self.labels.push((key, value));
                placed.labels.push(key);
            }
        }
        for (key, value) in &additions.annotations {
            let own = pod.metadata.annotation(key);
            let known = own.or(find(&self.annotations, key)).map(str::to_owned);
            if self.adds(known.as_deref(), value, ready, "annotation", key) {
                self.annotations.push((key, Cow::Borrowed(value)));
                placed.annotations.push(key);
            }
        }
        self.placed.push(placed);
    }

    /// A label or annotation that the pod has otherwise, where the template says that this is a problem.
    fn taken_metadata(&self, ready: &Ready<'_>, pod: &PodContext<'r>) -> Option<Problem> {
        let on_conflict = ready.on_conflict;
        let labels = ready.additions.labels.iter().filter(|_| on_conflict.labels == Clash::Fail).map(|(key, value)| {
            let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).or(find(&self.labels, key));
            ("label", key, value, own)
        });
        let annotations = ready.additions.annotations.iter().filter(|_| on_conflict.annotations == Clash::Fail);
        let annotations = annotations.map(|(key, value)| {
            ("annotation", key, value, pod.metadata.annotation(key).or(find(&self.annotations, key)))
        });
        let (kind, key, ..) =
            labels.chain(annotations).find(|(.., value, own)| own.is_some_and(|own| own != *value))?;
        let by = self.placed_with(|placed| {
            if kind == "label" {
                placed.labels.contains(&key.as_str())
            } else {
                placed.annotations.contains(&key.as_str())
            }
        });
        let owner = by.map_or("the pod".to_owned(), |other| format!("template {other}"));
        let what = format!("it adds the {kind} {key}, but {owner} has it with another value");
        Some(Problem { reason: Reason::Conflict, what, fix: "Remove the pod's, or change a template" })
    }

    /// Puts a container where it belongs. Where its anchor is missing (another webhook may add it later) it goes
    /// where it would without one.
    fn join(&mut self, init: bool, item: Arc<Item>, position: &Position, ready: &'r Ready<'r>) {
        let list = if init { &mut self.init_containers } else { &mut self.containers };
        let missing = match position {
            Position::Before(anchor) | Position::After(anchor) if !list.has(anchor) => Some(anchor),
            _ => None,
        };
        match missing {
            None => list.insert(item, position),
            Some(anchor) => {
                let what =
                    format!("{} goes to its default place, there is no container {}", item.name, shown(anchor, 63));
                list.insert(item, if init { &Position::First } else { &Position::Last });
                self.warn(ready, Reason::Injected, what);
            }
        }
    }

    fn warn(&mut self, ready: &'r Ready<'r>, reason: Reason, what: String) {
        self.warnings.push(Warning { template: &ready.template.name, reason, what });
    }

    /// Whether a label or annotation is to be added; what is there is kept.
    fn adds(&mut self, own: Option<&str>, value: &str, ready: &'r Ready<'r>, what: &str, key: &str) -> bool {
        if own.is_some_and(|own| own != value) {
            self.warn(ready, Reason::Conflict, format!("the {what} {key} is kept as it is"));
        }
        own.is_none()
    }

    /// The volumes that `template` mounts and that nobody has: neither the pod nor any template placed. Asked
    /// when all are placed, so that the order of the request does not matter.
    pub(crate) fn missing_volumes(&self, placed: &Placed<'_>, pod: &PodContext<'_>) -> Vec<Problem> {
        let mut missing: Vec<&str> = Vec::new();
        let mut problems = Vec::new();
        let containers = placed.init_containers.iter().chain(&placed.containers);
        let own = containers.flat_map(|item| item.mounts.iter().map(|volume| (item.name.as_str(), volume.as_str())));
        let app = placed
            .app_containers
            .iter()
            .flat_map(|added| added.mounts.iter().map(|mount| (added.container, mount.volume.as_str())));
        for (container, volume) in own.chain(app) {
            let added = self.volumes.iter().any(|item| item.name == volume);
            if !added && !pod.has_volume(volume) && !missing.contains(&volume) {
                missing.push(volume);
                let what = format!(
                    "the container \"{}\" would mount the volume \"{volume}\", which neither the templates nor the pod have",
                    shown(container, 63)
                );
                let fix = "Add the volume to the pod or the template";
                problems.push(Problem { reason: Reason::MissingVolume, what, fix });
            }
        }
        problems
    }

    fn placed_with(&self, has: impl Fn(&Placed<'_>) -> bool) -> Option<String> {
        let placed = self.placed.iter().find(|placed| has(placed));
        placed.map(|placed| placed.ready.template.display())
    }
}

impl PodContext<'_> {
    /// Whether a template that is in the pod has added this very volume, and both mean to share it.
    fn shares(&self, item: &Item) -> bool {
        item.shared
            && self.shared.contains(&item.name.as_str())
            && self.volume(&item.name).is_some_and(|own| defaults::equal(&own, &item.value))
    }

    fn volume(&self, name: &str) -> Option<Json> {
        let paths = Paths::new(&BTreeSet::from([vec!["spec".to_owned(), "volumes".to_owned()]]));
        let mut pod = paths.read(self.request.document, self.request.at).ok()?;
        let volumes = pod["spec"]["volumes"].as_array_mut()?;
        volumes.iter_mut().find(|volume| volume["name"] == name).map(Json::take)
    }

    fn has_volume(&self, name: &str) -> bool {
        self.spec.volumes.iter().flatten().any(|volume| volume.name.as_str() == name)
            || self.claims.iter().any(|claim| claim == name)
    }
}

/// A file whose annotation the pod has with another content.
fn taken_file(volumes: &[&Item], pod: &PodContext<'_>) -> Option<Problem> {
    let mut files = volumes.iter().flat_map(|volume| &volume.files);
    let (key, _) = files.find(|(key, text)| pod.metadata.annotation(key).is_some_and(|own| own != text))?;
    let what = format!("its file travels as the annotation {key}, which the pod has with another value");
    Some(Problem { reason: Reason::Conflict, what, fix: "Remove the pod's annotation" })
}

fn find<'v, V: AsRef<str>>(list: &'v [(&str, V)], key: &str) -> Option<&'v str> {
    list.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_ref())
}
