//! Changes to the pod's own containers: selects the containers of each `appContainers` entry, finds conflicts, and
//! combines the additions of several templates. It does not write patches.

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::Ready;
use crate::inject::kube::defaults::equal;
use crate::inject::plan::app_container::{AppAdded, AppContainer, EnvAddition};
use crate::inject::plan::contents::Plan;
use crate::inject::plan::context::PodContext;
use crate::inject::plan::glob::{is_literal, matches};
use crate::inject::review::pod::Container;
use crate::inject::template::body::additions::{AppChange, Mount};
use crate::inject::template::words::Clash;

/// The result of applying a template to the pod's own containers.
pub(super) struct AppOutcome<'r> {
    /// All containers with additions from this template or earlier ones.
    pub(super) containers: Vec<AppContainer<'r>>,
    pub(super) added: Vec<AppAdded<'r>>,
    /// Mounts that a container already has.
    pub(super) equal_mounts: Vec<&'r Mount>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<(Reason, String)>,
}

/// Applies the entries of `ready` to the containers that they select.
pub(super) fn change<'r>(plan: &Plan<'r>, ready: &'r Ready<'r>, pod: &PodContext<'r>) -> AppOutcome<'r> {
    let mut outcome = AppOutcome {
        containers: plan.app_containers.clone(),
        added: Vec::new(),
        equal_mounts: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    for change in &ready.additions.app_containers {
        for (init, list) in [(false, &pod.spec.containers), (true, &pod.spec.init_containers)] {
            for (index, container) in list.iter().flatten().enumerate() {
                if selects(change, init, index, container, pod, ready.template.required) {
                    outcome.apply(change, init, index, container, ready);
                }
            }
        }
    }
    outcome.added.retain(|added| {
        !(added.env.is_empty() && added.env_from.is_empty() && added.mounts.is_empty() && added.appended.is_empty())
    });
    outcome
}

fn selects(
    change: &AppChange,
    init: bool,
    index: usize,
    container: &Container<'_>,
    pod: &PodContext<'_>,
    required: bool,
) -> bool {
    let name = container.name.as_str();
    let foreign = pod.foreign.contains(&name) || !required && pod.listed.contains(&name);
    let holds = || {
        let holds = change.holds.as_ref().map(|holds| &holds[usize::from(init)]);
        holds.is_none_or(|holds| holds.get(index).copied().unwrap_or(false))
    };
    change.lists.include(init)
        && change.names.iter().any(|glob| (!foreign || is_literal(glob)) && matches(glob, name))
        && !change.except.iter().any(|glob| matches(glob, name))
        && holds()
}

impl<'r> AppOutcome<'r> {
    fn apply(
        &mut self,
        change: &'r AppChange,
        init: bool,
        index: usize,
        container: &'r Container<'r>,
        ready: &'r Ready<'r>,
    ) {
        let on_conflict = ready.on_conflict;
        let known = self.containers.iter().position(|known| known.init == init && known.index == index);
        let at = match known {
            Some(at) => at,
            None => match AppContainer::of(init, index, container) {
                Ok(container) => {
                    self.containers.push(container);
                    self.containers.len() - 1
                }
                Err(what) => {
                    let fix = "Fix the pod";
                    return self.problems.push(Problem { reason: Reason::InvalidPod, what, fix });
                }
            },
        };
        let target = &mut self.containers[at];
        let name = target.name;
        let added = match self.added.iter().position(|added| added.container == name) {
            Some(at) => &mut self.added[at],
            None => {
                let (env, env_from, mounts) = (Vec::new(), Vec::new(), Vec::new());
                self.added.push(AppAdded { container: name, env, env_from, mounts, appended: Vec::new() });
                let last = self.added.len() - 1;
                &mut self.added[last]
            }
        };
        let mut clash = |clash: Clash, what: String| match clash {
            Clash::Fail => {
                let fix = "Change the pod or the template";
                self.problems.push(Problem { reason: Reason::Conflict, what, fix });
            }
            Clash::Keep => self.warnings.push((Reason::Conflict, format!("kept the existing one: {what}"))),
        };
        for member in &change.env {
            match target.env_named(&member.name) {
                None => {
                    target.env.push(EnvAddition::Constant(member));
                    target.added_by.push((&member.name, &ready.template.name));
                    added.env.push(&member.name);
                }
                Some(own) if equal(&own, &member.value) => {}
                Some(_) => clash(on_conflict.env, target.has("the variable", &member.name)),
            }
        }
        for member in &change.env_from {
            let own = target.own.env_from.iter().flatten().chain(target.env_from.iter().copied());
            if !own.into_iter().any(|own| equal(own, &member.value)) {
                target.env_from.push(&member.value);
                added.env_from.push(&member.value);
            }
        }
        for mount in &change.mounts {
            match target.mounted_at(&mount.path) {
                None if target.uses_otherwise(mount) => {
                    let what = if mount.is_device { "a mount of the volume" } else { "a device of the volume" };
                    clash(on_conflict.mounts, target.has(what, &mount.volume));
                }
                None => {
                    target.mounts.push(mount);
                    target.added_by.push((&mount.path, &ready.template.name));
                    added.mounts.push(mount);
                }
                Some(own) if equal(own, &mount.value) => self.equal_mounts.push(mount),
                Some(_) => clash(on_conflict.mounts, target.has("a mount at", &mount.path)),
            }
        }
        for append in &change.append_env {
            if ready.verifies && target.holds(append) {
                continue;
            }
            match target.append(append) {
                Ok(suffix) => {
                    if target.own.env_from.as_ref().is_some_and(|list| !list.is_empty()) && suffix.is_none() {
                        let what = format!("{} may override one from envFrom in {}", append.name, shown(name, 63));
                        self.warnings.push((Reason::Injected, what));
                    }
                    match suffix {
                        Some(suffix) => added.appended.push((&append.name, suffix)),
                        None => added.env.push(&append.name),
                    }
                }
                Err(what) => {
                    let fix = "Give the variable a plain value, or change the template";
                    self.problems.push(Problem { reason: Reason::Conflict, what, fix });
                }
            }
        }
    }
}
