//! The status annotation (`sidecar.io/status`): what was added to a pod, so that a second run adds
//! nothing and an undo is possible. Read as untrusted text: pod authors can write it.

pub(crate) mod write;

use crate::inject::kube::defaults;
use crate::inject::review::pod::{Container, Metadata, NamedObject, Spec, StringMap};
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

/// What the annotation of a pod says, as far as it can be believed.
#[derive(Debug, Default)]
pub struct Status<'a> {
    entries: Vec<(ReadEntry, &'a RawValue)>,
}

/// An entry of a status.
#[derive(Clone, Copy, Debug)]
pub struct StatusEntry<'s> {
    /// The template's name.
    pub name: &'s str,
    /// The entry as it is written.
    pub raw: &'s RawValue,
}

/// The part of an entry that decides whether its template is present.
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
    /// Container -> paths.
    mounts: BTreeMap<String, Vec<String>>,
    /// Container -> variables.
    env: BTreeMap<String, Vec<String>>,
    /// Container -> entries.
    env_from: BTreeMap<String, Vec<Json>>,
    /// Container -> variable -> what was appended.
    appended: BTreeMap<String, BTreeMap<String, String>>,
    /// Pointers below `/spec`.
    pod: Vec<String>,
}

impl<'a> Status<'a> {
    /// Reads the annotation. What is not readable counts as absent.
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

    /// The entries whose templates are in the pod, as they are written, by name: each lists something,
    /// and every container it lists is in the pod (without containers: everything it lists).
    #[must_use]
    pub fn present<'s>(&'s self, metadata: &Metadata<'_>, spec: &Spec<'_>) -> Vec<StatusEntry<'s>> {
        let is_present = |(entry, _): &&(ReadEntry, &'a RawValue)| entry.added.is_in(metadata, spec);
        self.entries.iter().filter(is_present).map(|(entry, raw)| StatusEntry { name: &entry.name, raw }).collect()
    }

    /// The entry that records that a template of that name was left out.
    #[must_use]
    pub fn left_out(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.entries.iter().find(|(entry, _)| entry.name == name && entry.skipped.is_some());
        found.map(|(_, raw)| *raw)
    }

    /// The names of all volumes that are listed, each with its template.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries
            .iter()
            .flat_map(|(entry, _)| entry.added.volumes.iter().map(|name| (entry.name.as_str(), name.as_str())))
    }

    /// The names of all containers that are listed, each with its template.
    pub fn containers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().flat_map(|(entry, _)| {
            let names = entry.added.containers.iter().chain(&entry.added.init_containers);
            names.map(|name| (entry.name.as_str(), name.as_str()))
        })
    }

    /// The entry that records that this very template was left out, as it is written. A later run
    /// keeps it: what stands in the way may read differently once the other templates are in.
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
            && self.mounts.iter().all(|(container, paths)| has_members(spec, container, paths, mount_paths))
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

/// Whether the container of that name has all of these.
fn has_members(spec: &Spec<'_>, name: &str, wanted: &[String], members: fn(&Container<'_>) -> Vec<String>) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let members = members(container);
    wanted.iter().all(|wanted| members.contains(wanted))
}

/// Whether the container of that name has these `envFrom` entries.
fn has_env_from(spec: &Spec<'_>, name: &str, entries: &[Json]) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let own = values(container.env_from);
    entries.iter().all(|entry| own.contains(entry))
}

/// Whether the variables of the container of that name hold what was appended.
pub(super) fn has_appended(spec: &Spec<'_>, name: &str, suffixes: &BTreeMap<String, String>) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let env = values(container.env);
    suffixes.iter().all(|(name, suffix)| {
        let variable = env.iter().rfind(|variable| variable["name"] == name.as_str());
        variable.and_then(|variable| variable["value"].as_str()).is_some_and(|value| value.contains(suffix.as_str()))
    })
}

/// True if the spec has the member at `pointer`, and its value is not one that the API server fills in.
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
    paths
}

fn env_names(container: &Container<'_>) -> Vec<String> {
    strings(container.env, "name")
}

/// A member of each object in a list, where it is a string.
fn strings(list: Option<&RawValue>, field: &str) -> Vec<String> {
    values(list).iter().filter_map(|item| item[field].as_str().map(str::to_owned)).collect()
}

/// The entries of a list. What is not readable counts as empty.
fn values(list: Option<&RawValue>) -> Vec<Json> {
    list.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default()
}

fn has_named(list: Option<&Vec<NamedObject<'_>>>, names: &[String]) -> bool {
    names.iter().all(|name| list.is_some_and(|list| list.iter().any(|item| item.name.as_str() == name)))
}

fn has_keys(map: Option<&StringMap<'_>>, keys: &[String]) -> bool {
    keys.iter().all(|key| map.is_some_and(|map| map.get(key).is_some()))
}
