//! The contents of a plan: the additions to a pod, and for each placed template the parts that are its own. The module
//! does not know how templates are placed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::decision::reason::Reason;
use crate::inject::evaluate::Ready;
use crate::inject::plan::app_container::{AppAdded, AppContainer};
use crate::inject::plan::context::PodContext;
use crate::inject::plan::order::Arrangement;
use crate::inject::plan::pod_fields::{Operation, PodLevel};
use crate::inject::review::pod::Container;
use crate::inject::template::body::item::Item;

/// The additions, in the order that they will have in the pod.
#[derive(Debug, Default)]
pub(crate) struct Plan<'r> {
    pub(crate) init_containers: Arrangement<'r>,
    pub(crate) containers: Arrangement<'r>,
    pub(crate) volumes: Vec<&'r Item>,
    pub(crate) image_pull_secrets: Vec<&'r Item>,
    pub(crate) labels: Vec<(&'r str, &'r str)>,
    pub(crate) annotations: Vec<(&'r str, Cow<'r, str>)>,
    /// The pod-level fields; `None` until a template sets one.
    pub(crate) pod_level: Option<PodLevel>,
    /// The pod's own containers with additions.
    pub(crate) app_containers: Vec<AppContainer<'r>>,
    /// The placed templates, in the order of their candidates.
    pub(crate) placed: Vec<Placed<'r>>,
    /// Results that the pod author may not expect.
    pub(crate) warnings: Vec<Warning<'r>>,
}

/// A placed template with those of its parts that were missing from the pod.
#[derive(Debug)]
pub(crate) struct Placed<'r> {
    /// The index of its candidate.
    pub(crate) index: usize,
    pub(crate) ready: &'r Ready<'r>,
    pub(crate) init_containers: Vec<Arc<Item>>,
    pub(crate) containers: Vec<Arc<Item>>,
    pub(crate) volumes: Vec<&'r Item>,
    pub(crate) image_pull_secrets: Vec<&'r str>,
    pub(crate) labels: Vec<&'r str>,
    pub(crate) annotations: Vec<&'r str>,
    pub(crate) app_containers: Vec<AppAdded<'r>>,
    pub(crate) pod: Vec<Operation>,
    /// JSON pointer in the pod -> the value that is replaced.
    pub(crate) replaced: BTreeMap<String, Json>,
}

impl Placed<'_> {
    /// Returns true if no part of the template was missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.init_containers.is_empty() && self.containers.is_empty() && self.has_only_containers()
    }

    /// Returns true if only containers were missing, or nothing.
    pub(super) fn has_only_containers(&self) -> bool {
        self.volumes.is_empty()
            && self.image_pull_secrets.is_empty()
            && self.labels.is_empty()
            && self.annotations.is_empty()
            && self.app_containers.is_empty()
            && self.pod.is_empty()
    }
}

/// A fact that the pod author should know. It does not prevent the injection.
#[derive(Debug)]
pub(crate) struct Warning<'r> {
    pub(crate) template: &'r str,
    pub(crate) reason: Reason,
    pub(crate) what: String,
}

impl<'r> Plan<'r> {
    /// A plan without additions.
    pub(crate) fn of(pod: &PodContext<'r>) -> Self {
        let names = |list: &'r Option<Vec<Container<'r>>>| list.iter().flatten().map(|c| c.name.as_str());
        Self {
            init_containers: Arrangement::of(names(&pod.spec.init_containers)),
            containers: Arrangement::of(names(&pod.spec.containers)),
            ..Self::default()
        }
    }

    /// Adds a warning about a template.
    pub(super) fn warn(&mut self, ready: &'r Ready<'r>, reason: Reason, what: String) {
        self.warnings.push(Warning { template: &ready.template.name, reason, what });
    }

    /// The first placed template for which `has` returns true, as `NAME` or `NAME@VERSION`.
    pub(super) fn placed_with(&self, has: impl Fn(&Placed<'_>) -> bool) -> Option<String> {
        let placed = self.placed.iter().find(|placed| has(placed));
        placed.map(|placed| placed.ready.template.display())
    }
}

/// The value of a label or annotation in a list of added ones.
pub(super) fn find<'v, V: AsRef<str>>(list: &'v [(&str, V)], key: &str) -> Option<&'v str> {
    list.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_ref())
}
