//! Keeps the catalog up to date: from files (compared every second) or from labelled ConfigMaps of one
//! namespace (watched). The only writer of the catalog; each change publishes a new one whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};

use crate::inject::diagnostic::Diagnostic;
use crate::inject::sources::{Holder, Sources};
use crate::server::Webhook;
use crate::templates;

/// How often files are compared. Kubelet swaps symbolic links, which file events need not show.
const INTERVAL: Duration = Duration::from_secs(1);

/// Publishes catalogs and says what changed.
struct Publisher {
    webhook: Arc<Webhook>,
    sources: Sources,
    reported: BTreeSet<String>,
    warned: BTreeSet<String>,
}

impl Publisher {
    fn new(webhook: Arc<Webhook>) -> Self {
        Self { webhook, sources: Sources::default(), reported: BTreeSet::new(), warned: BTreeSet::new() }
    }

    fn publish(&mut self) {
        let published = self.sources.catalog();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.webhook.metrics.published(&published.valid, &self.sources.take_failed(), now);
        let current: BTreeSet<String> = published.errors.iter().map(Diagnostic::one_line).collect();
        for error in current.difference(&self.reported) {
            tracing::error!("template rejected: {error}");
        }
        for error in self.reported.difference(&current) {
            tracing::info!("template problem gone: {error}");
        }
        self.reported = current;
        tracing::info!(templates = published.catalog.len(), problems = published.errors.len(), "catalog published");
        let warnings: BTreeSet<String> = published.warnings.iter().map(Diagnostic::one_line).collect();
        for warning in warnings.difference(&self.warned) {
            tracing::warn!("template warning: {warning}");
        }
        self.warned = warnings;
        self.webhook.catalog.store(Arc::new(Some(published.catalog)));
    }
}

/// Serves the templates under `paths`, for ever. The first catalog is published before this waits.
pub async fn files(paths: Vec<PathBuf>, webhook: Arc<Webhook>) {
    let mut publisher = Publisher::new(webhook);
    let mut before = None;
    loop {
        let paths = paths.clone();
        let snapshot = tokio::task::spawn_blocking(move || templates::read_files(&paths)).await.unwrap_or_default();
        if before.as_ref() != Some(&snapshot) {
            templates::load(&snapshot, &mut publisher.sources);
            publisher.publish();
            before = Some(snapshot);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Serves the labelled ConfigMaps of `namespace`, for ever. Watches that end are begun anew.
pub async fn config_maps(client: Client, namespace: String, webhook: Arc<Webhook>) {
    let mut publisher = Publisher::new(webhook);
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels(&format!("{}=true", templates::LABEL));
    let mut events = watcher::watcher(api, config).boxed();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(set(&mut publisher.sources, &namespace, object));
            }
            Ok(Event::InitDone) => {
                publisher.sources.retain(|name| listed.contains(name));
                publisher.publish();
            }
            Ok(Event::Apply(object)) => {
                set(&mut publisher.sources, &namespace, object);
                publisher.publish();
            }
            Ok(Event::Delete(object)) => {
                publisher.sources.remove(&holder_name(&namespace, &object.name_any()));
                publisher.publish();
            }
            Err(error) => {
                tracing::warn!(%error, "watching the template ConfigMaps failed; trying again");
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

fn holder_name(namespace: &str, name: &str) -> String {
    format!("ConfigMap {namespace}/{name}")
}

fn set(sources: &mut Sources, namespace: &str, object: ConfigMap) -> String {
    let name = holder_name(namespace, &object.name_any());
    let created = object.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default();
    let holder = Holder { created, name: name.clone() };
    let data: BTreeMap<String, String> = object.data.unwrap_or_default();
    sources.set(&holder, templates::of_config_map(&holder, data));
    name
}
