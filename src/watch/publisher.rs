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
use crate::inject::catalog::changes::changes;
use crate::inject::catalog::holder::{FoundDocuments, Holder, HolderId, SourceError, of_config_map};
use crate::inject::catalog::namespaces::{Namespace, Namespaces};
use crate::inject::catalog::sources::{SourceRules, Sources};
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::Diagnostic;
use crate::manifest::template_files;
use crate::state::Webhook;
use crate::telemetry::events::EventNote;
use crate::watch::changes::{Change, SourceKind};
use crate::watch::seen_versions::SeenVersions;

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

/// The namespace and name of an object. The namespace of a Namespace is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ObjectKey {
    namespace: String,
    name: String,
}

impl ObjectKey {
    /// Returns the identity of the ConfigMap with this key.
    fn holder(&self) -> HolderId {
        HolderId::ConfigMap { namespace: self.namespace.clone(), name: self.name.clone() }
    }
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
    /// The objects in the list that is being read, for each kind.
    listed: BTreeMap<SourceKind, BTreeSet<ObjectKey>>,
    /// The errors and warnings that have been logged and still apply.
    reported: BTreeSet<String>,
    warned: BTreeSet<String>,
    /// The errors of reading files of shared values.
    unreadable: Vec<SourceError>,
    /// The templates of the pods' own namespaces, and the catalogs made of them.
    local: BTreeMap<String, Sources>,
    local_catalogs: BTreeMap<String, Arc<Catalog>>,
    /// References to the ConfigMaps of templates.
    references: BTreeMap<HolderId, ObjectReference>,
    /// The duration of the last publication.
    pub(super) took: Duration,
    /// The time of the last failure to list or watch.
    failed: Option<Instant>,
    versions: SeenVersions,
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
            versions: SeenVersions::default(),
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
                        Ok(values) => self.sources.set_values(holder, values),
                        // The values that were read before remain in use.
                        Err(diagnostic) => self.unreadable.push(SourceError { holder: holder.id, diagnostic }),
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
                self.apply_event(SourceKind::Namespaces, event, Self::set_namespace, |publisher, key| {
                    publisher.namespaces.known.remove(&key.name);
                })
            }
            Change::Version(version) => self.set_version(version),
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

    /// Applies the version that an API server named. Returns true if there is something to publish.
    fn set_version(&mut self, version: Option<ClusterVersion>) -> bool {
        let is_first = self.waits_for.remove(&SourceKind::Version);
        let lowest = version.and_then(|version| self.versions.add(version));
        let Some(version) = lowest else { return is_first };
        tracing::info!(%version, "version of the cluster");
        self.sources.set_cluster(lowest);
        let namespaces: Vec<String> = self.local.keys().cloned().collect();
        for namespace in namespaces {
            if let Some(sources) = self.local.get_mut(&namespace) {
                sources.set_cluster(lowest);
            }
            self.publish_local(&namespace);
        }
        true
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
        remove: fn(&mut Self, &ObjectKey),
    ) -> bool {
        match event {
            Event::Init => drop(self.listed.insert(kind, BTreeSet::new())),
            Event::InitApply(object) => {
                self.listed.entry(kind).or_default().insert(key(&object));
                set(self, object);
            }
            Event::InitDone => {
                // An object that is missing in the new list was deleted while the watch was interrupted.
                let listed = self.listed.remove(&kind).unwrap_or_default();
                for gone in self.known(kind).into_iter().filter(|key| !listed.contains(key)) {
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
                remove(self, &key(&object));
                return true;
            }
        }
        false
    }

    /// Returns the keys of the objects of a kind.
    fn known(&self, kind: SourceKind) -> Vec<ObjectKey> {
        let key_of = |id: &HolderId| match id {
            HolderId::ConfigMap { namespace, name } => {
                Some(ObjectKey { namespace: namespace.clone(), name: name.clone() })
            }
            HolderId::File(_) => None,
        };
        match kind {
            SourceKind::Templates => self.sources.holders().filter_map(key_of).collect(),
            SourceKind::Values => self.sources.value_holders().filter_map(key_of).collect(),
            SourceKind::Local => self.local.values().flat_map(Sources::holders).filter_map(key_of).collect(),
            SourceKind::Files | SourceKind::Version => Vec::new(),
            SourceKind::Namespaces => {
                let key_of = |name: &String| ObjectKey { namespace: String::new(), name: name.clone() };
                self.namespaces.known.keys().map(key_of).collect()
            }
        }
    }

    fn set_templates(&mut self, object: ConfigMap) {
        let holder = holder(&object);
        self.store_reference(&holder.id, &object);
        self.sources.set(&holder, of_config_map(&holder.id, object.data.unwrap_or_default()));
    }

    fn remove_templates(&mut self, key: &ObjectKey) {
        let id = key.holder();
        self.references.remove(&id);
        self.sources.remove(&id);
    }

    fn set_values(&mut self, object: ConfigMap) {
        let holder = holder(&object);
        self.sources.set_values(holder, object.data.unwrap_or_default());
    }

    fn remove_values(&mut self, key: &ObjectKey) {
        self.sources.remove_values(&key.holder());
    }

    /// Applies a template ConfigMap of a pod's own namespace. Over the limits of a namespace, it counts as an error.
    fn set_local(&mut self, object: ConfigMap) {
        let namespace = object.namespace().unwrap_or_default();
        if namespace == self.namespace {
            return;
        }
        let rules = SourceRules { cluster: self.versions.lowest(), ..self.webhook.trust.rules_of(&namespace) };
        let holder = holder(&object);
        self.store_reference(&holder.id, &object);
        let mut found = of_config_map(&holder.id, object.data.unwrap_or_default());
        let keys = || self.webhook.settings.keys.clone();
        let sources = self.local.entry(namespace.clone()).or_insert_with(|| Sources::with_rules(rules, keys()));
        let bytes: usize = found.texts.iter().map(|text| text.text.len()).sum();
        let (others, other_bytes) = sources.others(&holder.id);
        if others >= MAX_LOCAL || other_bytes + bytes > MAX_LOCAL_BYTES {
            let message = format!("a namespace can have at most {MAX_LOCAL} template ConfigMaps with 256 KiB in total");
            found = FoundDocuments {
                errors: vec![Diagnostic::of_document(&holder.id.to_string(), message)],
                ..FoundDocuments::default()
            };
        }
        sources.set(&holder, found);
        self.publish_local(&namespace);
    }

    fn remove_local(&mut self, key: &ObjectKey) {
        let id = key.holder();
        self.references.remove(&id);
        if let Some(sources) = self.local.get_mut(&key.namespace) {
            sources.remove(&id);
        }
        self.publish_local(&key.namespace);
    }

    fn publish_local(&mut self, namespace: &str) {
        let Some(sources) = self.local.get(namespace) else { return };
        let published = sources.catalog();
        for error in &published.errors {
            let line = error.diagnostic.one_line();
            tracing::warn!("template of a namespace rejected: {line}");
            self.send_event(&error.holder, Reason::InvalidTemplate, &line);
        }
        if sources.holders().next().is_none() {
            self.local.remove(namespace);
            self.local_catalogs.remove(namespace);
        } else {
            self.local_catalogs.insert(namespace.to_owned(), Arc::new(published.catalog));
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
        let current = published.errors.iter().map(|error| (error.diagnostic.one_line(), &error.holder));
        let current: BTreeMap<String, &HolderId> = current.collect();
        for (line, holder) in current.iter().filter(|(line, _)| !self.reported.contains(*line)) {
            tracing::error!("template rejected: {line}");
            self.send_event(holder, Reason::InvalidTemplate, line);
        }
        for line in self.reported.iter().filter(|line| !current.contains_key(*line)) {
            tracing::info!("template problem resolved: {line}");
        }
        self.reported = current.into_keys().collect();
        let warnings: BTreeSet<String> = published.warnings.iter().map(Diagnostic::one_line).collect();
        for warning in warnings.difference(&self.warned) {
            tracing::warn!("template warning: {warning}");
        }
        self.warned = warnings;
        tracing::info!(templates = published.catalog.len(), problems = published.errors.len(), "catalog published");
        let catalog = published.catalog.with_namespaces(Arc::new(self.namespaces.clone()));
        let catalog = catalog.with_local(self.local_catalogs.clone(), self.webhook.trust.prefers_namespaces);
        self.report_changes(&catalog);
        self.webhook.catalog.store(Arc::new(Some(catalog)));
        self.webhook.metrics.set_in_sync(self.webhook.stale_since.load(Ordering::Relaxed) == 0);
        self.took = started.elapsed();
    }

    /// Reports the templates for which a request without a version gets another version in `catalog` than in the
    /// catalog in use. The first catalog changes nothing.
    fn report_changes(&self, catalog: &Catalog) {
        let Some(before) = &**self.webhook.catalog.load() else { return };
        for change in changes(before, catalog) {
            let line = change.to_string();
            tracing::info!("version changed: {line}");
            if let Some(holder) = &change.holder {
                self.send_event(holder, Reason::VersionChanged, &line);
            }
        }
    }

    /// Sends an event with the text `line` to the ConfigMap `holder`. Files get no events.
    fn send_event(&self, holder: &HolderId, reason: Reason, line: &str) {
        let Some(events) = &self.webhook.events else { return };
        let Some(reference) = self.references.get(holder) else { return };
        let (regarding, text) = (reference.clone(), line.to_owned());
        events.send(EventNote { regarding, reason, text }, &self.webhook.metrics);
    }

    /// Stores the reference to a ConfigMap, if events are on.
    fn store_reference(&mut self, id: &HolderId, object: &ConfigMap) {
        if self.webhook.events.is_some() {
            self.references.insert(id.clone(), object.object_ref(&()));
        }
    }
}

/// Returns the holder for a ConfigMap.
fn holder(object: &ConfigMap) -> Holder {
    let created = object.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default();
    let namespace = object.namespace().unwrap_or_default();
    Holder { created, id: HolderId::ConfigMap { namespace, name: object.name_any() } }
}

/// Returns the key of an object.
fn key<K: Resource>(object: &K) -> ObjectKey {
    ObjectKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
