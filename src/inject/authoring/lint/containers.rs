//! The containers of a template document, and which of them can be in one pod.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::nodes::{items, text};
use crate::inject::document::yaml::Node;

/// The fields of a container that hold probes.
pub(super) const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];

impl<'l> Linter<'l> {
    /// The containers that keep running.
    pub(super) fn sidecars(&self) -> &'l [Node] {
        items(self.node, "sidecars")
    }

    /// The containers that end before the next one starts.
    pub(super) fn init_containers(&self) -> &'l [Node] {
        items(self.node, "initContainers")
    }

    /// All containers that the template adds.
    pub(super) fn containers(&self) -> Vec<&'l Node> {
        self.sidecars().iter().chain(self.init_containers()).collect()
    }

    /// What the template adds to containers of the application.
    pub(super) fn app_containers(&self) -> &'l [Node] {
        items(self.node, "appContainers")
    }
}

/// What messages call a container.
pub(super) fn name(container: &Node) -> &str {
    text(container, "name").unwrap_or("?")
}

/// Items of one name with conditions never join the same pod.
pub(super) fn exclude_each_other(one: &Node, other: &Node) -> bool {
    name(one) == name(other) && one.get("if").is_some() && other.get("if").is_some()
}

/// The containers that one pod may get together: of those that exclude each other the one that weighs most.
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
