//! What a template adds to one pod: finished items and pairs, as the plan takes them. It knows neither templates nor
//! pods.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::inject::template::body::item::{Item, ItemKind};

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

    pub(crate) fn push(&mut self, kind: ItemKind, item: Arc<Item>) {
        let list = match kind {
            ItemKind::Init | ItemKind::NativeSidecar => &mut self.init_containers,
            ItemKind::Sidecar => &mut self.containers,
            ItemKind::Volume => &mut self.volumes,
            ItemKind::PullSecret => &mut self.image_pull_secrets,
        };
        list.push(item);
    }
}

/// One entry, evaluated for a pod.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    /// Whether it is about `spec.containers`, and about `spec.initContainers`.
    pub lists: Lists,
    /// Globs of names.
    pub names: Vec<String>,
    /// Globs of names that are left alone.
    pub except: Vec<String>,
    /// Where its condition holds: for each of the pod's containers and init containers; `None` is everywhere.
    pub holds: Option<[Vec<bool>; 2]>,
    /// Environment variables to append.
    pub env: Vec<Member>,
    /// `envFrom` entries to append.
    pub env_from: Vec<Member>,
    /// Mounts to append, by path.
    pub mounts: Vec<Mount>,
    /// Texts to append to values of environment variables.
    pub append_env: Vec<Append>,
}

/// Which lists of containers an entry is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// `spec.containers`.
    #[default]
    Containers,
    /// `spec.initContainers`.
    InitContainers,
    /// Both.
    All,
}

impl Lists {
    /// Whether it is about a list.
    #[must_use]
    pub fn include(self, init: bool) -> bool {
        self == Self::All || init == (self == Self::InitContainers)
    }
}

/// An item to append to a list of a container.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name; empty for `envFrom`.
    pub name: String,
    /// The item.
    pub value: Json,
}

/// A mount or a device to append.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it appears in the container.
    pub path: String,
    /// The volume.
    pub volume: String,
    /// Whether it is a device.
    pub is_device: bool,
    /// The item.
    pub value: Json,
}

/// A text to append to the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The variable.
    pub name: String,
    /// The text.
    pub value: String,
    /// What stands between the old value and the text.
    pub separator: String,
}
