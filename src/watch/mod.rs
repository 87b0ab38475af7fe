//! Keeps the catalog up to date: templates and shared values from files (compared every second) or from labelled
//! ConfigMaps of one namespace (watched), and namespaces (watched). The only writer of the catalog; each change
//! publishes a new one whole.

mod publisher;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as NamespaceObject};
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use crate::inject::catalog::sources::Holder;
use crate::inject::diagnostic::Diagnostic;
use crate::manifest::{template_files, value_files};
use crate::state::Webhook;
use crate::watch::publisher::Publisher;

/// How often files are compared. Kubelet swaps symbolic links, which file events need not show.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often the cluster is asked whether it is there: a watch whose other end has gone away says nothing for minutes,
/// and one that goes on where it was interrupted says nothing either.
const PROBE: Duration = Duration::from_secs(5);
/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing must have failed before all is well again: what fails slowly must not look well in between.
const SETTLED: Duration = Duration::from_secs(20);

/// How long a change waits for others that come with it.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Where templates and shared values come from.
#[derive(Debug)]
pub enum Source {
    /// Files and folders.
    Files {
        /// Template documents, or ConfigMap manifests.
        templates: Vec<PathBuf>,
        /// Maps of strings.
        values: Vec<PathBuf>,
    },
    /// Labelled ConfigMaps of this namespace.
    ConfigMaps(String),
}

/// A file of shared values, and what it holds.
type ValueFile = (Holder, Result<BTreeMap<String, String>, Diagnostic>);

/// Something that changed.
enum Change {
    Files(Vec<template_files::File>, Vec<ValueFile>),
    Templates(Event<ConfigMap>),
    Values(Event<ConfigMap>),
    Local(Event<ConfigMap>),
    Namespaces(Event<NamespaceObject>),
    Failed(watcher::Error),
    /// Whether the cluster answers.
    Reachable(bool),
}

/// Watches everything, for ever, and publishes.
pub async fn run(source: Source, client: Option<Client>, watch_namespaces: bool, webhook: Arc<Webhook>) {
    let mut changes = stream::SelectAll::new();
    let keys = webhook.settings.keys.clone();
    let mut waits_for = BTreeSet::new();
    let mut namespace = String::new();
    match (source, &client) {
        (Source::Files { templates, values }, _) => {
            waits_for.insert("files");
            changes.push(files(templates, values));
        }
        (Source::ConfigMaps(of), Some(client)) => {
            waits_for.extend(["templates", "values"]);
            let api = || Api::<ConfigMap>::namespaced(client.clone(), &of);
            changes.push(events(api(), Some(&keys.template), Change::Templates));
            changes.push(events(api(), Some(&keys.values), Change::Values));
            namespace = of;
        }
        (Source::ConfigMaps(_), None) => return tracing::error!("no cluster to watch"),
    }
    if let (true, Some(client)) = (watch_namespaces, &client) {
        waits_for.insert("namespaces");
        changes.push(events(Api::all(client.clone()), None, Change::Namespaces));
    }
    if let (Some(_), Some(client)) = (webhook.trust.namespaces, &client) {
        waits_for.insert("local");
        changes.push(events(Api::<ConfigMap>::all(client.clone()), Some(&keys.template), Change::Local));
    }
    if let Some(client) = client.filter(|_| !namespace.is_empty() || watch_namespaces) {
        webhook.metrics.in_sync(false);
        changes.push(reachable(client, namespace.clone()));
    }
    let mut publisher = Publisher::new(webhook, namespace, watch_namespaces, waits_for);
    let mut next = changes.next().await;
    while let Some(change) = next {
        let mut dirty = publisher.apply(change);
        // What comes together is published together, and publishing takes a quarter of the time at most.
        let until = Instant::now() + DEBOUNCE.max(publisher.took * 3);
        next = loop {
            match timeout_at(until, changes.next()).await {
                Ok(Some(change)) => dirty |= publisher.apply(change),
                Ok(None) => break None,
                Err(_) => {
                    if dirty {
                        publisher.publish();
                    }
                    break changes.next().await;
                }
            }
        };
    }
}

/// The events of a watch, which is begun anew when it ends.
fn events<K>(api: Api<K>, label: Option<&str>, change: fn(Event<K>) -> Change) -> BoxStream<'static, Change>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let config = watcher::Config::default();
    let config = label.map_or(config.clone(), |label| config.labels(&format!("{label}=true")));
    let events = watcher::watcher(api, config).then(move |event| async move {
        match event {
            Ok(event) => change(event),
            Err(error) => {
                tokio::time::sleep(INTERVAL).await;
                Change::Failed(error)
            }
        }
    });
    events.boxed()
}

/// Whether the cluster answers, again and again.
fn reachable(client: Client, namespace: String) -> BoxStream<'static, Change> {
    let next = |(client, namespace): (Client, String)| async move {
        tokio::time::sleep(PROBE).await;
        let one = ListParams::default().limit(1);
        let answers = timeout(PATIENCE, async {
            if namespace.is_empty() {
                Api::<NamespaceObject>::all(client.clone()).list_metadata(&one).await.is_ok()
            } else {
                Api::<ConfigMap>::namespaced(client.clone(), &namespace).list_metadata(&one).await.is_ok()
            }
        });
        let answers = answers.await.unwrap_or(false);
        Some((Change::Reachable(answers), (client, namespace)))
    };
    stream::unfold((client, namespace), next).boxed()
}

/// What the files hold, whenever it is something else than before.
fn files(paths: Vec<PathBuf>, value_files: Vec<PathBuf>) -> BoxStream<'static, Change> {
    let state = (paths, value_files, None);
    let next = |(paths, value_files, before): (Vec<PathBuf>, Vec<PathBuf>, Option<_>)| async move {
        loop {
            let (paths_now, values_now) = (paths.clone(), value_files.clone());
            let read = move || {
                let holder = |path: &PathBuf| Holder { created: String::new(), name: path.display().to_string() };
                let values: Vec<_> = values_now.iter().map(|path| (holder(path), value_files::read(path))).collect();
                (template_files::read_files(&paths_now), values)
            };
            let now = tokio::task::spawn_blocking(read).await.unwrap_or_default();
            if before.as_ref() != Some(&now) {
                let change = Change::Files(now.0.clone(), now.1.clone());
                return Some((change, (paths, value_files, Some(now))));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    stream::unfold(state, next).boxed()
}
