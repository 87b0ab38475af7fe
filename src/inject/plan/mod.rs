//! Plans the additions of the chosen templates to one pod: their places, their order and their conflicts. Only the
//! module [`patch`] knows about JSON Patch.
//!
//! Templates are placed one after the other. A template with a problem is not placed at all, so the others are planned
//! as if it had not been requested.

mod app;
mod app_container;
mod contents;
mod context;
mod cross;
mod finish;
mod fit;
mod glob;
pub(crate) mod order;
pub(crate) mod patch;
pub(crate) mod pod_fields;
mod pointer;

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::Ready;
use crate::inject::plan::contents::find;
use crate::inject::plan::fit::Fit;
use crate::inject::plan::pod_fields::PodLevel;
use crate::inject::template::body::item::Item;
use crate::inject::template::words::{Clash, Mode, OnConflict, Position};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use contents::{Placed, Plan};
pub(crate) use context::PodContext;

/// Returns true if a part of a template is missing from a pod that has the template. Containers are not considered; the
/// caller looks them up by name.
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

impl<'r> Plan<'r> {
    /// Places a template. `index` is the index of its candidate. Returns all problems; if there are any, nothing is
    /// placed.
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
                    let fix = "Change the pod or a template";
                    problems.push(Problem { reason: Reason::Conflict, what, fix });
                }
                Clash::Keep => warnings.push((Reason::Conflict, format!("kept the existing one: {what}"))),
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
            Some(other) => format!("it sets pod.{field}, which template {other} sets to another value"),
            None => format!("it sets pod.{field}, which the pod sets to another value"),
        }
    }

    /// The pod-level fields with those of a template, and the fields that already have another value.
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
            self.warn(ready, Reason::Injected, format!("the Job does not finish before the container {name} ends"));
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

    /// The problem, if a label or annotation already has another value and the template sets `onConflict: Fail` for it.
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
        Some(Problem { reason: Reason::Conflict, what, fix: "Remove it from the pod, or change a template" })
    }

    /// Inserts a container at its position. If the anchor of the position is missing, the default position is used,
    /// because another webhook can add the anchor later.
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
                    format!("{} is at its default position: there is no container {}", item.name, shown(anchor, 63));
                list.insert(item, if init { &Position::First } else { &Position::Last });
                self.warn(ready, Reason::Injected, what);
            }
        }
    }

    /// Returns true if a label or annotation must be added. An existing value is kept, with a warning if it differs.
    fn adds(&mut self, own: Option<&str>, value: &str, ready: &'r Ready<'r>, what: &str, key: &str) -> bool {
        if own.is_some_and(|own| own != value) {
            self.warn(ready, Reason::Conflict, format!("the existing {what} {key} is kept"));
        }
        own.is_none()
    }
}

/// The problem, if the pod has the annotation of a file with another value.
fn taken_file(volumes: &[&Item], pod: &PodContext<'_>) -> Option<Problem> {
    let mut files = volumes.iter().flat_map(|volume| &volume.files);
    let (key, _) = files.find(|(key, text)| pod.metadata.annotation(key).is_some_and(|own| own != text))?;
    let what = format!("its file is stored in the annotation {key}, which the pod has with another value");
    Some(Problem { reason: Reason::Conflict, what, fix: "Remove the pod's annotation" })
}
