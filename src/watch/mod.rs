//! Keeps the catalog current: templates and shared values from files or from labeled ConfigMaps, and namespaces.
//!
//! Files are compared every second; the cluster is watched. Each change publishes a complete new catalog, and this
//! folder is the only writer of the catalog. It does not depend on the server and does not know who reads the catalog.

mod changes;
mod publisher;
mod seen_versions;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::{Instant, timeout_at};

use crate::state::Webhook;
use crate::watch::changes::{Change, SourceKind, events, files, reachable, versions};
use crate::watch::publisher::Publisher;

/// How long a change waits for further changes, which are then published together.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The origin of templates and shared values.
#[derive(Debug)]
pub enum TemplateSource {
    /// Files and folders.
    Files {
        /// Files and folders with template documents or ConfigMap manifests.
        templates: Vec<PathBuf>,
        /// Files with shared values.
        values: Vec<PathBuf>,
    },
    /// Labeled ConfigMaps in this namespace.
    ConfigMaps(String),
}

/// Watches the templates, and namespaces if `watch_namespaces` is true, and publishes catalogs to `webhook`. Runs
/// forever.
///
/// `client` is `None` if no cluster is needed. Without a client, [`TemplateSource::ConfigMaps`] logs an error and
/// returns.
pub async fn run(source: TemplateSource, client: Option<Client>, watch_namespaces: bool, webhook: Arc<Webhook>) {
    let mut changes = stream::SelectAll::new();
    let keys = webhook.settings.keys.clone();
    let mut waits_for = BTreeSet::new();
    let mut namespace = String::new();
    match (source, &client) {
        (TemplateSource::Files { templates, values }, _) => {
            waits_for.insert(SourceKind::Files);
            changes.push(files(templates, values));
        }
        (TemplateSource::ConfigMaps(of), Some(client)) => {
            waits_for.extend([SourceKind::Templates, SourceKind::Values]);
            let api = || Api::<ConfigMap>::namespaced(client.clone(), &of);
            changes.push(events(api(), Some(&keys.template), Change::Templates));
            changes.push(events(api(), Some(&keys.values), Change::Values));
            namespace = of;
        }
        (TemplateSource::ConfigMaps(_), None) => return tracing::error!("cannot watch ConfigMaps without a cluster"),
    }
    if let (true, Some(client)) = (watch_namespaces, &client) {
        waits_for.insert(SourceKind::Namespaces);
        changes.push(events(Api::all(client.clone()), None, Change::Namespaces));
    }
    if let (Some(_), Some(client)) = (webhook.trust.namespaces, &client) {
        waits_for.insert(SourceKind::Local);
        changes.push(events(Api::<ConfigMap>::all(client.clone()), Some(&keys.template), Change::Local));
    }
    if let Some(client) = &client {
        waits_for.insert(SourceKind::Version);
        changes.push(versions(client.clone()));
    }
    if let Some(client) = client.filter(|_| !namespace.is_empty() || watch_namespaces) {
        webhook.metrics.set_in_sync(false);
        changes.push(reachable(client, namespace.clone()));
    }
    publish(Publisher::new(webhook, namespace, watch_namespaces, waits_for), changes).await;
}

/// Applies changes as they arrive, and publishes catalogs.
async fn publish(mut publisher: Publisher, mut changes: impl Stream<Item = Change> + Unpin) {
    let mut next = changes.next().await;
    while let Some(change) = next {
        let mut dirty = publisher.apply(change);
        // Changes that arrive together are published together. Waiting three times as long as the last publication took
        // limits publishing to a quarter of the time.
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
