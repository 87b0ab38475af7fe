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
use crate::inject::template::body::additions::{AppChange, Append, Member, Mount};
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
    /// Applies one entry to a container that it selects.
    fn apply(
        &mut self,
        change: &'r AppChange,
        init: bool,
        index: usize,
        container: &'r Container<'r>,
        ready: &'r Ready<'r>,
    ) {
        let at = match self.target(init, index, container) {
            Ok(at) => at,
            Err(what) => {
                let fix = "Fix the pod";
                return self.problems.push(Problem { reason: Reason::InvalidPod, what, fix });
            }
        };
        let added_at = self.added(self.containers[at].name);
        let mut target = Target {
            ready,
            container: &mut self.containers[at],
            added: &mut self.added[added_at],
            equal_mounts: &mut self.equal_mounts,
            problems: &mut self.problems,
            warnings: &mut self.warnings,
        };
        target.add_env(&change.env);
        target.add_env_from(&change.env_from);
        target.add_mounts(&change.mounts);
        target.append_env(&change.append_env);
    }

    /// The index in `containers` of a container of the pod. It is added if it is not there yet.
    ///
    /// # Errors
    /// If one of its lists cannot be read. The error is a sentence without its full stop.
    fn target(&mut self, init: bool, index: usize, container: &'r Container<'r>) -> Result<usize, String> {
        let known = self.containers.iter().position(|known| known.init == init && known.index == index);
        if let Some(at) = known {
            return Ok(at);
        }
        self.containers.push(AppContainer::of(init, index, container)?);
        Ok(self.containers.len() - 1)
    }

    /// The index in `added` of the additions to the container with this name. They are added if they are not there yet.
    fn added(&mut self, container: &'r str) -> usize {
        self.added.iter().position(|added| added.container == container).unwrap_or_else(|| {
            let (env, env_from, mounts) = (Vec::new(), Vec::new(), Vec::new());
            self.added.push(AppAdded { container, env, env_from, mounts, appended: Vec::new() });
            self.added.len() - 1
        })
    }
}

/// A container to which a template is applied, and the parts of the outcome that this changes.
struct Target<'o, 'r> {
    ready: &'r Ready<'r>,
    container: &'o mut AppContainer<'r>,
    added: &'o mut AppAdded<'r>,
    equal_mounts: &'o mut Vec<&'r Mount>,
    problems: &'o mut Vec<Problem>,
    warnings: &'o mut Vec<(Reason, String)>,
}

impl<'r> Target<'_, 'r> {
    fn add_env(&mut self, env: &'r [Member]) {
        for member in env {
            match self.container.env_named(&member.name) {
                None => {
                    self.container.env.push(EnvAddition::Constant(member));
                    self.container.added_by.push((&member.name, &self.ready.template.name));
                    self.added.env.push(&member.name);
                }
                Some(own) if equal(&own, &member.value) => {}
                Some(_) => self.clash(self.ready.on_conflict.env, "the variable", &member.name),
            }
        }
    }

    fn add_env_from(&mut self, env_from: &'r [Member]) {
        for member in env_from {
            let container = &mut *self.container;
            let own = container.own.env_from.iter().flatten().chain(container.env_from.iter().copied());
            if !own.into_iter().any(|own| equal(own, &member.value)) {
                container.env_from.push(&member.value);
                self.added.env_from.push(&member.value);
            }
        }
    }

    fn add_mounts(&mut self, mounts: &'r [Mount]) {
        let on_conflict = self.ready.on_conflict.mounts;
        for mount in mounts {
            let other_use = self.container.other_use(mount);
            match self.container.mounted_at(&mount.path) {
                None if let Some(what) = other_use => self.clash(on_conflict, what, &mount.volume),
                None => {
                    self.container.mounts.push(mount);
                    self.container.added_by.push((&mount.path, &self.ready.template.name));
                    self.added.mounts.push(mount);
                }
                Some(own) if equal(own, &mount.value) => self.equal_mounts.push(mount),
                Some(own) => {
                    // The path as the container has it, which can be written in another way.
                    let path = ["mountPath", "devicePath"].iter().find_map(|field| own[*field].as_str());
                    let path = path.unwrap_or(&mount.path).to_owned();
                    self.clash(on_conflict, "a mount at", &path);
                }
            }
        }
    }

    fn append_env(&mut self, append_env: &'r [Append]) {
        for append in append_env {
            if self.ready.verifies && self.container.holds(append) {
                continue;
            }
            match self.container.append(append) {
                Ok(Some(suffix)) => self.added.appended.push((&append.name, suffix)),
                Ok(None) => {
                    if self.container.own.env_from.as_ref().is_some_and(|list| !list.is_empty()) {
                        let name = shown(self.container.name, 63);
                        let what = format!("{} may override one from envFrom in {name}", append.name);
                        self.warnings.push((Reason::Injected, what));
                    }
                    self.added.env.push(&append.name);
                }
                Err(what) => {
                    let fix = "Give the variable a plain value, or change the template";
                    self.problems.push(Problem { reason: Reason::Conflict, what, fix });
                }
            }
        }
    }

    /// Reports that the container already has `what`, such as `a mount at`, with this name.
    fn clash(&mut self, clash: Clash, what: &str, name: &str) {
        let what = self.container.has(what, name);
        match clash {
            Clash::Fail => {
                let fix = "Change the pod or the template";
                self.problems.push(Problem { reason: Reason::Conflict, what, fix });
            }
            Clash::Keep => self.warnings.push((Reason::Conflict, format!("kept the existing one: {what}"))),
        }
    }
}
