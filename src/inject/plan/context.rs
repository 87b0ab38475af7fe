//! The pod that is planned for, with the facts about it that do not depend on templates.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::inject::expr::paths::Paths;
use crate::inject::kube::defaults;
use crate::inject::review::Request;
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::template::body::item::Item;

/// The pod that is planned for.
#[derive(Clone, Copy)]
pub(crate) struct PodContext<'p> {
    pub(crate) request: &'p Request<'p>,
    /// The volumes of the pod that templates share, according to its status.
    pub(crate) shared: &'p [&'p str],
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) spec: &'p Spec<'p>,
    /// True if the pod belongs to a Job, which ends when its containers end.
    pub(crate) of_job: bool,
    /// The sidecars in the pod: containers that other injectors or templates have added.
    pub(crate) foreign: &'p [&'p str],
    /// The containers that only the status lists as sidecars. A status can be forged, so required templates still
    /// change these containers.
    pub(crate) listed: &'p [&'p str],
    /// The volumes that the pod will have but its spec does not list: claim templates of a `StatefulSet`.
    pub(crate) claims: &'p [String],
}

impl PodContext<'_> {
    /// Returns true if a template that is in the pod has added an equal volume, and both templates share it.
    pub(super) fn shares(&self, item: &Item) -> bool {
        item.shared
            && self.shared.contains(&item.name.as_str())
            && self.volume(&item.name).is_some_and(|own| defaults::equal(&own, &item.value))
    }

    /// The volume with this name, as it is in the pod.
    pub(super) fn volume(&self, name: &str) -> Option<Json> {
        let paths = Paths::new(&BTreeSet::from([vec!["spec".to_owned(), "volumes".to_owned()]]));
        let mut pod = paths.read(self.request.document, self.request.at).ok()?;
        let volumes = pod["spec"]["volumes"].as_array_mut()?;
        volumes.iter_mut().find(|volume| volume["name"] == name).map(Json::take)
    }

    /// Returns true if the pod has, or will have, a volume with this name.
    pub(super) fn has_volume(&self, name: &str) -> bool {
        self.spec.volumes.iter().flatten().any(|volume| volume.name.as_str() == name)
            || self.claims.iter().any(|claim| claim == name)
    }
}
