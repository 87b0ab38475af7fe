//! The volumes and the mounts in a template document.

use crate::inject::authoring::lint::linter::Linter;
use crate::inject::document::{Node, Value};

impl<'l> Linter<'l> {
    /// The volumes that the template adds.
    pub(super) fn volumes(&self) -> &'l [Node] {
        self.node.items("volumes")
    }

    /// The volume mounts and devices of all containers, including those under `appContainers`.
    pub(super) fn mounts(&self) -> Vec<&'l Node> {
        let mounting = self.containers().into_iter().chain(self.app_containers());
        mounting.flat_map(|c| c.items("volumeMounts").iter().chain(c.items("volumeDevices"))).collect()
    }
}

/// The name of a volume, or of the volume of a mount, if it contains no expression.
pub(super) fn literal_name(item: &Node) -> Option<&str> {
    item.text("name").filter(|name| !name.contains("${"))
}

/// Returns true if the name of a volume, or of the volume of a mount, contains an expression.
pub(super) fn is_named_by_expression(item: &Node) -> bool {
    item.text("name").is_some_and(|name| name.contains("${"))
}

/// Returns true if the volume is meant to be shared with other templates.
pub(super) fn is_shared(volume: &Node) -> bool {
    matches!(volume.get("shared").map(|shared| &shared.value), Some(Value::Bool(true)))
}
