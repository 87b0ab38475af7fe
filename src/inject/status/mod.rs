//! The status annotation (`sidecar.io/status`): the list of the additions to a pod. With it, a second round adds
//! nothing, and the additions can be removed again. It is read as untrusted text, because pod authors can write it.
//! This module does not depend on the catalog.

pub(crate) mod write;

use crate::inject::kube::{defaults, paths};
use crate::inject::review::pod::{Container, Metadata, NamedObject, Spec, StringMap};
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

/// The entries in the annotation of a pod. Entries that cannot be read are ignored.
#[derive(Debug, Default)]
pub struct Status<'a> {
    entries: Vec<(ReadEntry, &'a RawValue)>,
}

/// One entry of a status.
#[derive(Clone, Copy, Debug)]
pub struct StatusEntry<'s> {
    /// The template's name.
    pub name: &'s str,
    /// The JSON text of the entry, unchanged.
    pub raw: &'s RawValue,
}

/// The fields of an entry that show if its template is in the pod.
#[derive(Debug, Deserialize)]
struct ReadEntry {
    name: String,
    #[serde(default)]
    hash: String,
    #[serde(default)]
    added: Listed,
    #[serde(default)]
    skipped: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Listed {
    containers: Vec<String>,
    init_containers: Vec<String>,
    volumes: Vec<String>,
    image_pull_secrets: Vec<String>,
    labels: Vec<String>,
    annotations: Vec<String>,
    /// Container -> mount paths and device paths.
    mounts: BTreeMap<String, Vec<String>>,
    /// Container -> names of variables.
    env: BTreeMap<String, Vec<String>>,
    /// Container -> `envFrom` entries.
    env_from: BTreeMap<String, Vec<Json>>,
    /// Container -> variable -> the appended text.
    appended: BTreeMap<String, BTreeMap<String, String>>,
    /// JSON pointers that begin with `/spec/`.
    pod: Vec<String>,
}

impl<'a> Status<'a> {
    /// Reads the value of the annotation, JSON text. Text or entries that cannot be read count as absent.
    #[must_use]
    pub fn parse(annotation: Option<&'a str>) -> Self {
        #[derive(Deserialize)]
        struct RawStatus<'a> {
            #[serde(borrow)]
            templates: Vec<&'a RawValue>,
        }
        let Some(Ok(written)) = annotation.map(serde_json::from_str::<RawStatus<'a>>) else {
            return Self::default();
        };
        let entry = |raw: &'a RawValue| Some((serde_json::from_str::<ReadEntry>(raw.get()).ok()?, raw));
        Self { entries: written.templates.into_iter().filter_map(entry).collect() }
    }

    /// Returns the entries whose templates are in the pod, in the order of the annotation. The pod must have every
    /// container that the entry lists. For an entry without containers, the pod must have every addition that the entry
    /// lists, at least one.
    #[must_use]
    pub fn present<'s>(&'s self, metadata: &Metadata<'_>, spec: &Spec<'_>) -> Vec<StatusEntry<'s>> {
        let is_present = |(entry, _): &&(ReadEntry, &'a RawValue)| entry.added.is_in(metadata, spec);
        self.entries.iter().filter(is_present).map(|(entry, raw)| StatusEntry { name: &entry.name, raw }).collect()
    }

    /// Returns the entry that records that a template with this name was left out.
    #[must_use]
    pub fn left_out(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.entries.iter().find(|(entry, _)| entry.name == name && entry.skipped.is_some());
        found.map(|(_, raw)| *raw)
    }

    /// Returns all listed volumes as pairs `(template, volume)` of names.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .flat_map(|(entry, _)| entry.added.volumes.iter().map(|name| (entry.name.as_str(), name.as_str())))
    }

    /// Returns all listed containers as pairs `(template, container)` of names.
    pub fn containers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().flat_map(|(entry, _)| {
            let names = entry.added.containers.iter().chain(&entry.added.init_containers);
            names.map(|name| (entry.name.as_str(), name.as_str()))
        })
    }

    /// Returns the entry that records that the template with this name and hash was left out. A later round keeps the
    /// entry, because the problem can change when the other templates are in the pod.
    #[must_use]
    pub fn skipped(&self, name: &str, hash: &str) -> Option<&'a RawValue> {
        let is_it = |(entry, _): &&(ReadEntry, _)| entry.name == name && entry.hash == hash && entry.skipped.is_some();
        self.entries.iter().find(is_it).map(|(_, raw)| *raw)
    }
}

impl Listed {
    fn is_in(&self, metadata: &Metadata<'_>, spec: &Spec<'_>) -> bool {
        if !(self.containers.is_empty() && self.init_containers.is_empty()) {
            return has_containers(spec.containers.as_ref(), &self.containers)
                && has_containers(spec.init_containers.as_ref(), &self.init_containers);
        }
        let lists = [&self.volumes, &self.image_pull_secrets, &self.labels, &self.annotations];
        let no_maps =
            self.mounts.is_empty() && self.env.is_empty() && self.env_from.is_empty() && self.appended.is_empty();
        let field = |pointer: &String| has_field(spec, pointer);
        (lists.iter().any(|list| !list.is_empty()) || !no_maps || !self.pod.is_empty())
            && self.pod.iter().all(field)
            && self.mounts.iter().all(|(container, paths)| has_members(spec, container, &cleaned(paths), mount_paths))
            && self.env.iter().all(|(container, names)| has_members(spec, container, names, env_names))
            && self.env_from.iter().all(|(container, entries)| has_env_from(spec, container, entries))
            && self.appended.iter().all(|(container, suffixes)| has_appended(spec, container, suffixes))
            && has_named(spec.volumes.as_ref(), &self.volumes)
            && has_named(spec.image_pull_secrets.as_ref(), &self.image_pull_secrets)
            && has_keys(metadata.labels.as_ref(), &self.labels)
            && has_keys(metadata.annotations.as_ref(), &self.annotations)
    }
}

fn has_containers(list: Option<&Vec<Container<'_>>>, names: &[String]) -> bool {
    names.iter().all(|name| list.is_some_and(|list| list.iter().any(|c| c.name.as_str() == name)))
}

/// Returns true if the container `name` has all wanted members.
fn has_members(spec: &Spec<'_>, name: &str, wanted: &[String], members: fn(&Container<'_>) -> Vec<String>) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let members = members(container);
    wanted.iter().all(|wanted| members.contains(wanted))
}

/// Returns true if the container `name` has these `envFrom` entries.
fn has_env_from(spec: &Spec<'_>, name: &str, entries: &[Json]) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let own = values(container.env_from);
    entries.iter().all(|entry| own.contains(entry))
}

/// Returns true if the variables of the container `name` contain the appended texts.
pub(super) fn has_appended(spec: &Spec<'_>, name: &str, suffixes: &BTreeMap<String, String>) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let env = values(container.env);
    suffixes.iter().all(|(name, suffix)| {
        let variable = env.iter().rfind(|variable| variable["name"] == name.as_str());
        variable.and_then(|variable| variable["value"].as_str()).is_some_and(|value| value.contains(suffix.as_str()))
    })
}

/// Returns true if the spec has the member at `pointer`, and its value is not a default of the API server.
fn has_field(spec: &Spec<'_>, pointer: &str) -> bool {
    let Some(path) = pointer.strip_prefix("/spec/") else { return false };
    let (name, rest) = path.split_once('/').map_or((path, String::new()), |(name, rest)| (name, format!("/{rest}")));
    let field = spec.field(name).and_then(|json| serde_json::from_str::<Json>(json).ok());
    let Some(value) = field.as_ref().and_then(|field| field.pointer(&rest)) else { return false };
    let is_default = rest.is_empty() && defaults::of_spec(name).is_some_and(|default| default == *value);
    !value.is_null() && !is_default
}

fn mount_paths(container: &Container<'_>) -> Vec<String> {
    let mut paths = strings(container.volume_mounts, "mountPath");
    paths.extend(strings(container.volume_devices, "devicePath"));
    cleaned(&paths)
}

/// The paths as the runtime reads them.
fn cleaned(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| paths::clean(path).into_owned()).collect()
}

fn env_names(container: &Container<'_>) -> Vec<String> {
    strings(container.env, "name")
}

/// The member `field` of each object in a list, if it is a string.
fn strings(list: Option<&RawValue>, field: &str) -> Vec<String> {
    values(list).iter().filter_map(|item| item[field].as_str().map(str::to_owned)).collect()
}

/// The entries of a list. A list that cannot be read counts as empty.
fn values(list: Option<&RawValue>) -> Vec<Json> {
    list.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
}

fn has_named(list: Option<&Vec<NamedObject<'_>>>, names: &[String]) -> bool {
    names.iter().all(|name| list.is_some_and(|list| list.iter().any(|item| item.name.as_str() == name)))
}

fn has_keys(map: Option<&StringMap<'_>>, keys: &[String]) -> bool {
    keys.iter().all(|key| map.is_some_and(|map| map.get(key).is_some()))
}
