//! The volumes of a template document, and what mounts them.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::nodes::{items, text};
use crate::inject::document::yaml::{Node, Value};

impl<'l> Linter<'l> {
    /// The volumes that the template adds.
    pub(super) fn volumes(&self) -> &'l [Node] {
        items(self.node, "volumes")
    }

    /// The mounts of all containers, those of the application's included.
    pub(super) fn mounts(&self) -> Vec<&'l Node> {
        let mounting = self.containers().into_iter().chain(self.app_containers());
        mounting.flat_map(|c| items(c, "volumeMounts").iter().chain(items(c, "volumeDevices"))).collect()
    }
}

/// The name of a volume, or of the volume of a mount, unless there is an expression in it.
pub(super) fn literal_name(item: &Node) -> Option<&str> {
    text(item, "name").filter(|name| !name.contains("${"))
}

/// Whether an expression gives the name of a volume, or of the volume of a mount.
pub(super) fn is_named_by_expression(item: &Node) -> bool {
    text(item, "name").is_some_and(|name| name.contains("${"))
}

/// Whether templates are meant to have the volume together.
pub(super) fn is_shared(volume: &Node) -> bool {
    matches!(volume.get("shared").map(|shared| &shared.value), Some(Value::Bool(true)))
}
