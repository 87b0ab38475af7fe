//! One of the pod's own containers: the lists that it has, and what templates have added to it. The module does not
//! select containers and does not decide about conflicts.

use serde_json::{Value as Json, json};

use crate::inject::diagnostic::shown;
use crate::inject::kube::paths;
use crate::inject::review::pod::Container;
use crate::inject::template::body::additions::{Append, Member, Mount};

/// One of the pod's own containers with its additions.
#[derive(Clone, Debug)]
pub(crate) struct AppContainer<'r> {
    pub(crate) init: bool,
    pub(crate) index: usize,
    pub(crate) name: &'r str,
    /// The lists of the container before the additions.
    pub(crate) own: Own,
    pub(crate) env: Vec<EnvAddition<'r>>,
    pub(crate) env_from: Vec<&'r Json>,
    pub(crate) mounts: Vec<&'r Mount>,
    /// New values of the container's own variables, each with the index in `own.env`.
    pub(crate) values: Vec<(usize, String)>,
    /// The variables and paths that were added, each with the name of its template.
    pub(super) added_by: Vec<(&'r str, &'r str)>,
}

/// An added variable.
#[derive(Clone, Debug)]
pub(crate) enum EnvAddition<'r> {
    /// A variable as the template defines it.
    Constant(&'r Member),
    /// A variable whose value is joined from `appendEnv` entries.
    Joined { name: &'r str, value: String },
}

impl EnvAddition<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Constant(member) => &member.name,
            Self::Joined { name, .. } => name,
        }
    }

    /// The variable as a JSON object.
    pub(crate) fn json(&self) -> Json {
        match self {
            Self::Constant(member) => member.value.clone(),
            Self::Joined { name, value } => json!({"name": name, "value": value}),
        }
    }
}

/// The lists of a container that templates can add to; `None` for a list that does not exist.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) env: Option<Vec<Json>>,
    pub(crate) env_from: Option<Vec<Json>>,
    pub(crate) mounts: Option<Vec<Json>>,
    pub(crate) devices: Option<Vec<Json>>,
}

/// The additions of one template to one container.
#[derive(Debug)]
pub(crate) struct AppAdded<'r> {
    pub(crate) container: &'r str,
    pub(crate) env: Vec<&'r str>,
    pub(crate) env_from: Vec<&'r Json>,
    pub(crate) mounts: Vec<&'r Mount>,
    pub(crate) appended: Vec<(&'r str, String)>,
}

impl<'r> AppContainer<'r> {
    pub(super) fn of(init: bool, index: usize, container: &'r Container<'r>) -> Result<Self, String> {
        let name = container.name.as_str();
        let read = |key: &str, json: Option<&serde_json::value::RawValue>| -> Result<Option<Vec<Json>>, String> {
            let Some(json) = json else { return Ok(None) };
            let broken = |_| format!("{key} of the container \"{}\" is not a list of objects", shown(name, 63));
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

    /// The name of the template that added the variable, or the mount or device at the path, of this name.
    pub(super) fn template_of(&self, name: &str) -> Option<&'r str> {
        self.added_by.iter().find(|(added, _)| *added == name).map(|(_, template)| *template)
    }

    pub(super) fn has(&self, what: &str, name: &str) -> String {
        let owner = self.template_of(name).map_or(String::new(), |template| format!(" from the template {template}"));
        format!("the container \"{}\" already has {what} {}{owner}", shown(self.name, 63), shown(name, 120))
    }

    /// The variable with this name: an added one, or the container's last one.
    pub(super) fn env_named(&self, name: &str) -> Option<Json> {
        let new = self.env.iter().find(|addition| addition.name() == name).map(EnvAddition::json);
        new.or_else(|| self.own.env.iter().flatten().rfind(|own| own["name"] == name).cloned())
    }

    /// The mount or device at this path. Paths are compared as the runtime reads them.
    pub(super) fn mounted_at(&self, path: &str) -> Option<&Json> {
        let path = paths::clean(path);
        let is_there = |own: &&Json, field: &str| own[field].as_str().is_some_and(|own| paths::clean(own) == path);
        let own = self.own.mounts.iter().flatten().find(|own| is_there(own, "mountPath"));
        let device = || self.own.devices.iter().flatten().find(|own| is_there(own, "devicePath"));
        let new = || self.mounts.iter().find(|mount| paths::clean(&mount.path) == path).map(|mount| &mount.value);
        own.or_else(device).or_else(new)
    }

    /// How the container already uses the volume of `mount`, if the API server rejects both uses in one container: as a
    /// device and as a directory, or as two devices.
    pub(super) fn other_use(&self, mount: &Mount) -> Option<&'static str> {
        let uses = |is_device: bool| {
            let own = if is_device { &self.own.devices } else { &self.own.mounts };
            own.iter().flatten().any(|own| own["name"] == mount.volume.as_str())
                || self.mounts.iter().any(|new| new.is_device == is_device && new.volume == mount.volume)
        };
        if uses(true) {
            return Some("a device of the volume");
        }
        (mount.is_device && uses(false)).then_some("a mount of the volume")
    }

    /// Returns true if the variable already contains the appended value. Other templates can have appended to it
    /// later.
    pub(super) fn holds(&self, append: &Append) -> bool {
        let own = self.own.env.iter().flatten().rfind(|own| own["name"] == append.name.as_str());
        let Some(value) = own.and_then(|own| own["value"].as_str()) else { return false };
        let in_word = |c: char| c.is_alphanumeric() || "_-./=:@".contains(c);
        let begins = |before: &str| before.is_empty() || before.ends_with(&append.separator);
        let ends = |after: &str| after.starts_with(&append.separator) || !after.starts_with(in_word);
        value
            .match_indices(append.value.as_str())
            .any(|(at, found)| begins(&value[..at]) && ends(&value[at + found.len()..]))
    }

    /// Appends to a variable. Returns the appended text, or `None` if the variable is new.
    ///
    /// # Errors
    /// If the variable has no plain value. The error is a sentence without its full stop.
    pub(super) fn append(&mut self, append: &'r Append) -> Result<Option<String>, String> {
        let suffix = format!("{}{}", append.separator, append.value);
        let not_plain = |container: &Self| {
            let what = container.has("the variable", &append.name);
            Err(format!("{what}, whose value comes from valueFrom, so nothing can be appended"))
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
            return Err(format!("{}, whose value is not a string", self.has("the variable", &append.name)));
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
