//! The status annotation (`sidecar.io/status`): what was added to a pod, so that a second run adds
//! nothing and an undo is possible. Read as untrusted text: pod authors can write it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::inject::review::pod::{Container, Metadata, Named, Spec, StringMap};
use crate::inject::template::Template;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::item::Item;

/// What the annotation of a pod says, as far as it can be believed.
#[derive(Debug, Default)]
pub struct Status<'a> {
    entries: Vec<(Entry, &'a RawValue)>,
}

/// The part of an entry that decides whether its template is present.
#[derive(Debug, Deserialize)]
struct Entry {
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
struct Listed {
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
        struct Written<'a> {
            #[serde(borrow)]
            templates: Vec<&'a RawValue>,
        }
        let Some(Ok(written)) = annotation.map(serde_json::from_str::<Written<'a>>) else {
            return Self::default();
        };
        let entry = |raw: &'a RawValue| Some((serde_json::from_str::<Entry>(raw.get()).ok()?, raw));
        Self { entries: written.templates.into_iter().filter_map(entry).collect() }
    }

    /// The entries whose templates are in the pod, as they are written, by name: each lists something,
    /// and every container it lists is in the pod (without containers: everything it lists).
    #[must_use]
    pub fn present(&self, metadata: &Metadata<'_>, spec: &Spec<'_>) -> Vec<(&str, &'a RawValue)> {
        let is_present = |(entry, _): &&(Entry, &'a RawValue)| entry.added.is_in(metadata, spec);
        self.entries.iter().filter(is_present).map(|(entry, raw)| (entry.name.as_str(), *raw)).collect()
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
        let is_it = |(entry, _): &&(Entry, _)| entry.name == name && entry.hash == hash && entry.skipped.is_some();
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
fn has_appended(spec: &Spec<'_>, name: &str, suffixes: &BTreeMap<String, String>) -> bool {
    let Some(container) = spec.container(name) else { return false };
    let env = values(container.env);
    suffixes.iter().all(|(name, suffix)| {
        let variable = env.iter().rfind(|variable| variable["name"] == name.as_str());
        variable.and_then(|variable| variable["value"].as_str()).is_some_and(|value| value.contains(suffix.as_str()))
    })
}

/// Whether a member of the spec is there and is more than what the API server puts in itself.
fn has_field(spec: &Spec<'_>, pointer: &str) -> bool {
    let Some(path) = pointer.strip_prefix("/spec/") else { return false };
    let (name, rest) = path.split_once('/').map_or((path, String::new()), |(name, rest)| (name, format!("/{rest}")));
    let json = spec.field(name).and_then(|json| serde_json::from_str::<Json>(json).ok());
    let defaults = [serde_json::json!(30), serde_json::json!("default"), serde_json::json!({}), Json::Null];
    json.and_then(|json| json.pointer(&rest).cloned()).is_some_and(|value| !defaults.contains(&value))
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

fn has_named(list: Option<&Vec<Named<'_>>>, names: &[String]) -> bool {
    names.iter().all(|name| list.is_some_and(|list| list.iter().any(|item| item.name.as_str() == name)))
}

fn has_keys(map: Option<&StringMap<'_>>, keys: &[String]) -> bool {
    keys.iter().all(|key| map.is_some_and(|map| map.get(key).is_some()))
}

/// What is written.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    pub(crate) injector: &'static str,
    pub(crate) templates: Vec<WrittenEntry<'a>>,
}

/// One template in the status.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum WrittenEntry<'a> {
    /// Present already; the entry stays as it is.
    Kept(&'a RawValue),
    /// Added or left out now.
    New(Box<NewEntry<'a>>),
    /// Completed now.
    Joined(Json),
}

impl<'a> WrittenEntry<'a> {
    pub(crate) fn of(
        template: &'a Template,
        hash: &'a str,
        added: Option<Added<'a>>,
        skipped: Option<Skipped<'a>>,
    ) -> Self {
        Self::New(Box::new(NewEntry {
            name: &template.name,
            version: template.version.as_deref(),
            hash,
            mode: template.mode.as_str(),
            added,
            skipped,
        }))
    }
}

impl WrittenEntry<'_> {
    /// The entry of a template of which a part was in the pod: with what the older entry lists and the template does add.
    /// The rest of it is gone, or was never ours.
    pub(crate) fn completing(self, older: &RawValue, adds: &Additions, spec: &Spec<'_>) -> Self {
        let (Ok(older), Ok(mut entry)) = (serde_json::from_str::<Json>(older.get()), serde_json::to_value(&self))
        else {
            return self;
        };
        let Ok(listed) = serde_json::from_value::<Listed>(older["added"].clone()) else { return self };
        let Ok(mut added) = serde_json::to_value(listed.of(adds, spec)) else { return self };
        if let Some(added) = added.as_object_mut() {
            let is_empty = |value: &Json| match value {
                Json::Array(items) => items.is_empty(),
                Json::Object(members) => members.is_empty(),
                _ => true,
            };
            added.retain(|_, value| !is_empty(value));
            let created = older["added"]["created"].as_array().into_iter().flatten().filter(|item| item.is_string());
            let created: Vec<Json> = created.cloned().collect();
            added.extend((!created.is_empty()).then(|| ("created".to_owned(), Json::Array(created))));
            added.extend(older["added"]["replaced"].as_object().map(|old| ("replaced".to_owned(), old.clone().into())));
        }
        join(&mut added, &entry["added"]);
        entry["added"] = added;
        Self::Joined(entry)
    }
}

impl Listed {
    /// What of it a template adds, and is there.
    fn of(mut self, adds: &Additions, spec: &Spec<'_>) -> Self {
        let named = |items: &[Arc<Item>], name: &String| items.iter().any(|item| item.name == *name);
        let has = |name: &String| spec.container(name).is_some();
        self.containers.retain(|name| named(&adds.containers, name) && has(name));
        self.init_containers.retain(|name| named(&adds.init_containers, name) && has(name));
        self.volumes.retain(|name| named(&adds.volumes, name));
        self.image_pull_secrets.retain(|name| named(&adds.image_pull_secrets, name));
        self.labels.retain(|key| adds.labels.iter().any(|(other, _)| other == key));
        let files = || adds.volumes.iter().flat_map(|volume| &volume.files);
        self.annotations.retain(|key| adds.annotations.iter().chain(files()).any(|(other, _)| other == key));
        let changes = || adds.app_containers.iter();
        let mounts = |path: &String| changes().flat_map(|change| &change.mounts).any(|mount| mount.path == *path);
        let appends =
            |name: &String| changes().flat_map(|change| &change.append_env).any(|append| append.name == *name);
        let sets = |name: &String| changes().flat_map(|change| &change.env).any(|member| member.name == *name);
        self.mounts.values_mut().for_each(|paths| paths.retain(mounts));
        self.env.values_mut().for_each(|names| names.retain(|name| sets(name) || appends(name)));
        let from = |entry: &Json| changes().flat_map(|change| &change.env_from).any(|member| member.value == *entry);
        self.env_from.values_mut().for_each(|entries| entries.retain(from));
        for (container, suffixes) in &mut self.appended {
            suffixes.retain(|name, suffix| {
                appends(name) && has_appended(spec, container, &BTreeMap::from([(name.clone(), suffix.clone())]))
            });
        }
        self.mounts.retain(|container, paths| has(container) && !paths.is_empty());
        self.env.retain(|container, names| has(container) && !names.is_empty());
        self.env_from.retain(|container, entries| has(container) && !entries.is_empty());
        self.appended.retain(|container, suffixes| has(container) && !suffixes.is_empty());
        let field = |pointer: &String| {
            let name = pointer.strip_prefix("/spec/").and_then(|path| path.split('/').next());
            name.is_some_and(|name| adds.pod.contains_key(name))
        };
        self.pod.retain(field);
        self
    }
}

/// Adds to `older` what `newer` has: lists grow, maps are joined; of a value that both have the older stays.
fn join(older: &mut Json, newer: &Json) {
    match (older, newer) {
        (Json::Object(older), Json::Object(newer)) => {
            for (key, value) in newer {
                join(older.entry(key).or_insert(Json::Null), value);
            }
        }
        (Json::Array(older), Json::Array(newer)) => {
            let new: Vec<Json> = newer.iter().filter(|item| !older.contains(item)).cloned().collect();
            older.extend(new);
        }
        (older @ Json::Null, newer) => *older = newer.clone(),
        _ => {}
    }
}

#[derive(Serialize)]
pub(crate) struct NewEntry<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    hash: &'a str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Added<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<Skipped<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Added<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) containers: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) init_containers: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) image_pull_secrets: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) annotations: Vec<&'a str>,
    /// Container -> paths.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) mounts: BTreeMap<&'a str, Vec<&'a str>>,
    /// Container -> variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<&'a str, Vec<&'a str>>,
    /// Container -> entries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env_from: BTreeMap<&'a str, Vec<&'a Json>>,
    /// Container -> variable -> what was appended.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) appended: BTreeMap<&'a str, BTreeMap<&'a str, String>>,
    /// JSON pointers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pod: Vec<String>,
    /// JSON pointer -> what stood there before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) replaced: BTreeMap<String, Json>,
    /// Lists and maps that did not exist before. Those of a container have its name where a pointer has its index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) created: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Skipped<'a> {
    pub(crate) reason: &'static str,
    pub(crate) message: &'a str,
}
