//! What templates add to the pod's own containers: which containers an entry is about, what is in its way, and what
//! several templates come to together.

use serde_json::{Value as Json, json};

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::Ready;
use crate::inject::kube::defaults::equal;
use crate::inject::plan::glob::{is_literal, matches};
use crate::inject::plan::{Plan, PodContext};
use crate::inject::review::pod::Container;
use crate::inject::template::body::additions::{AppChange, Append, Member, Mount};
use crate::inject::template::words::Clash;

/// One of the pod's own containers and what joins it.
#[derive(Clone, Debug)]
pub(crate) struct AppContainer<'r> {
    pub(crate) init: bool,
    pub(crate) index: usize,
    pub(crate) name: &'r str,
    /// What it has; `None` where the list does not exist.
    pub(crate) own: Own,
    pub(crate) env: Vec<EnvAddition<'r>>,
    pub(crate) env_from: Vec<&'r Json>,
    pub(crate) mounts: Vec<&'r Mount>,
    /// New values of its own variables, by index.
    pub(crate) values: Vec<(usize, String)>,
    /// Which template has added a variable or a path.
    added_by: Vec<(&'r str, &'r str)>,
}

/// A variable that is added.
#[derive(Clone, Debug)]
pub(crate) enum EnvAddition<'r> {
    /// As the template has it.
    Constant(&'r Member),
    /// Put together by several `appendEnv`.
    Joined { name: &'r str, value: String },
}

impl EnvAddition<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Constant(member) => &member.name,
            Self::Joined { name, .. } => name,
        }
    }

    /// The item as JSON.
    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Constant(member) => member.value.clone(),
            Self::Joined { name, value } => json!({"name": name, "value": value}),
        }
    }
}

/// The lists of a container that can grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) env: Option<Vec<Json>>,
    pub(crate) env_from: Option<Vec<Json>>,
    pub(crate) mounts: Option<Vec<Json>>,
    pub(crate) devices: Option<Vec<Json>>,
}

/// What one template adds to one container.
#[derive(Debug)]
pub(crate) struct AppAdded<'r> {
    pub(crate) container: &'r str,
    pub(crate) env: Vec<&'r str>,
    pub(crate) env_from: Vec<&'r Json>,
    pub(crate) mounts: Vec<&'r Mount>,
    pub(crate) appended: Vec<(&'r str, String)>,
}

/// What a template comes to for the pod's own containers.
pub(super) struct AppOutcome<'r> {
    /// All containers that get something, from this and earlier templates.
    pub(super) containers: Vec<AppContainer<'r>>,
    pub(super) added: Vec<AppAdded<'r>>,
    /// Mounts that are there already.
    pub(super) equal_mounts: Vec<&'r Mount>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<(Reason, String)>,
}

/// Changes the containers that the entries of `ready` are about.
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
                if is_about(change, init, index, container, pod, ready.template.required) {
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

fn is_about(
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
                    let fix = "Mend the pod";
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
            Clash::Keep => self.warnings.push((Reason::Conflict, format!("kept what is there: {what}"))),
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
                    let what = if mount.is_device { "as a directory" } else { "as a device" };
                    clash(on_conflict.mounts, target.has(&format!("mounted {what} the volume"), &mount.volume));
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
                        let what = format!("{} may hide one of envFrom in {}", append.name, shown(name, 63));
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

impl<'r> AppContainer<'r> {
    fn of(init: bool, index: usize, container: &'r Container<'r>) -> Result<Self, String> {
        let name = container.name.as_str();
        let read = |key: &str, json: Option<&serde_json::value::RawValue>| -> Result<Option<Vec<Json>>, String> {
            let Some(json) = json else { return Ok(None) };
            let broken = |_| format!("{key} of the container \"{}\" is no list of objects", shown(name, 63));
            let list: Vec<Json> = serde_json::from_str(json.get()).map_err(broken)?;
            Ok(Some(list))
        };
        let own = Own {
            env: read("env", container.env)?,
            env_from: read("envFrom", container.env_from)?,
            mounts: read("volumeMounts", container.volume_mounts)?,
            devices: read("volumeDevices", container.volume_devices)?,
        };
        let (env, env_from, mounts, values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { init, index, name, own, env, env_from, mounts, values, added_by: Vec::new() })
    }

    fn has(&self, what: &str, name: &str) -> String {
        let template = self.added_by.iter().find(|(added, _)| *added == name).map(|(_, template)| *template);
        let owner = template.map_or("of its own".to_owned(), |template| format!("from the template {template}"));
        format!("the container \"{}\" has {what} {} {owner}", shown(self.name, 63), shown(name, 120))
    }

    /// The variable of that name: the container's last, or one that is added.
    fn env_named(&self, name: &str) -> Option<Json> {
        let new = self.env.iter().find(|addition| addition.name() == name).map(EnvAddition::json);
        new.or_else(|| self.own.env.iter().flatten().rfind(|own| own["name"] == name).cloned())
    }

    fn mounted_at(&self, path: &str) -> Option<&Json> {
        let own = self.own.mounts.iter().flatten().find(|own| own["mountPath"] == path);
        let device = || self.own.devices.iter().flatten().find(|own| own["devicePath"] == path);
        let new = || self.mounts.iter().find(|mount| mount.path == path).map(|mount| &mount.value);
        own.or_else(device).or_else(new)
    }

    /// Whether the container uses the volume the other way, as a device or as a directory: the API server refuses both.
    fn uses_otherwise(&self, mount: &Mount) -> bool {
        let own = if mount.is_device { &self.own.mounts } else { &self.own.devices };
        own.iter().flatten().any(|own| own["name"] == mount.volume.as_str())
            || self.mounts.iter().any(|new| new.is_device != mount.is_device && new.volume == mount.volume)
    }

    /// Whether the variable has what would be appended to it. Other templates may have appended behind it.
    fn holds(&self, append: &Append) -> bool {
        let own = self.own.env.iter().flatten().rfind(|own| own["name"] == append.name.as_str());
        let Some(value) = own.and_then(|own| own["value"].as_str()) else { return false };
        let in_word = |c: char| c.is_alphanumeric() || "_-./=:@".contains(c);
        let begins = |before: &str| before.is_empty() || before.ends_with(&append.separator);
        let ends = |after: &str| after.starts_with(&append.separator) || !after.starts_with(in_word);
        value
            .match_indices(append.value.as_str())
            .any(|(at, found)| begins(&value[..at]) && ends(&value[at + found.len()..]))
    }

    /// Appends to a variable; gives what was appended, or `None` where the variable is new.
    fn append(&mut self, append: &'r Append) -> Result<Option<String>, String> {
        let suffix = format!("{}{}", append.separator, append.value);
        let not_plain = |container: &Self| {
            let what = container.has("the variable", &append.name);
            Err(format!("{what}, whose value comes from elsewhere, so nothing can be appended"))
        };
        if let Some(at) = self.env.iter().position(|addition| addition.name() == append.name) {
            let json = self.env[at].json();
            if !json["valueFrom"].is_null() {
                return not_plain(self);
            }
            let value = format!("{}{suffix}", json["value"].as_str().unwrap_or_default());
            self.env[at] = EnvAddition::Joined { name: &append.name, value };
            return Ok(Some(suffix));
        }
        let own =
            self.own.env.iter().flatten().enumerate().filter(|(_, own)| own["name"] == append.name.as_str()).last();
        let Some((index, own)) = own else {
            self.env.push(EnvAddition::Joined { name: &append.name, value: append.value.clone() });
            return Ok(None);
        };
        if !own["valueFrom"].is_null() {
            return not_plain(self);
        }
        let Some(old) = own["value"].as_str().or(own["value"].is_null().then_some("")) else {
            return Err(format!("{}, whose value is no string", self.has("the variable", &append.name)));
        };
        match self.values.iter_mut().find(|(at, _)| *at == index) {
            Some((_, value)) => value.push_str(&suffix),
            None => {
                let value = format!("{old}{suffix}");
                self.values.push((index, value));
            }
        }
        Ok(Some(suffix))
    }
}
