//! The state that the server and the watches share: the catalog in use, the settings, and where decisions are reported.
//!
//! The watches replace the catalog; every request reads one snapshot of it without a lock. This module does not depend
//! on HTTP, TLS or Kubernetes clients, and does not know who reads or writes the state.

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::inject::authoring::config_map::TemplatePlace;
use crate::inject::catalog::Catalog;
use crate::inject::catalog::sources::SourceRules;
use crate::inject::settings::Settings;
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

/// The state of one webhook process.
#[derive(Debug)]
pub struct Webhook {
    /// The catalog in use; `None` before the first sync.
    pub catalog: ArcSwap<Option<Catalog>>,
    /// The settings, fixed for the life of the process.
    pub settings: Settings,
    /// The rules for templates, by origin.
    pub trust: Trust,
    /// The metrics.
    pub metrics: Metrics,
    /// The sender of Kubernetes Events; `None` if events are off.
    pub events: Option<Events>,
    /// The sender of OpenTelemetry traces; `None` if tracing is off.
    pub traces: Option<Traces>,
    /// The time since which the cluster cannot be watched, in seconds since 1970; 0 while it can.
    pub stale_since: AtomicU64,
}

/// The rules that templates must obey, by where the templates come from.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The rules for central templates.
    pub central: SourceRules,
    /// The rules for templates in the pods' own namespaces; `None` if such templates are not allowed.
    pub namespaces: Option<SourceRules>,
    /// True if a namespace's template takes precedence over a central one of the same name.
    pub prefers_namespaces: bool,
    /// The namespace of the central ConfigMaps; `None` if templates come from files.
    pub home: Option<String>,
}

impl Trust {
    /// Returns the rules for the templates in `namespace`.
    #[must_use]
    pub fn rules_of(&self, namespace: &str) -> SourceRules {
        let is_home = self.home.as_deref().is_none_or(|home| home == namespace);
        if is_home { self.central } else { self.namespaces.unwrap_or(self.central) }
    }

    /// Returns true if the templates in the ConfigMaps of `namespace` are in the catalog.
    fn reads(&self, namespace: &str) -> bool {
        let is_home = |home: &str| home == namespace;
        self.home.as_deref().is_some_and(is_home) || self.home.is_some() && self.namespaces.is_some()
    }
}

impl Webhook {
    /// Returns a webhook without a catalog, events and traces.
    #[must_use]
    pub fn new(settings: Settings, trust: Trust) -> Self {
        Self {
            catalog: ArcSwap::from_pointee(None),
            settings,
            trust,
            metrics: Metrics::default(),
            events: None,
            traces: None,
            stale_since: AtomicU64::new(0),
        }
    }

    /// Returns what is known of the templates in the ConfigMaps of `namespace`. `catalog` is a snapshot of the catalog
    /// in use. While the cluster cannot be watched, the catalog can be out of date, and nothing is compared with it.
    #[must_use]
    pub fn place<'c>(&self, catalog: &'c Option<Catalog>, namespace: &str) -> TemplatePlace<'c> {
        let is_current = self.stale_since.load(Ordering::Relaxed) == 0 && self.trust.reads(namespace);
        let cluster = catalog.as_ref().and_then(Catalog::cluster);
        let rules = SourceRules { cluster, ..self.trust.rules_of(namespace) };
        TemplatePlace { rules, catalog: catalog.as_ref().filter(|_| is_current) }
    }
}
