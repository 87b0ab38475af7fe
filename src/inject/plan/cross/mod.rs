//! Rules of the API server between the parts of a pod, which no template can be checked for alone. They are judged on
//! the pod as it was received and on the pod with all placed templates. A fault that the received pod did not have is a
//! problem of each template that added something which the rule reads.
//!
//! Most templates add nothing that such a rule reads. For them, the pods are not built.

mod profiles;
mod rules;

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value as Json, json};

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::expr::paths::Paths;
use crate::inject::plan::contents::{Placed, Plan};
use crate::inject::plan::context::PodContext;
use crate::inject::review::pod::StringMap;
use crate::inject::template::body::item::Crossing;

/// A part of a pod that a template can add or change.
#[derive(Clone, Debug)]
enum PodPart {
    /// A container by name, or something in it.
    Container(String),
    /// A volume by name.
    Volume(String),
    /// A field of the spec.
    Field(&'static str),
    /// An annotation by key.
    Annotation(String),
}

/// A broken rule.
#[derive(Debug)]
struct CrossFault {
    reason: Reason,
    /// What is wrong, a sentence without full stop. Equal faults have equal texts.
    what: String,
    /// The parts that the rule reads.
    reads: Vec<PodPart>,
}

impl CrossFault {
    fn new(what: String, reads: impl Into<Vec<PodPart>>) -> Self {
        Self { reason: Reason::Conflict, what, reads: reads.into() }
    }
}

/// A rule: returns its faults in a pod.
type CrossRule = fn(&Json) -> Vec<CrossFault>;

const RULES: [CrossRule; 15] = [
    rules::claims,
    rules::resize,
    rules::sleep,
    rules::devices_in_user_namespace,
    rules::device_sources,
    rules::file_keys,
    rules::proc_mount,
    rules::bidirectional,
    rules::host_process,
    rules::host_sysctls,
    rules::windows_options,
    rules::claim_names,
    profiles::seccomp,
    profiles::app_armor,
    profiles::app_armor_containers,
];

impl Plan<'_> {
    /// The problems of the placed templates with rules between parts of the pod, each with the index of the template's
    /// candidate. Call it when all templates are placed.
    pub(crate) fn cross_problems(&self, pod: &PodContext<'_>) -> Vec<(usize, Problem)> {
        if !self.placed.iter().any(|placed| crosses(placed, pod)) {
            return Vec::new();
        }
        let Some(received) = received(pod) else { return Vec::new() };
        let patched = self.patched(received.clone());
        let faults = |pod: &Json| RULES.iter().flat_map(|rule| rule(pod)).collect::<Vec<_>>();
        let before: HashSet<String> = faults(&received).into_iter().map(|fault| fault.what).collect();
        let mut problems = Vec::new();
        for fault in faults(&patched).into_iter().filter(|fault| !before.contains(&fault.what)) {
            let touches = |placed: &&Placed<'_>| fault.reads.iter().any(|part| touches(placed, part));
            let mut culprits: Vec<&Placed<'_>> = self.placed.iter().filter(touches).collect();
            if culprits.is_empty() {
                culprits = self.placed.iter().collect();
            }
            for placed in culprits {
                let fix = "The API server rejects such a pod. Change the pod or the template";
                problems.push((placed.index, Problem { reason: fault.reason, what: fault.what.clone(), fix }));
            }
        }
        problems
    }

    /// The pod with the additions. The order in lists does not matter to the rules.
    fn patched(&self, mut pod: Json) -> Json {
        for container in &self.app_containers {
            let list = if container.init { "initContainers" } else { "containers" };
            let own = &mut pod["spec"][list][container.index];
            let mut push = |field: &str, value: Json| match own[field].as_array_mut() {
                Some(items) => items.push(value),
                None => own[field] = json!([value]),
            };
            container.env.iter().for_each(|variable| push("env", variable.json()));
            for mount in &container.mounts {
                push(if mount.is_device { "volumeDevices" } else { "volumeMounts" }, mount.value.clone());
            }
        }
        let mut push = |field: &str, value: &Json| match pod["spec"][field].as_array_mut() {
            Some(items) => items.push(value.clone()),
            None => pod["spec"][field] = json!([value]),
        };
        for placed in &self.placed {
            placed.init_containers.iter().for_each(|item| push("initContainers", &item.value));
            placed.containers.iter().for_each(|item| push("containers", &item.value));
            placed.volumes.iter().for_each(|item| push("volumes", &item.value));
        }
        for (name, value) in self.pod_level.iter().flat_map(super::pod_fields::PodLevel::fields) {
            pod["spec"][name.as_str()] = value.clone();
        }
        for (key, value) in &self.annotations {
            pod["metadata"]["annotations"][*key] = json!(value);
        }
        pod
    }
}

/// The pod as it was received, as far as the rules read it.
fn received(pod: &PodContext<'_>) -> Option<Json> {
    let metadata = ["annotations", "name", "generateName"].map(|field| vec!["metadata".to_owned(), field.to_owned()]);
    let paths = Paths::new(&metadata.into_iter().chain([vec!["spec".to_owned()]]).collect::<BTreeSet<_>>());
    let mut pod = paths.read(pod.request.document, pod.request.at).ok()?;
    if !pod["metadata"]["annotations"].is_object() {
        pod["metadata"]["annotations"] = json!({});
    }
    Some(pod)
}

/// Returns true if a rule can read something that the template adds to this pod.
fn crosses(placed: &Placed<'_>, pod: &PodContext<'_>) -> bool {
    let additions = &placed.ready.additions;
    let containers = || placed.init_containers.iter().chain(&placed.containers);
    let items = || containers().map(AsRef::as_ref).chain(placed.volumes.iter().copied());
    let has_legacy =
        || pod.metadata.annotations.iter().flat_map(StringMap::iter).any(|(key, _)| profiles::is_legacy(key));
    items().any(|item| item.crossing == Crossing::Always)
        || additions.app_containers.iter().any(|change| change.crosses)
        || additions.pod.contains_key("securityContext")
        || additions.annotations.iter().any(|(key, _)| profiles::is_legacy(key))
        || items().any(|item| item.crossing == Crossing::WithProfiles) && has_legacy()
        // In a Windows pod with a container of the host, all containers must be of the host.
        || pod.spec.host_network == Some(true) && containers().next().is_some()
}

/// Returns true if the template has added or changed the part.
fn touches(placed: &Placed<'_>, part: &PodPart) -> bool {
    match part {
        PodPart::Container(name) => {
            placed.init_containers.iter().chain(&placed.containers).any(|item| item.name == *name)
                || placed.app_containers.iter().any(|added| added.container == name)
        }
        PodPart::Volume(name) => placed.volumes.iter().any(|item| item.name == *name),
        PodPart::Field(field) => {
            placed.pod.iter().any(|operation| operation.path.first().is_some_and(|own| own == field))
        }
        PodPart::Annotation(key) => placed.annotations.contains(&key.as_str()),
    }
}
