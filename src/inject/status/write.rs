//! Writes the status annotation: for each template its additions to the pod, or the reason why it was left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::inject::kube::paths;
use crate::inject::plan::Placed;
use crate::inject::plan::pod_fields::Operation;
use crate::inject::review::pod::Spec;
use crate::inject::status::{Listed, has_appended};
use crate::inject::template::Template;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::item::Item;

/// The value of the status annotation.
#[derive(Serialize)]
pub(crate) struct Written<'a> {
    pub(crate) injector: &'static str,
    pub(crate) templates: Vec<WrittenEntry<'a>>,
}

impl Written<'_> {
    /// The status as JSON text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = Vec::with_capacity(512);
        // Strings and raw JSON always have a JSON form, which is UTF-8.
        let _ = serde_json::to_writer(&mut text, self);
        String::from_utf8(text).unwrap_or_default()
    }
}

/// One template in the status.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum WrittenEntry<'a> {
    /// An entry that is kept unchanged.
    Kept(&'a RawValue),
    /// The entry of a template that this round added or left out.
    New(Box<NewEntry<'a>>),
    /// The entry of a template that this round completed.
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
    /// Completes the older entry of a template of which the pod had only a part. Returns this entry with those
    /// additions of the older entry that the template makes. The others were removed from the pod, or were never ours.
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

/// Merges `newer` into `older`: appends list items and merges maps. If both have a value, the older one is kept.
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
    /// Container -> mount paths and device paths.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) mounts: BTreeMap<&'a str, Vec<&'a str>>,
    /// Container -> names of variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<&'a str, Vec<&'a str>>,
    /// Container -> `envFrom` entries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env_from: BTreeMap<&'a str, Vec<&'a Json>>,
    /// Container -> variable -> the appended text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) appended: BTreeMap<&'a str, BTreeMap<&'a str, String>>,
    /// JSON pointers that begin with `/spec/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pod: Vec<String>,
    /// JSON pointer -> the value before the injection.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) replaced: BTreeMap<String, Json>,
    /// JSON pointers to lists and maps that did not exist before. Containers are named by name, not by index.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) created: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct Skipped<'a> {
    pub(crate) reason: &'static str,
    pub(crate) message: &'a str,
}

impl Listed {
    /// The listed additions that the template makes and the pod has.
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
        let mounts = |path: &String| {
            changes().flat_map(|change| &change.mounts).any(|mount| paths::clean(&mount.path) == paths::clean(path))
        };
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

/// The additions of a placed template. `created` are the lists and maps that did not exist before.
pub(crate) fn added<'c>(placed: &'c Placed<'_>, created: Vec<String>) -> Added<'c> {
    let names = |items: &'c [Arc<Item>]| items.iter().map(|item| item.name.as_str()).collect();
    let mut added = Added {
        containers: names(&placed.containers),
        init_containers: names(&placed.init_containers),
        volumes: placed.volumes.iter().map(|item| item.name.as_str()).collect(),
        image_pull_secrets: placed.image_pull_secrets.clone(),
        labels: placed.labels.clone(),
        annotations: placed.annotations.clone(),
        pod: placed.pod.iter().map(Operation::pointer).collect(),
        replaced: placed.replaced.clone(),
        created,
        ..Added::default()
    };
    for app in &placed.app_containers {
        let paths: Vec<&str> = app.mounts.iter().map(|mount| mount.path.as_str()).collect();
        added.mounts.extend((!paths.is_empty()).then_some((app.container, paths)));
        added.env.extend((!app.env.is_empty()).then(|| (app.container, app.env.clone())));
        added.env_from.extend((!app.env_from.is_empty()).then(|| (app.container, app.env_from.clone())));
        let mut appended: BTreeMap<&str, String> = BTreeMap::new();
        for (name, suffix) in &app.appended {
            appended.entry(name).or_default().push_str(suffix);
        }
        added.appended.extend((!appended.is_empty()).then_some((app.container, appended)));
    }
    added
}
