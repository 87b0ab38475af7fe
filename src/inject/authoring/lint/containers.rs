//! The containers in a template document, and which of them can be in the same pod.

use crate::inject::authoring::lint::linter::Linter;
use crate::inject::document::Node;

/// The fields of a container that contain probes.
pub(super) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

impl<'l> Linter<'l> {
    /// The containers under `sidecars`.
    pub(super) fn sidecars(&self) -> &'l [Node] {
        self.node.items("sidecars")
    }

    /// The containers under `initContainers`.
    pub(super) fn init_containers(&self) -> &'l [Node] {
        self.node.items("initContainers")
    }

    /// All containers that the template adds: the sidecars, then the init containers.
    pub(super) fn containers(&self) -> Vec<&'l Node> {
        self.sidecars().iter().chain(self.init_containers()).collect()
    }

    /// The items under `appContainers`: additions to containers of the application.
    pub(super) fn app_containers(&self) -> &'l [Node] {
        self.node.items("appContainers")
    }
}

/// The container's name for messages; `?` if it has none.
pub(super) fn name(container: &Node) -> &str {
    container.text("name").unwrap_or("?")
}

/// Returns true if the containers are never in the same pod: they have the same name, and both have a condition.
pub(super) fn exclude_each_other(one: &Node, other: &Node) -> bool {
    name(one) == name(other) && one.get("if").is_some() && other.get("if").is_some()
}

/// The containers that can be in the same pod: of those that exclude each other, the one with the largest `weight`.
pub(super) fn together<'n>(containers: &[&'n Node], weight: impl Fn(&Node) -> i128) -> Vec<&'n Node> {
    let mut chosen: Vec<&Node> = Vec::new();
    for container in containers {
        match chosen.iter_mut().find(|other| exclude_each_other(other, container)) {
            Some(other) if weight(other) < weight(container) => *other = container,
            Some(_) => {}
            None => chosen.push(container),
        }
    }
    chosen
}
