//! Values of a pod together with their places. The module knows no rule.

use serde_json::Value as Json;

use crate::inject::plan::pointer::escaped;

/// A value of the pod, or null if the pod does not have it.
#[derive(Clone, Debug)]
pub(super) struct Located<'j> {
    /// Its JSON pointer in the pod.
    pub(super) at: String,
    pub(super) value: &'j Json,
}

impl<'j> Located<'j> {
    /// The pod itself.
    pub(super) fn root(pod: &'j Json) -> Self {
        Self { at: String::new(), value: pod }
    }

    /// The member with this key.
    pub(super) fn member(&self, key: &str) -> Self {
        Self { at: format!("{}/{}", self.at, escaped(key)), value: &self.value[key] }
    }

    /// The member that these keys lead to.
    pub(super) fn path<const N: usize>(&self, keys: [&str; N]) -> Self {
        keys.into_iter().fold(self.clone(), |at, key| at.member(key))
    }

    /// The items of the list with this key.
    pub(super) fn items(&self, key: &str) -> impl Iterator<Item = Self> + use<'j> {
        let list = self.member(key);
        let items = list.value.as_array().into_iter().flatten().enumerate();
        items.map(move |(index, value)| Self { at: format!("{}/{index}", list.at), value })
    }

    /// The text with this key; empty if there is none.
    pub(super) fn text(&self, key: &str) -> &'j str {
        self.value[key].as_str().unwrap_or_default()
    }

    /// The name.
    pub(super) fn name(&self) -> &'j str {
        self.text("name")
    }

    /// Returns true if the pod has the value, and it is not null.
    pub(super) fn exists(&self) -> bool {
        !self.value.is_null()
    }

    /// The containers of a pod, then its init containers.
    pub(super) fn containers(&self) -> impl Iterator<Item = Self> + use<'j> {
        let spec = self.member("spec");
        spec.items("containers").chain(spec.items("initContainers"))
    }

    /// The first volume of a pod with this name.
    pub(super) fn volume(&self, name: &str) -> Option<Self> {
        self.member("spec").items("volumes").find(|volume| volume.name() == name)
    }
}
