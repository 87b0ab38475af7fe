//! Writes a plan as a JSON Patch (RFC 6902). It uses only `add` operations: to an index, to the end of a list, to a
//! member, or to a parent that does not exist and is created once. It does not compute a difference, so no part of the
//! pod can be lost or moved. This module makes no decisions.

use std::io::Write as _;

use serde_json::Value as Json;

use crate::inject::plan::app_container::{AppContainer, EnvAddition};
use crate::inject::plan::contents::Plan;
use crate::inject::plan::pointer::escaped;
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::review::push_string;
use crate::inject::template::body::item::Item;

/// The lists and maps that a plan creates because they are absent from the pod, or null, which is the same to the API
/// server. Returns JSON pointers relative to the pod, with the container's name in place of its index.
pub(crate) fn created(plan: &Plan<'_>, metadata: &Metadata<'_>, spec: &Spec<'_>) -> Vec<String> {
    let lists = [
        ("/metadata/annotations", metadata.annotations.is_none()),
        ("/metadata/labels", metadata.labels.is_none() && !plan.labels.is_empty()),
        ("/spec/initContainers", spec.init_containers.is_none() && !plan.init_containers.is_unchanged()),
        ("/spec/volumes", spec.volumes.is_none() && !plan.volumes.is_empty()),
        ("/spec/imagePullSecrets", spec.image_pull_secrets.is_none() && !plan.image_pull_secrets.is_empty()),
    ];
    let mut created: Vec<String> =
        lists.into_iter().filter(|(_, created)| *created).map(|(pointer, _)| pointer.to_owned()).collect();
    for container in &plan.app_containers {
        let own = &container.own;
        let devices = container.mounts.iter().filter(|mount| mount.is_device).count();
        let list = if container.init { "initContainers" } else { "containers" };
        for (field, is_created) in [
            ("env", own.env.is_none() && !container.env.is_empty()),
            ("envFrom", own.env_from.is_none() && !container.env_from.is_empty()),
            ("volumeMounts", own.mounts.is_none() && container.mounts.len() > devices),
            ("volumeDevices", own.devices.is_none() && devices > 0),
        ] {
            created.extend(is_created.then(|| format!("/spec/{list}/{}/{field}", container.name)));
        }
    }
    created
}

/// Returns the patch for `plan` as JSON text. `status` is the key and the value of the status annotation. `root` is the
/// JSON pointer of the pod in the document; empty if the document is a pod.
pub(crate) fn write(
    plan: &Plan<'_>,
    status: (&str, &str),
    metadata: &Metadata<'_>,
    spec: &Spec<'_>,
    root: &str,
) -> Vec<u8> {
    let mut patch = Patch::new(root, plan, status.1);
    let annotations = plan.annotations.iter().map(|(key, value)| (*key, value.as_ref()));
    let annotations: Vec<(&str, &str)> = annotations.chain([status]).collect();
    patch.map("/metadata/labels", metadata.labels.is_some(), &plan.labels);
    patch.map("/metadata/annotations", metadata.annotations.is_some(), &annotations);
    for operation in plan.pod_level.iter().flat_map(|pod| &pod.operations) {
        patch.value(&operation.pointer(), &operation.value);
    }
    // This is done first, because new containers change the indexes of the pod's own.
    for container in &plan.app_containers {
        patch.app_container(container);
    }
    patch.list("/spec/initContainers", spec.init_containers.is_some(), plan.init_containers.insertions());
    patch.list("/spec/containers", spec.containers.is_some(), plan.containers.insertions());
    patch.list("/spec/volumes", spec.volumes.is_some(), plan.volumes.iter().map(|item| (None, *item)));
    let secrets = plan.image_pull_secrets.iter().map(|item| (None, *item));
    patch.list("/spec/imagePullSecrets", spec.image_pull_secrets.is_some(), secrets);
    patch.finish()
}

struct Patch<'r> {
    out: Vec<u8>,
    root: &'r str,
}

impl<'r> Patch<'r> {
    fn new(root: &'r str, plan: &Plan<'_>, status: &str) -> Self {
        let containers = plan.init_containers.insertions().chain(plan.containers.insertions()).map(|(_, item)| item);
        let items = containers.chain(plan.volumes.iter().copied()).chain(plan.image_pull_secrets.iter().copied());
        let items: usize = items.map(|item| item.json.len() + 64 + root.len()).sum();
        let pairs: usize = plan
            .labels
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .chain(plan.annotations.iter().map(|(k, v)| k.len() + v.len()))
            .map(|length| length + 96 + root.len())
            .sum();
        // Quotes in the status are escaped, which adds about a third.
        let mut out = Vec::with_capacity(items + pairs + status.len() * 3 / 2 + 128);
        out.push(b'[');
        Self { out, root }
    }

    /// Writes an operation up to its value.
    fn add(&mut self, path: &str, last: Last<'_>) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        self.out.extend_from_slice(br#"{"op":"add","path":""#);
        // Root and path are made from constants and indexes: plain ASCII without quotes.
        self.out.extend_from_slice(self.root.as_bytes());
        self.out.extend_from_slice(path.as_bytes());
        match last {
            Last::None => {}
            Last::End => self.out.extend_from_slice(b"/-"),
            // Writing to a Vec cannot fail.
            Last::Index(index) => _ = write!(self.out, "/{index}"),
            Last::Key(key) => self.step(key),
        }
        self.out.extend_from_slice(br#"","value":"#);
    }

    /// Writes the last step of a pointer, in a JSON string.
    fn step(&mut self, key: &str) {
        self.out.push(b'/');
        let from = self.out.len();
        push_string(&mut self.out, &escaped(key));
        // Remove the quotes of the key. The pointer has its own.
        self.out.remove(from);
        self.out.pop();
    }

    fn map(&mut self, path: &str, exists: bool, pairs: &[(&str, &str)]) {
        if exists {
            for (key, value) in pairs {
                self.add(path, Last::Key(key));
                push_string(&mut self.out, value);
                self.out.push(b'}');
            }
        } else if !pairs.is_empty() {
            self.add(path, Last::None);
            for (index, (key, value)) in pairs.iter().enumerate() {
                self.out.push(if index == 0 { b'{' } else { b',' });
                push_string(&mut self.out, key);
                self.out.push(b':');
                push_string(&mut self.out, value);
            }
            self.out.extend_from_slice(b"}}");
        }
    }

    fn list<'i>(&mut self, path: &str, exists: bool, items: impl Iterator<Item = (Option<usize>, &'i Item)>) {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return;
        }
        if exists {
            for (index, item) in items {
                self.add(path, index.map_or(Last::End, Last::Index));
                self.out.extend_from_slice(item.json.as_bytes());
                self.out.push(b'}');
            }
            return;
        }
        self.add(path, Last::None);
        for (count, (_, item)) in items.enumerate() {
            self.out.push(if count == 0 { b'[' } else { b',' });
            self.out.extend_from_slice(item.json.as_bytes());
        }
        self.out.extend_from_slice(b"]}");
    }

    /// Writes the additions to one of the pod's own containers.
    fn app_container(&mut self, container: &AppContainer<'_>) {
        let list = if container.init { "initContainers" } else { "containers" };
        let base = format!("/spec/{list}/{}", container.index);
        for (index, value) in &container.values {
            self.add(&format!("{base}/env/{index}/value"), Last::None);
            push_string(&mut self.out, value);
            self.out.push(b'}');
        }
        let env: Vec<Json> = container.env.iter().map(EnvAddition::json).collect();
        let of_kind = |is_device| container.mounts.iter().filter(move |m| m.is_device == is_device).map(|m| &m.value);
        let (own, env_from) = (&container.own, container.env_from.iter().copied());
        self.values(&format!("{base}/env"), own.env.is_some(), env.iter());
        self.values(&format!("{base}/envFrom"), own.env_from.is_some(), env_from);
        self.values(&format!("{base}/volumeMounts"), own.mounts.is_some(), of_kind(false));
        self.values(&format!("{base}/volumeDevices"), own.devices.is_some(), of_kind(true));
    }

    fn value(&mut self, path: &str, value: &Json) {
        self.add(path, Last::None);
        // Values always have a JSON form.
        let _ = serde_json::to_writer(&mut self.out, value);
        self.out.push(b'}');
    }

    /// Appends to a list, or creates it.
    fn values<'v>(&mut self, path: &str, exists: bool, values: impl Iterator<Item = &'v Json>) {
        let values: Vec<&Json> = values.collect();
        // Values always have a JSON form.
        if exists {
            for value in values {
                self.add(path, Last::End);
                let _ = serde_json::to_writer(&mut self.out, value);
                self.out.push(b'}');
            }
        } else if !values.is_empty() {
            self.add(path, Last::None);
            let _ = serde_json::to_writer(&mut self.out, &values);
            self.out.push(b'}');
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.out.push(b']');
        self.out
    }
}

/// The last step of an operation's path.
#[derive(Clone, Copy)]
enum Last<'k> {
    None,
    End,
    Index(usize),
    Key(&'k str),
}
