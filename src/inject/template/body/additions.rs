//! The additions of a template to one pod: finished items and pairs, in the form that the plan needs. This module does
//! not depend on templates or pods.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::inject::template::body::item::{Item, ItemKind};

/// The additions of a template to one pod. Items are shared, since most of them are the same for every pod.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// Containers for `spec.initContainers`: ordinary init containers, then native sidecars.
    pub init_containers: Vec<Arc<Item>>,
    /// Containers for `spec.containers`: sidecars in mode `container`.
    pub containers: Vec<Arc<Item>>,
    /// Volumes for `spec.volumes`.
    pub volumes: Vec<Arc<Item>>,
    /// Secrets for `spec.imagePullSecrets`.
    pub image_pull_secrets: Vec<Arc<Item>>,
    /// Labels, each a key and a value, added if the pod does not have the key.
    pub labels: Vec<(String, String)>,
    /// Annotations, each a key and a value, added if the pod does not have the key.
    pub annotations: Vec<(String, String)>,
    /// Changes to the pod's own containers.
    pub app_containers: Vec<Arc<AppChange>>,
    /// Pod-level fields, by their names in `spec`.
    pub pod: Map<String, Json>,
}

impl Additions {
    /// All containers: those for `spec.initContainers`, then those for `spec.containers`.
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

/// One entry of `appContainers`, evaluated for a pod.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    /// The lists of containers that it applies to.
    pub lists: Lists,
    /// Globs for the names of containers that it applies to.
    pub names: Vec<String>,
    /// Globs for the names of containers that it does not apply to.
    pub except: Vec<String>,
    /// The result of its condition for each of the pod's containers and each of its init containers; `None` without a
    /// condition.
    pub holds: Option<[Vec<bool>; 2]>,
    /// Environment variables to append.
    pub env: Vec<Member>,
    /// `envFrom` entries to append.
    pub env_from: Vec<Member>,
    /// Mounts and devices to append; their paths identify them.
    pub mounts: Vec<Mount>,
    /// Texts to append to the values of environment variables.
    pub append_env: Vec<Append>,
    /// True if rules of the API server relate it to other parts of the pod.
    pub crosses: bool,
}

/// The lists of containers that an entry of `appContainers` applies to.
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
    /// Returns true if it includes a list: `spec.initContainers` if `init` is true, else `spec.containers`.
    #[must_use]
    pub fn include(self, init: bool) -> bool {
        self == Self::All || init == (self == Self::InitContainers)
    }
}

/// An item to append to a list of a container.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name of the item; empty for `envFrom`.
    pub name: String,
    /// The JSON of the item.
    pub value: Json,
}

/// A mount or a device to append.
#[derive(Clone, Debug)]
pub struct Mount {
    /// The path in the container: `mountPath` or `devicePath`.
    pub path: String,
    /// The name of the volume.
    pub volume: String,
    /// True for an item of `volumeDevices`, false for an item of `volumeMounts`.
    pub is_device: bool,
    /// The JSON of the item.
    pub value: Json,
}

/// A text to append to the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The name of the variable.
    pub name: String,
    /// The text to append.
    pub value: String,
    /// The text between the old value and the appended text.
    pub separator: String,
}
