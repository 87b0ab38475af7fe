//! Finds the parts of a template that fit into the pod: checks names and ports for conflicts and applies `onConflict`
//! to them. It does not change the plan.

use std::sync::Arc;

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::Ready;
use crate::inject::kube::defaults::equal;
use crate::inject::plan::app;
use crate::inject::plan::contents::{Placed, Plan};
use crate::inject::plan::context::PodContext;
use crate::inject::template::body::item::{Item, ItemPort};
use crate::inject::template::words::{Clash, HostNetwork, OnConflict};

/// The parts of a template's lists that can be added, with the problems and warnings of the others.
#[derive(Default)]
pub(super) struct Fit<'r> {
    pub(super) init_containers: Vec<Arc<Item>>,
    pub(super) containers: Vec<Arc<Item>>,
    pub(super) volumes: Vec<&'r Item>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<(Reason, String)>,
}

/// A conflict, if any: the problem and its solution, each a sentence without its full stop.
type Taken = Option<(String, &'static str)>;

impl<'r> Fit<'r> {
    pub(super) fn of(plan: &Plan<'r>, ready: &'r Ready<'r>, pod: &PodContext<'r>) -> Self {
        let mut fit = Self::default();
        fit.problems.extend(host_network(ready, pod));
        let additions = ready.additions.as_ref();
        let on_conflict = ready.on_conflict;
        let mut left_out: Vec<&Item> = Vec::new();
        for (init, list) in [(true, &additions.init_containers), (false, &additions.containers)] {
            for item in list {
                match fit.container(plan, item, pod, on_conflict) {
                    Some(item) if init => fit.init_containers.push(item),
                    Some(item) => fit.containers.push(item),
                    None => left_out.push(item),
                }
            }
        }
        let ports = fit.init_containers.iter().chain(&fit.containers);
        let ports = ports.filter_map(|item| same_port(item, pod).or_else(|| plan.same_port(item)));
        fit.warnings.extend(ports);
        for item in additions.volumes.iter().map(AsRef::as_ref) {
            let kept = || fit.init_containers.iter().chain(&fit.containers);
            let needed = kept().any(|container| container.mounts.contains(&item.name))
                || additions.app_containers.iter().flat_map(|change| &change.mounts).any(|m| m.volume == item.name);
            // A volume that only containers need which are left out is left out with them.
            let gone = !needed && left_out.iter().any(|container| container.mounts.contains(&item.name));
            let is_shared = plan.is_shared(item) || pod.shares(item);
            if !gone && !is_shared && !fit.clashes(plan.taken_volume(item, pod), on_conflict.volumes) {
                fit.volumes.push(item);
            }
        }
        fit
    }

    /// The container as it is added to the pod; `None` if it is left out.
    fn container(
        &mut self,
        plan: &Plan<'r>,
        item: &'r Arc<Item>,
        pod: &PodContext<'r>,
        on_conflict: OnConflict,
    ) -> Option<Arc<Item>> {
        if self.clashes(plan.taken_name(item, pod), on_conflict.containers) {
            return None;
        }
        let mut taken = Vec::new();
        for (index, port) in item.ports.iter().enumerate() {
            let own = || self.own_port(port, &item.ports[..index], pod);
            if self.clashes(plan.taken_port(port, pod).or_else(own), on_conflict.host_ports) {
                taken.push(index);
            }
        }
        if taken.is_empty() {
            return Some(Arc::clone(item));
        }
        // On the network of the node, the process would listen anyway, so the whole container is left out.
        let is_apart = pod.spec.host_network != Some(true);
        is_apart.then(|| Arc::new(item.without_host_ports(&taken)))
    }

    /// The conflict, if a port of `before` or of an earlier container of the template takes the same port of the node.
    fn own_port(&self, wanted: &ItemPort, before: &[ItemPort], pod: &PodContext<'_>) -> Taken {
        let on_host = pod.spec.host_network == Some(true);
        let number = wanted.taken(on_host)?;
        let earlier = self.init_containers.iter().chain(&self.containers).flat_map(|item| &item.ports);
        let mut others = earlier.chain(before);
        others
            .any(|port| port.taken(on_host) == Some(number) && wanted.clashes(&port.protocol, &port.ip))
            .then(|| (format!("it uses port {number}/{} of the node twice", wanted.protocol), "Change the template"))
    }

    /// Removes the volumes that only mounts need which are left out.
    pub(super) fn keep_mounted(&mut self, ready: &Ready<'_>, app: &app::AppOutcome<'_>) {
        let mentions = |volume: &Item| {
            let changes = ready.additions.app_containers.iter().flat_map(|change| &change.mounts);
            changes.into_iter().any(|mount| mount.volume == volume.name)
        };
        let (init_containers, containers) = (&self.init_containers, &self.containers);
        let mounted = |volume: &Item| {
            init_containers.iter().chain(containers).any(|item| item.mounts.contains(&volume.name))
                || app.added.iter().flat_map(|added| &added.mounts).any(|mount| mount.volume == volume.name)
                || app.equal_mounts.iter().any(|mount| mount.volume == volume.name)
        };
        self.volumes.retain(|volume| !mentions(volume) || mounted(volume));
    }

    /// Returns true if there is a conflict, and adds it to the problems or the warnings.
    fn clashes(&mut self, taken: Taken, clash: Clash) -> bool {
        let Some((what, fix)) = taken else { return false };
        match clash {
            Clash::Fail => self.problems.push(Problem { reason: Reason::Conflict, what, fix }),
            Clash::Keep => self.warnings.push((Reason::Conflict, format!("kept the existing one: {what}"))),
        }
        true
    }
}

const REQUEST_ONE: &str = "Request only one of them, or change a template";

impl Plan<'_> {
    fn taken_name(&self, item: &Item, pod: &PodContext<'_>) -> Taken {
        let name = &item.name;
        let lists = [("a container", &pod.spec.containers), ("an init container", &pod.spec.init_containers)];
        let own = lists.iter().find(|(_, list)| list.iter().flatten().any(|c| c.name.as_str() == *name));
        if let Some((kind, _)) = own {
            let what = format!("it adds a container \"{name}\", but the pod already has {kind} with that name");
            return Some((what, "Rename the pod's container, or change the template"));
        }
        let other = self.placed_with(|placed| containers(placed).any(|other| other.name == *name))?;
        Some((format!("it adds a container \"{name}\", and so does template {other}"), REQUEST_ONE))
    }

    fn taken_volume(&self, item: &Item, pod: &PodContext<'_>) -> Taken {
        let name = &item.name;
        if pod.has_volume(name) {
            let what = format!("it adds a volume \"{name}\", but the pod already has a volume with that name");
            return Some((what, "Rename the pod's volume, or change the template"));
        }
        let other = self.placed_with(|placed| placed.volumes.iter().any(|other| other.name == *name))?;
        Some((format!("it adds a volume \"{name}\", and so does template {other}"), REQUEST_ONE))
    }

    /// Returns true if an earlier template has added an equal volume, and both templates declare it as shared.
    fn is_shared(&self, item: &Item) -> bool {
        item.shared && self.volumes.iter().any(|other| other.shared && equal(&other.value, &item.value))
    }

    /// The warning for a port that a container of an earlier template also declares.
    fn same_port(&self, item: &Item) -> Option<(Reason, String)> {
        let others = || self.placed.iter().flat_map(containers);
        item.ports.iter().find_map(|port| {
            others().find_map(|other| {
                let same =
                    other.ports.iter().find_map(|own| port.same(own.container_port, &own.protocol, &own.name))?;
                let what = format!("{} declares {same}, and so does the container {}", item.name, other.name);
                Some((Reason::Injected, what))
            })
        })
    }

    fn taken_port(&self, wanted: &ItemPort, pod: &PodContext<'_>) -> Taken {
        let on_host = pod.spec.host_network == Some(true);
        let number = wanted.taken(on_host)?;
        let what = || format!("it uses port {number}/{} of the node", wanted.protocol);
        if let Some(owner) = owner_of_host_port(pod, wanted, number) {
            let what = format!("{}, but the pod's container \"{}\" uses it", what(), shown(owner, 63));
            return Some((what, "Change one of the host ports"));
        }
        let clashes = |port: &ItemPort| port.taken(on_host) == Some(number) && wanted.clashes(&port.protocol, &port.ip);
        let other = self.placed_with(|placed| containers(placed).flat_map(|item| &item.ports).any(clashes))?;
        Some((format!("{}, and so does template {other}", what()), REQUEST_ONE))
    }
}

/// The warning for a port that a container of the pod also declares. The API server accepts this, but one of them
/// cannot listen, or a Service reaches the wrong one.
fn same_port(item: &Item, pod: &PodContext<'_>) -> Option<(Reason, String)> {
    item.ports.iter().find_map(|port| {
        pod.spec.all_containers().find_map(|container| {
            let same = container.ports.iter().flatten().find_map(|own| {
                let protocol = own.protocol.as_ref().map_or("TCP", |protocol| protocol.as_str());
                let name = own.name.as_ref().map_or("", |name| name.as_str());
                port.same(own.container_port.unwrap_or(0), protocol, name)
            })?;
            let owner = shown(container.name.as_str(), 63);
            Some((Reason::Injected, format!("{} declares {same}, and so does the container {owner}", item.name)))
        })
    })
}

fn containers<'p>(placed: &'p Placed<'_>) -> impl Iterator<Item = &'p Item> {
    placed.init_containers.iter().chain(&placed.containers).map(AsRef::as_ref)
}

/// The name of the pod's container that takes a port of the node. On the host's network, every declared port is a port
/// of the node, even before the API server has set hostPort.
fn owner_of_host_port<'p>(pod: &PodContext<'p>, wanted: &ItemPort, number: u16) -> Option<&'p str> {
    let on_host = pod.spec.host_network == Some(true);
    pod.spec.all_containers().find_map(|container| {
        let taken = container.ports.iter().flatten().any(|port| {
            let host_port =
                port.host_port.filter(|port| *port > 0).or(if on_host { port.container_port } else { None });
            let protocol = port.protocol.as_ref().map_or("TCP", |p| p.as_str());
            let ip = port.host_ip.as_ref().map_or("", |ip| ip.as_str());
            host_port == Some(number) && wanted.clashes(protocol, ip)
        });
        taken.then_some(container.name.as_str())
    })
}

/// The problem, if the template does not allow pods with hostNetwork.
fn host_network(ready: &Ready<'_>, pod: &PodContext<'_>) -> Option<Problem> {
    if pod.spec.host_network != Some(true) {
        return None;
    }
    let declares = ready.additions.all_containers().find(|item| !item.ports.is_empty());
    let what = match (ready.template.host_network, declares) {
        (HostNetwork::Refuse, _) => "the template rejects pods with hostNetwork".to_owned(),
        (HostNetwork::RefusePorts, Some(item)) => {
            format!(
                "its container \"{}\" declares ports, which become ports of the node because the pod uses hostNetwork",
                item.name
            )
        }
        _ => return None,
    };
    let fix = "Remove hostNetwork, or change the template (hostNetwork: allow)";
    Some(Problem { reason: Reason::HostNetwork, what, fix })
}
