//! What a template adds to one pod: finished items and pairs, as the plan takes them. It knows neither templates nor
//! pods.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::inject::template::body::app_containers::AppChange;
use crate::inject::template::body::item::{Item, Kind};

/// What a template adds to one pod. Items are shared: most of them are the same for every pod.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// Joins `spec.initContainers`: ordinary init containers, then native sidecars.
    pub init_containers: Vec<Arc<Item>>,
    /// Joins `spec.containers`: sidecars in mode `container`.
    pub containers: Vec<Arc<Item>>,
    /// Joins `spec.volumes`.
    pub volumes: Vec<Arc<Item>>,
    /// Joins `spec.imagePullSecrets`.
    pub image_pull_secrets: Vec<Arc<Item>>,
    /// Added where absent.
    pub labels: Vec<(String, String)>,
    /// Added where absent.
    pub annotations: Vec<(String, String)>,
    /// Added to the pod's own containers.
    pub app_containers: Vec<Arc<AppChange>>,
    /// Added to the pod's spec.
    pub pod: Map<String, Json>,
}

impl Additions {
    /// All containers.
    pub fn all_containers(&self) -> impl Iterator<Item = &Item> {
        self.init_containers.iter().chain(&self.containers).map(AsRef::as_ref)
    }

    pub(crate) fn push(&mut self, kind: Kind, item: Arc<Item>) {
        let list = match kind {
            Kind::Init | Kind::NativeSidecar => &mut self.init_containers,
            Kind::Sidecar => &mut self.containers,
            Kind::Volume => &mut self.volumes,
            Kind::PullSecret => &mut self.image_pull_secrets,
        };
        list.push(item);
    }
}
