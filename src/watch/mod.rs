//! Keeps the catalog up to date: templates and shared values from files (compared every second) or from labelled
//! ConfigMaps of one namespace (watched), and namespaces (watched). The only writer of the catalog; each change
//! publishes a new one whole.

mod changes;
mod publisher;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use tokio::time::{Instant, timeout_at};

use crate::state::Webhook;
use crate::watch::changes::{Change, events, files, reachable};
use crate::watch::publisher::Publisher;

/// How long a change waits for others that come with it.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// Where templates and shared values come from.
#[derive(Debug)]
pub enum TemplateSource {
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

/// Watches everything, for ever, and publishes.
pub async fn run(source: TemplateSource, client: Option<Client>, watch_namespaces: bool, webhook: Arc<Webhook>) {
    let mut changes = stream::SelectAll::new();
    let keys = webhook.settings.keys.clone();
    let mut waits_for = BTreeSet::new();
    let mut namespace = String::new();
    match (source, &client) {
        (TemplateSource::Files { templates, values }, _) => {
            waits_for.insert("files");
            changes.push(files(templates, values));
        }
        (TemplateSource::ConfigMaps(of), Some(client)) => {
            waits_for.extend(["templates", "values"]);
            let api = || Api::<ConfigMap>::namespaced(client.clone(), &of);
            changes.push(events(api(), Some(&keys.template), Change::Templates));
            changes.push(events(api(), Some(&keys.values), Change::Values));
            namespace = of;
        }
        (TemplateSource::ConfigMaps(_), None) => return tracing::error!("no cluster to watch"),
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
        webhook.metrics.set_in_sync(false);
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
