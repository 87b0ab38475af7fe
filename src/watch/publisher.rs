//! Applies changes to the sources of the catalog, publishes catalogs, and reports templates that do not load.
//!
//! It is the only writer of the catalog. It does not know how changes arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace as NamespaceObject, ObjectReference};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};
use tokio::time::Instant;

use crate::inject::catalog::Catalog;
use crate::inject::catalog::namespaces::{Namespace, Namespaces};
use crate::inject::catalog::sources::{FoundDocuments, Holder, Sources, of_config_map};
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::Diagnostic;
use crate::manifest::template_files;
use crate::state::Webhook;
use crate::telemetry::events::EventNote;
use crate::watch::changes::{Change, SourceKind};

/// How long no watch must have failed before the catalog counts as current again. A watch that fails repeatedly must
/// not count as healthy between two failures.
const SETTLED: Duration = Duration::from_secs(20);
/// Maximum number of template ConfigMaps in a pod's own namespace, and of bytes in them.
const MAX_LOCAL: usize = 20;
const MAX_LOCAL_BYTES: usize = 256 * 1024;

/// Returns the time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The sources of the catalog, and what has been reported about them.
pub(super) struct Publisher {
    webhook: Arc<Webhook>,
    sources: Sources,
    /// The namespace of the central ConfigMaps; empty for files.
    namespace: String,
    namespaces: Namespaces,
    /// The kinds of sources that have not been read completely yet.
    waits_for: BTreeSet<SourceKind>,
    /// The names in the list that is being read, for each kind.
    listed: BTreeMap<SourceKind, BTreeSet<String>>,
    /// The errors and warnings that have been logged and still apply.
    reported: BTreeSet<String>,
    warned: BTreeSet<String>,
    /// The errors of reading files of shared values.
    unreadable: Vec<Diagnostic>,
    /// The templates of the pods' own namespaces, and the catalogs made of them.
    local: BTreeMap<String, Sources>,
    local_catalogs: BTreeMap<String, Arc<Catalog>>,
    /// References to ConfigMaps, by the names of their holders.
    references: BTreeMap<String, ObjectReference>,
    /// The duration of the last publication.
    pub(super) took: Duration,
    /// The time of the last failure to list or watch.
    failed: Option<Instant>,
}

impl Publisher {
    /// Returns a publisher for the central ConfigMaps in `namespace`. `watched` is true if namespaces are watched. It
    /// publishes nothing until all kinds in `waits_for` have been read.
    pub(super) fn new(
        webhook: Arc<Webhook>,
        namespace: String,
        watched: bool,
        waits_for: BTreeSet<SourceKind>,
    ) -> Self {
        Self {
            sources: Sources::with_rules(webhook.trust.central, webhook.settings.keys.clone()),
            webhook,
            local: BTreeMap::new(),
            local_catalogs: BTreeMap::new(),
            namespace,
            namespaces: Namespaces { watched, known: BTreeMap::new() },
            waits_for,
            listed: BTreeMap::new(),
            reported: BTreeSet::new(),
            warned: BTreeSet::new(),
            unreadable: Vec::new(),
            references: BTreeMap::new(),
            took: Duration::ZERO,
            failed: None,
        }
    }

    /// Applies a change. Returns true if there is something to publish.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        let complete = match change {
            Change::Files(files, values) => {
                template_files::load(&files, &mut self.sources);
                self.unreadable.clear();
                for (holder, values) in values {
                    match values {
                        Ok(values) => self.sources.set_values(&holder, Some(values)),
                        // The values that were read before remain in use.
                        Err(error) => self.unreadable.push(error),
                    }
                }
                self.waits_for.remove(&SourceKind::Files);
                true
            }
            Change::Templates(event) => {
                self.apply_event(SourceKind::Templates, event, Self::set_templates, Self::remove_templates)
            }
            Change::Values(event) => self.apply_event(SourceKind::Values, event, Self::set_values, Self::remove_values),
            Change::Local(event) => self.apply_event(SourceKind::Local, event, Self::set_local, Self::remove_local),
            Change::Namespaces(event) => {
                self.apply_event(SourceKind::Namespaces, event, Self::set_namespace, |publisher, name| {
                    publisher.namespaces.known.remove(name);
                })
            }
            Change::Failed(error) => {
                tracing::warn!(%error, "failed to watch the cluster; retrying");
                self.failed = Some(Instant::now());
                self.webhook.metrics.count_watch_failure();
                self.record_freshness(false);
                false
            }
            // A watch that still fails has reported another failure in this time.
            Change::Reachable(reachable) => {
                let quiet = self.failed.is_none_or(|failed| failed.elapsed() > SETTLED);
                if !reachable || quiet {
                    self.record_freshness(reachable && self.waits_for.is_empty());
                }
                false
            }
        };
        complete && self.waits_for.is_empty()
    }

    /// Records whether the cluster can be watched. The last known catalog stays in use in any case.
    fn record_freshness(&self, fresh: bool) {
        let before = self.webhook.stale_since.load(Ordering::Relaxed);
        match (fresh, before) {
            (true, 0) => {}
            (true, _) => {
                self.webhook.stale_since.store(0, Ordering::Relaxed);
                self.webhook.metrics.set_in_sync(true);
                tracing::info!("the cluster can be watched again");
            }
            (false, before) => {
                self.webhook.metrics.set_in_sync(false);
                let since = if before == 0 { now().as_secs() } else { before };
                self.webhook.stale_since.store(since, Ordering::Relaxed);
            }
        }
    }

    /// Applies one event of a watch. Returns true if there is something to publish.
    fn apply_event<K: Resource>(
        &mut self,
        kind: SourceKind,
        event: Event<K>,
        set: fn(&mut Self, K),
        remove: fn(&mut Self, &str),
    ) -> bool {
        match event {
            Event::Init => drop(self.listed.insert(kind, BTreeSet::new())),
            Event::InitApply(object) => {
                self.listed.entry(kind).or_default().insert(key(kind, &object));
                set(self, object);
            }
            Event::InitDone => {
                // An object that is missing in the new list was deleted while the watch was interrupted.
                let listed = self.listed.remove(&kind).unwrap_or_default();
                for gone in self.known(kind).into_iter().filter(|name| !listed.contains(name)) {
                    remove(self, &gone);
                }
                self.waits_for.remove(&kind);
                return true;
            }
            Event::Apply(object) => {
                set(self, object);
                return true;
            }
            Event::Delete(object) => {
                remove(self, &key(kind, &object));
                return true;
            }
        }
        false
    }

    /// Returns the keys of the objects of a kind, as in [`key`].
    fn known(&self, kind: SourceKind) -> Vec<String> {
        let of_holder = |name: &str| name.rsplit_once('/').map(|(_, name)| name.to_owned());
        match kind {
            SourceKind::Templates => self.sources.holders().filter_map(of_holder).collect(),
            SourceKind::Values => self.sources.value_holders().filter_map(of_holder).collect(),
            SourceKind::Local => {
                let names = self.local.values().flat_map(Sources::holders);
                names.filter_map(|name| name.strip_prefix("ConfigMap ").map(str::to_owned)).collect()
            }
            SourceKind::Files => Vec::new(),
            SourceKind::Namespaces => self.namespaces.known.keys().cloned().collect(),
        }
    }

    fn holder(&self, object: &ConfigMap) -> Holder {
        let created = object.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default();
        Holder { created, name: self.holder_name(&object.name_any()) }
    }

    fn holder_name(&self, name: &str) -> String {
        format!("ConfigMap {}/{name}", self.namespace)
    }

    fn set_templates(&mut self, object: ConfigMap) {
        let holder = self.holder(&object);
        self.store_reference(&holder.name, &object);
        self.sources.set(&holder, of_config_map(&holder, object.data.unwrap_or_default()));
    }

    fn remove_templates(&mut self, name: &str) {
        self.references.remove(&self.holder_name(name));
        self.sources.remove(&self.holder_name(name));
    }

    fn set_values(&mut self, object: ConfigMap) {
        let holder = self.holder(&object);
        self.sources.set_values(&holder, Some(object.data.unwrap_or_default()));
    }

    fn remove_values(&mut self, name: &str) {
        let holder = Holder { created: String::new(), name: self.holder_name(name) };
        self.sources.set_values(&holder, None);
    }

    /// Applies a template ConfigMap of a pod's own namespace. Over the limits of a namespace, it counts as an error.
    fn set_local(&mut self, object: ConfigMap) {
        let namespace = object.namespace().unwrap_or_default();
        if namespace == self.namespace {
            return;
        }
        let rules = self.webhook.trust.rules_of(&namespace);
        let created = object.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default();
        let holder = Holder { created, name: format!("ConfigMap {namespace}/{}", object.name_any()) };
        self.store_reference(&holder.name, &object);
        let mut found = of_config_map(&holder, object.data.unwrap_or_default());
        let keys = || self.webhook.settings.keys.clone();
        let sources = self.local.entry(namespace.clone()).or_insert_with(|| Sources::with_rules(rules, keys()));
        let bytes: usize = found.texts.iter().map(|text| text.text.len()).sum();
        let (others, other_bytes) = sources.others(&holder.name);
        if others >= MAX_LOCAL || other_bytes + bytes > MAX_LOCAL_BYTES {
            let message = format!("a namespace can have at most {MAX_LOCAL} template ConfigMaps with 256 KiB in total");
            found = FoundDocuments {
                errors: vec![Diagnostic::of_document(&holder.name, message)],
                ..FoundDocuments::default()
            };
        }
        sources.set(&holder, found);
        self.publish_local(&namespace);
    }

    fn remove_local(&mut self, name: &str) {
        let Some((namespace, _)) = name.split_once('/') else { return };
        self.references.remove(&format!("ConfigMap {name}"));
        if let Some(sources) = self.local.get_mut(namespace) {
            sources.remove(&format!("ConfigMap {name}"));
        }
        self.publish_local(&namespace.to_owned());
    }

    fn publish_local(&mut self, namespace: &String) {
        let Some(sources) = self.local.get(namespace) else { return };
        let published = sources.catalog();
        for error in &published.errors {
            let error = error.one_line();
            tracing::warn!("template of a namespace rejected: {error}");
            self.send_event(&error);
        }
        if sources.holders().next().is_none() {
            self.local.remove(namespace);
            self.local_catalogs.remove(namespace);
        } else {
            self.local_catalogs.insert(namespace.clone(), Arc::new(published.catalog));
        }
    }

    fn set_namespace(&mut self, object: NamespaceObject) {
        let name = object.name_any();
        let (labels, annotations) = (object.metadata.labels, object.metadata.annotations);
        let namespace = Namespace::new(&name, labels.unwrap_or_default(), annotations.unwrap_or_default());
        self.namespaces.known.insert(name, namespace);
    }

    /// Publishes a new catalog, and logs the errors and warnings that have appeared or disappeared.
    pub(super) fn publish(&mut self) {
        let started = Instant::now();
        let mut published = self.sources.catalog();
        published.errors.extend(self.unreadable.iter().cloned());
        self.webhook.metrics.record_catalog(&published.valid, &self.sources.take_failed(), now().as_secs_f64());
        let current: BTreeSet<String> = published.errors.iter().map(Diagnostic::one_line).collect();
        for error in current.difference(&self.reported) {
            tracing::error!("template rejected: {error}");
            self.send_event(error);
        }
        for error in self.reported.difference(&current) {
            tracing::info!("template problem resolved: {error}");
        }
        self.reported = current;
        let warnings: BTreeSet<String> = published.warnings.iter().map(Diagnostic::one_line).collect();
        for warning in warnings.difference(&self.warned) {
            tracing::warn!("template warning: {warning}");
        }
        self.warned = warnings;
        tracing::info!(templates = published.catalog.len(), problems = published.errors.len(), "catalog published");
        let catalog = published.catalog.with_namespaces(Arc::new(self.namespaces.clone()));
        let catalog = catalog.with_local(self.local_catalogs.clone(), self.webhook.trust.prefers_namespaces);
        self.webhook.catalog.store(Arc::new(Some(catalog)));
        self.webhook.metrics.set_in_sync(self.webhook.stale_since.load(Ordering::Relaxed) == 0);
        self.took = started.elapsed();
    }

    /// Sends an event about an error to the ConfigMap that the error is in.
    fn send_event(&self, error: &str) {
        let Some(events) = &self.webhook.events else { return };
        let is_in = |holder: &str| error.strip_prefix(holder).is_some_and(|rest| rest.starts_with([' ', ':']));
        if let Some((_, reference)) = self.references.iter().find(|(holder, _)| is_in(holder)) {
            let (regarding, text) = (reference.clone(), error.to_owned());
            events.send(EventNote { regarding, reason: Reason::InvalidTemplate, text }, &self.webhook.metrics);
        }
    }

    /// Stores the reference to a ConfigMap, if events are on.
    fn store_reference(&mut self, holder: &str, object: &ConfigMap) {
        if self.webhook.events.is_some() {
            self.references.insert(holder.to_owned(), object.object_ref(&()));
        }
    }
}

/// Returns the key of an object among those of its kind: `NAMESPACE/NAME` for [`SourceKind::Local`], else the name.
fn key<K: Resource>(kind: SourceKind, object: &K) -> String {
    match (kind, object.namespace()) {
        (SourceKind::Local, Some(namespace)) => format!("{namespace}/{}", object.name_any()),
        _ => object.name_any(),
    }
}
