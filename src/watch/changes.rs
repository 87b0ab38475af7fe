//! Streams of changes: from watches of the cluster, from files, and whether the cluster answers.
//!
//! A stream does not end: a failed watch starts again. This module does not know what a change means for the catalog.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace as NamespaceObject};
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::inject::catalog::holder::Holder;
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::diagnostic::Diagnostic;
use crate::manifest::{template_files, value_files};

/// How often files are compared, and the pause after a failed watch. File system events do not report reliably that the
/// kubelet has swapped the symbolic links of a volume.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the cluster is probed. A watch does not report for minutes that its connection is lost, and does not
/// report that it has resumed.
const PROBE: Duration = Duration::from_secs(5);
/// Maximum duration of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// A file of shared values: its identity, and its content or the error of reading it.
pub(super) type ValueFile = (Holder, Result<BTreeMap<String, String>, Diagnostic>);

/// The kinds of sources that the catalog is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceKind {
    /// Template files and files of shared values.
    Files,
    /// Central ConfigMaps with templates.
    Templates,
    /// ConfigMaps with shared values.
    Values,
    /// ConfigMaps with templates in the pods' own namespaces.
    Local,
    /// Namespaces.
    Namespaces,
    /// The version of the cluster.
    Version,
}

/// One change.
pub(super) enum Change {
    /// The content of all template files and value files.
    Files(Vec<template_files::TemplateFile>, Vec<ValueFile>),
    /// An event of a central ConfigMap with templates.
    Templates(Event<ConfigMap>),
    /// An event of a ConfigMap with shared values.
    Values(Event<ConfigMap>),
    /// An event of a ConfigMap with templates in any namespace.
    Local(Event<ConfigMap>),
    /// An event of a namespace.
    Namespaces(Event<NamespaceObject>),
    /// The version of the API server that answered; `None` if it does not tell.
    Version(Option<ClusterVersion>),
    /// A failed list or watch.
    Failed(watcher::Error),
    /// The result of a probe: true if the cluster answers.
    Reachable(bool),
}

/// Returns the events of a watch, as changes. `label` is the key of a label that must be `true`. A watch that ends is
/// started again.
pub(super) fn events<K>(api: Api<K>, label: Option<&str>, change: fn(Event<K>) -> Change) -> BoxStream<'static, Change>
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

/// Probes the cluster repeatedly, with a request that the permissions of the watches allow. An empty `namespace` means
/// that namespaces are watched, not ConfigMaps.
pub(super) fn reachable(client: Client, namespace: String) -> BoxStream<'static, Change> {
    let next = |(client, namespace): (Client, String)| async move {
        tokio::time::sleep(PROBE).await;
        let one = ListParams::default().limit(1);
        let answers = timeout(PROBE_TIMEOUT, async {
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

/// Returns the version that the API server names, again and again. While the cluster does not answer, nothing is
/// returned.
pub(super) fn versions(client: Client) -> BoxStream<'static, Change> {
    let next = |(client, mut pause): (Client, Duration)| async move {
        loop {
            tokio::time::sleep(pause).await;
            pause = PROBE;
            let version = match timeout(PROBE_TIMEOUT, client.apiserver_version()).await {
                Ok(Ok(info)) => format!("{}.{}", info.major, info.minor).parse().ok(),
                // The API server answers, but not to this request.
                Ok(Err(kube::Error::Api(_) | kube::Error::SerdeError(_))) => None,
                Ok(Err(_)) | Err(_) => continue,
            };
            return Some((Change::Version(version), (client, pause)));
        }
    };
    stream::unfold((client, Duration::ZERO), next).boxed()
}

/// Returns the content of the files each time it changes, beginning with the current content.
pub(super) fn files(paths: Vec<PathBuf>, value_files: Vec<PathBuf>) -> BoxStream<'static, Change> {
    let state = (paths, value_files, None);
    let next = |(paths, value_files, before): (Vec<PathBuf>, Vec<PathBuf>, Option<_>)| async move {
        loop {
            let (paths_now, values_now) = (paths.clone(), value_files.clone());
            let read = move || {
                let values = values_now.iter().map(|path| (Holder::file(path), value_files::read(path)));
                let values: Vec<_> = values.collect();
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
