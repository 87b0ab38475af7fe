//! The pod that rules judge: as it was received, and with the additions of the placed templates. Each addition keeps its
//! template, so that a fault leads to the templates that caused it.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use crate::inject::expr::paths::Paths;
use crate::inject::plan::app_container::AppContainer;
use crate::inject::plan::contents::{Placed, Plan};
use crate::inject::plan::context::PodContext;
use crate::inject::plan::pod_fields::{Operation, PodLevel};
use crate::inject::plan::pointer::escaped;

/// The pod with the additions. Additions to lists are at their ends, because the order does not matter to the rules. So
/// each part of the received pod is in the same place in both pods.
pub(super) struct Patched {
    pub(super) pod: Json,
    /// The JSON pointer of each addition, with the position of its template among the placed ones.
    additions: Vec<(String, usize)>,
}

/// The pod as it was received, as far as the rules read it.
pub(super) fn received(pod: &PodContext<'_>) -> Option<Json> {
    let metadata = ["annotations", "name", "generateName"].map(|field| vec!["metadata".to_owned(), field.to_owned()]);
    let paths = Paths::new(&metadata.into_iter().chain([vec!["spec".to_owned()]]).collect::<BTreeSet<_>>());
    let mut received = paths.read(pod.request.document, pod.request.at).ok()?;
    if !received["metadata"]["annotations"].is_object() {
        received["metadata"]["annotations"] = json!({});
    }
    Some(received)
}

impl Patched {
    pub(super) fn of(received: Json, plan: &Plan<'_>) -> Self {
        let mut patched = Self { pod: received, additions: Vec::new() };
        for container in &plan.app_containers {
            patched.change(container, &plan.placed);
        }
        for (template, placed) in plan.placed.iter().enumerate() {
            placed.init_containers.iter().for_each(|item| patched.add("initContainers", &item.value, template));
            placed.containers.iter().for_each(|item| patched.add("containers", &item.value, template));
            placed.volumes.iter().for_each(|item| patched.add("volumes", &item.value, template));
            patched.additions.extend(placed.pod.iter().flat_map(leaves).map(|at| (at, template)));
            let pointer = |key: &&str| (format!("/metadata/annotations/{}", escaped(key)), template);
            patched.additions.extend(placed.annotations.iter().map(pointer));
        }
        for (name, value) in plan.pod_level.iter().flat_map(PodLevel::fields) {
            patched.pod["spec"][name.as_str()] = value.clone();
        }
        for (key, value) in &plan.annotations {
            patched.pod["metadata"]["annotations"][*key] = json!(value);
        }
        patched
    }

    /// The positions of the templates that added a part that `reads` names, a part of it, or what contains it.
    pub(super) fn added(&self, reads: &[String]) -> BTreeSet<usize> {
        let contains = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_read = |added: &str| reads.iter().any(|read| contains(read, added) || contains(added, read));
        self.additions.iter().filter(|(added, _)| is_read(added)).map(|(_, template)| *template).collect()
    }

    fn add(&mut self, list: &str, value: &Json, template: usize) {
        let index = push(&mut self.pod["spec"][list], value.clone());
        self.additions.push((format!("/spec/{list}/{index}"), template));
    }

    /// Adds to one of the pod's own containers.
    fn change(&mut self, container: &AppContainer<'_>, placed: &[Placed<'_>]) {
        let list = if container.init { "initContainers" } else { "containers" };
        let own = &mut self.pod["spec"][list][container.index];
        let at = format!("/spec/{list}/{}", container.index);
        let by = |name: &str| {
            let template = container.template_of(name)?;
            placed.iter().position(|placed| placed.ready.template.name == template)
        };
        for variable in &container.env {
            let index = push(&mut own["env"], variable.json());
            let template = by(variable.name());
            self.additions.extend(template.map(|template| (format!("{at}/env/{index}"), template)));
        }
        for mount in &container.mounts {
            let field = if mount.is_device { "volumeDevices" } else { "volumeMounts" };
            let index = push(&mut own[field], mount.value.clone());
            let template = by(&mount.path);
            self.additions.extend(template.map(|template| (format!("{at}/{field}/{index}"), template)));
        }
    }
}

/// The pointers of the members that an operation adds. An operation that adds an object does not add what other
/// operations add to the object later.
fn leaves(operation: &Operation) -> Vec<String> {
    let at = operation.pointer();
    match operation.value.as_object() {
        Some(members) => members.iter().map(|(key, _)| format!("{at}/{}", escaped(key))).collect(),
        None => vec![at],
    }
}

/// Appends to a list, which is created if it does not exist. Returns the index of the new item.
fn push(list: &mut Json, value: Json) -> usize {
    match list.as_array_mut() {
        Some(items) => {
            items.push(value);
            items.len() - 1
        }
        None => {
            *list = json!([value]);
            0
        }
    }
}
