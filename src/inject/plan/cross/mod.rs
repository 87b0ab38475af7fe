//! Rules of the API server between the parts of a pod, which no template can be checked for alone. They are judged on
//! the pod as it was received and on the pod with all placed templates. A fault that the received pod did not have is a
//! problem of each template that added something which the rule reads.
//!
//! Most templates add nothing that such a rule reads. For them, the pods are not built.

mod containers;
mod host;
mod located;
mod patched;
mod profiles;
mod resources;
mod volumes;

use std::collections::HashSet;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::plan::contents::{Placed, Plan};
use crate::inject::plan::context::PodContext;
use crate::inject::plan::cross::located::Located;
use crate::inject::plan::cross::patched::{Patched, received};
use crate::inject::review::pod::StringMap;
use crate::inject::template::body::item::{Crossing, Item};

/// A broken rule.
#[derive(Debug)]
struct CrossFault {
    reason: Reason,
    /// What is wrong, a sentence without full stop.
    what: String,
    /// The solution, a sentence without full stop.
    fix: &'static str,
    /// The JSON pointers of the parts that break the rule. The first one identifies the fault: in the received and in
    /// the patched pod it is the same fault, also if the values differ.
    reads: Vec<String>,
}

impl CrossFault {
    fn new(what: String, reads: impl Into<Vec<String>>) -> Self {
        let fix = "The API server rejects such a pod. Change the pod or the template";
        Self { reason: Reason::Conflict, what, fix, reads: reads.into() }
    }
}

/// A rule: returns its faults in a pod.
type CrossRule = fn(&Located<'_>) -> Vec<CrossFault>;

const RULES: [CrossRule; 20] = [
    volumes::missing,
    host::ports,
    host::windows,
    host::process_namespace,
    resources::of_pod,
    containers::claims,
    containers::resize,
    containers::sleep,
    containers::proc_mount,
    containers::bidirectional,
    volumes::devices_in_user_namespace,
    volumes::device_sources,
    volumes::file_keys,
    volumes::claim_names,
    host::host_process,
    host::sysctls,
    host::windows_options,
    profiles::seccomp,
    profiles::app_armor,
    profiles::app_armor_containers,
];

/// The faults of a pod, each with the position of its rule.
fn faults(pod: &Json) -> impl Iterator<Item = (usize, CrossFault)> {
    let pod = Located::root(pod);
    RULES.iter().enumerate().flat_map(move |(rule, faults)| faults(&pod).into_iter().map(move |fault| (rule, fault)))
}

impl Plan<'_> {
    /// The problems of the placed templates with rules between parts of the pod, each with the index of the template's
    /// candidate. Call it when all templates are placed, so that the order of the request does not matter.
    pub(crate) fn cross_problems(&self, pod: &PodContext<'_>) -> Vec<(usize, Problem)> {
        if !self.placed.iter().any(|placed| self.crosses(placed, pod)) {
            return Vec::new();
        }
        let Some(received) = received(pod) else { return Vec::new() };
        let before: HashSet<(usize, String)> =
            faults(&received).filter_map(|(rule, mut fault)| Some((rule, fault.reads.drain(..).next()?))).collect();
        let patched = Patched::of(received, self);
        let (mut own, mut shared) = (Vec::new(), Vec::new());
        for (rule, fault) in faults(&patched.pod) {
            let key = fault.reads.first().map(|at| (rule, at.clone()));
            if key.is_some_and(|key| before.contains(&key)) {
                continue;
            }
            let mut culprits = patched.added(&fault.reads);
            if culprits.is_empty() {
                culprits = (0..self.placed.len()).collect();
            }
            let problems = if culprits.len() == 1 { &mut own } else { &mut shared };
            for placed in culprits.into_iter().filter_map(|at| self.placed.get(at)) {
                let CrossFault { reason, ref what, fix, .. } = fault;
                problems.push((placed.index, Problem { reason, what: what.clone(), fix }));
            }
        }
        // A template that breaks a rule alone is not in the pod. Without it, the others may not break one.
        if own.is_empty() { shared } else { own }
    }

    /// Returns true if a rule can read something that the template adds to this pod.
    fn crosses(&self, placed: &Placed<'_>, pod: &PodContext<'_>) -> bool {
        let additions = &placed.ready.additions;
        let containers = || placed.init_containers.iter().chain(&placed.containers);
        let items = || containers().map(AsRef::as_ref).chain(placed.volumes.iter().copied());
        let has_legacy =
            || pod.metadata.annotations.iter().flat_map(StringMap::iter).any(|(key, _)| profiles::is_legacy(key));
        let is_special = pod.spec.host_network == Some(true)
            || pod.spec.host_pid == Some(true)
            || pod.spec.resources.is_some()
            || pod.spec.is_windows();
        is_special
            || items().any(|item| item.crossing == Crossing::Always)
            || additions.app_containers.iter().any(|change| change.crosses)
            || additions.pod.contains_key("securityContext")
            || additions.annotations.iter().any(|(key, _)| profiles::is_legacy(key))
            || items().any(|item| item.crossing == Crossing::WithProfiles) && has_legacy()
            || gives_other_kind(&placed.volumes, pod)
            || self.lacks_volume(placed, pod)
    }

    /// Returns true if the template mounts a volume that neither the pod nor a placed template has.
    fn lacks_volume(&self, placed: &Placed<'_>, pod: &PodContext<'_>) -> bool {
        let own = placed.init_containers.iter().chain(&placed.containers).flat_map(|item| &item.mounts);
        let app = placed.app_containers.iter().flat_map(|added| &added.mounts).map(|mount| &mount.volume);
        let is_known = |volume: &str| self.volumes.iter().any(|item| item.name == volume) || pod.has_volume(volume);
        own.chain(app).any(|volume| !is_known(volume))
    }
}

/// Returns true if a container of the pod uses volumes as devices or as files of variables, and a volume that a template
/// adds can have the wrong kind for this.
fn gives_other_kind(volumes: &[&Item], pod: &PodContext<'_>) -> bool {
    let reads_files = |env: &&RawValue| env.get().contains("fileKeyRef");
    let any_other = |kind: &str| volumes.iter().any(|volume| volume.value.get(kind).is_none());
    any_other("persistentVolumeClaim") && pod.spec.all_containers().any(|own| own.volume_devices.is_some())
        || any_other("emptyDir") && pod.spec.all_containers().any(|own| own.env.as_ref().is_some_and(reads_files))
}
