//! How chosen templates join one pod: what would be added where, and what stands in the way. Decides
//! order and conflicts; it must not know JSON Patch.
//!
//! Templates are placed one after the other. One with a problem is not placed at all, and planning starts
//! again without it, so that the others are planned as if it had not been asked for.

use std::borrow::Cow;
use std::sync::Arc;

use super::arrangement::Arrangement;
use super::blueprint::Additions;
use super::diagnostic::shown;
use super::item::{Item, Port};
use super::pod::{Metadata, Spec};
use super::reason::Reason;
use super::template::{HostNetwork, Mode, Position, Template};

/// kubectl's choice of a container where none is named; without it the first one.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A template evaluated for the pod.
#[derive(Debug)]
pub(super) struct Ready<'c> {
    pub(super) template: &'c Template,
    pub(super) additions: Arc<Additions>,
    /// The template's hash, with the parameters and values that were used.
    pub(super) hash: Cow<'c, str>,
}

/// The additions, in the order in which they will stand in the pod.
#[derive(Debug, Default)]
pub(super) struct Plan<'r> {
    pub(super) init_containers: Arrangement<'r>,
    pub(super) containers: Arrangement<'r>,
    pub(super) volumes: Vec<&'r Item>,
    pub(super) image_pull_secrets: Vec<&'r Item>,
    pub(super) labels: Vec<(&'r str, &'r str)>,
    pub(super) annotations: Vec<(&'r str, &'r str)>,
    /// The placed templates in order.
    pub(super) placed: Vec<Placed<'r>>,
    /// What is done otherwise than somebody may expect.
    pub(super) warnings: Vec<Warning<'r>>,
}

/// A placed template and the part of it that was missing from the pod.
#[derive(Debug)]
pub(super) struct Placed<'r> {
    pub(super) ready: &'r Ready<'r>,
    pub(super) image_pull_secrets: Vec<&'r str>,
    pub(super) labels: Vec<&'r str>,
    pub(super) annotations: Vec<&'r str>,
}

impl Placed<'_> {
    /// Whether nothing of the template was missing.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.additions.all_containers().next().is_none()
            && self.ready.additions.volumes.is_empty()
            && self.image_pull_secrets.is_empty()
            && self.labels.is_empty()
            && self.annotations.is_empty()
    }
}

/// Something worth knowing that is no problem.
#[derive(Debug)]
pub(super) struct Warning<'r> {
    pub(super) template: &'r str,
    pub(super) reason: Reason,
    pub(super) what: String,
}

/// Why a template cannot be applied to the pod.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) reason: Reason,
    /// What and why, a sentence without its full stop.
    pub(super) what: String,
    /// Where to change it, a sentence.
    pub(super) fix: &'static str,
}

/// The pod the plan is for.
#[derive(Clone, Copy)]
pub(super) struct Target<'p> {
    pub(super) metadata: &'p Metadata<'p>,
    pub(super) spec: &'p Spec<'p>,
    /// Whether the pod is a Job's, which ends when its containers do.
    pub(super) of_job: bool,
    /// Volumes the pod will have that its spec does not list: claim templates of a `StatefulSet`.
    pub(super) claims: &'p [String],
}

impl<'r> Plan<'r> {
    /// The pod as it is.
    pub(super) fn of(pod: &Target<'r>) -> Self {
        let names = |list: &'r Option<Vec<super::pod::Container<'r>>>| list.iter().flatten().map(|c| c.name.as_str());
        Self {
            init_containers: Arrangement::of(names(&pod.spec.init_containers)),
            containers: Arrangement::of(names(&pod.spec.containers)),
            ..Self::default()
        }
    }

    /// Places a template, or tells everything that stands in its way.
    pub(super) fn place(&mut self, ready: &'r Ready<'r>, pod: &Target<'r>) -> Vec<Problem> {
        let mut problems = Vec::new();
        host_network(ready, pod, &mut problems);
        windows(ready, pod, &mut problems);
        self.check_containers(ready, pod, &mut problems);
        self.check_volumes(ready, pod, &mut problems);
        self.check_host_ports(ready, pod, &mut problems);
        if problems.is_empty() {
            self.add(ready, pod);
        }
        problems
    }

    fn add(&mut self, ready: &'r Ready<'r>, pod: &Target<'r>) {
        let (template, additions) = (ready.template, ready.additions.as_ref());
        let default = template.position.as_ref();
        for item in &additions.init_containers {
            self.join(true, item, item.position.as_ref().or(default).unwrap_or(&Position::First), ready);
        }
        for item in &additions.containers {
            self.join(false, item, item.position.as_ref().or(default).unwrap_or(&Position::Last), ready);
        }
        if pod.of_job && template.mode == Mode::Container && !additions.containers.is_empty() {
            let name = &additions.containers[0].name;
            self.warn(ready, Reason::Injected, format!("the Job does not finish before its plain container {name}"));
        }
        self.volumes.extend(additions.volumes.iter().map(AsRef::as_ref));
        let mut placed = Placed { ready, image_pull_secrets: Vec::new(), labels: Vec::new(), annotations: Vec::new() };
        for secret in &additions.image_pull_secrets {
            let has = pod.spec.image_pull_secrets.iter().flatten().any(|own| own.name.as_str() == secret.name);
            if !has && self.image_pull_secrets.iter().all(|other| other.name != secret.name) {
                self.image_pull_secrets.push(secret);
                placed.image_pull_secrets.push(&secret.name);
            }
        }
        for (key, value) in &additions.labels {
            let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            if self.adds(own.or(find(&self.labels, key)), value, ready, "label", key) {
                self.labels.push((key, value));
                placed.labels.push(key);
            }
        }
        for (key, value) in &additions.annotations {
            let own = pod.metadata.annotation(key);
            if self.adds(own.or(find(&self.annotations, key)), value, ready, "annotation", key) {
                self.annotations.push((key, value));
                placed.annotations.push(key);
            }
        }
        self.placed.push(placed);
    }

    /// Puts a container where it belongs. Where its anchor is missing (another webhook may add it later) it goes
    /// where it would without one.
    fn join(&mut self, init: bool, item: &'r Item, position: &Position, ready: &'r Ready<'r>) {
        let list = if init { &mut self.init_containers } else { &mut self.containers };
        let missing = match position {
            Position::Before(anchor) | Position::After(anchor) if !list.has(anchor) => Some(anchor),
            _ => None,
        };
        match missing {
            None => list.insert(item, position),
            Some(anchor) => {
                list.insert(item, if init { &Position::First } else { &Position::Last });
                let what =
                    format!("{} goes to its default place, there is no container {}", item.name, shown(anchor, 63));
                self.warn(ready, Reason::Injected, what);
            }
        }
    }

    fn warn(&mut self, ready: &'r Ready<'r>, reason: Reason, what: String) {
        self.warnings.push(Warning { template: &ready.template.name, reason, what });
    }

    /// Keeps what needs all templates to be placed: kubectl's default container stays the application's.
    pub(super) fn finish(&mut self, pod: &Target<'r>) {
        let Some((first, own)) = self.containers.new_first() else { return };
        let is_set = pod.metadata.annotation(DEFAULT_CONTAINER).is_some()
            || find(&self.annotations, DEFAULT_CONTAINER).is_some();
        let by = |placed: &&mut Placed<'r>| {
            placed.ready.additions.containers.iter().any(|item| std::ptr::eq(item.as_ref(), first))
        };
        if !is_set && let Some(placed) = self.placed.iter_mut().find(by) {
            placed.annotations.push(DEFAULT_CONTAINER);
            self.annotations.push((DEFAULT_CONTAINER, own));
        }
    }

    /// Whether a label or annotation is to be added; what is there is kept.
    fn adds(&mut self, own: Option<&str>, value: &str, ready: &'r Ready<'r>, what: &str, key: &str) -> bool {
        if own.is_some_and(|own| own != value) {
            self.warn(ready, Reason::Conflict, format!("the {what} {key} is kept as it is"));
        }
        own.is_none()
    }

    fn check_containers(&self, ready: &Ready<'_>, pod: &Target<'_>, problems: &mut Vec<Problem>) {
        let lists = [("container", &pod.spec.containers), ("init container", &pod.spec.init_containers)];
        for item in ready.additions.all_containers() {
            let own = lists.iter().find(|(_, list)| list.iter().flatten().any(|c| c.name.as_str() == item.name));
            if let Some((kind, _)) = own {
                let name = &item.name;
                conflict(
                    problems,
                    format!("it adds a container \"{name}\", but the pod has its own {kind} of that name"),
                    "Rename the pod's container, or change the template",
                );
            } else if let Some(other) = self.placed_with(|t| t.all_containers().any(|c| c.name == item.name)) {
                conflict(
                    problems,
                    format!("it adds a container \"{}\", and so does template {other}", item.name),
                    "Ask for one of them only, or change a template",
                );
            }
        }
    }

    fn check_volumes(&self, ready: &Ready<'_>, pod: &Target<'_>, problems: &mut Vec<Problem>) {
        for item in &ready.additions.volumes {
            let name = &item.name;
            if pod.has_volume(name) {
                conflict(
                    problems,
                    format!("it adds a volume \"{name}\", but the pod has its own of that name"),
                    "Rename the pod's volume, or change the template",
                );
            } else if let Some(other) = self.placed_with(|t| t.volumes.iter().any(|v| v.name == *name)) {
                conflict(
                    problems,
                    format!("it adds a volume \"{name}\", and so does template {other}"),
                    "Ask for one of them only, or change a template",
                );
            }
        }
    }

    fn check_host_ports(&self, ready: &Ready<'_>, pod: &Target<'_>, problems: &mut Vec<Problem>) {
        let on_host = pod.spec.host_network == Some(true);
        for wanted in ready.additions.all_containers().flat_map(|item| &item.ports) {
            let Some(number) = wanted.taken(on_host) else { continue };
            let what = format!("it takes port {number}/{} of the node", wanted.protocol);
            let clashes = |port: &Port| port.taken(on_host) == Some(number) && wanted.clashes(&port.protocol, &port.ip);
            if let Some(owner) = pod.owner_of_host_port(wanted, number) {
                conflict(
                    problems,
                    format!("{what}, but the pod's container \"{}\" has it", shown(owner, 63)),
                    "Change one of the host ports",
                );
            } else if let Some(other) =
                self.placed_with(|t| t.all_containers().flat_map(|item| &item.ports).any(clashes))
            {
                conflict(
                    problems,
                    format!("{what}, and so does template {other}"),
                    "Ask for one of them only, or change a template",
                );
            }
        }
    }

    /// The volumes that `template` mounts and that nobody has: neither the pod nor any template placed. Asked
    /// when all are placed, so that the order of the request does not matter.
    pub(super) fn missing_volumes(&self, ready: &Ready<'_>, pod: &Target<'_>) -> Vec<Problem> {
        let mut missing: Vec<&str> = Vec::new();
        let mut problems = Vec::new();
        for item in ready.additions.all_containers() {
            for mount in &item.mounts {
                let added = self.volumes.iter().any(|volume| volume.name == *mount);
                if !added && !pod.has_volume(mount) && !missing.contains(&mount.as_str()) {
                    missing.push(mount);
                    let what = format!(
                        "its container \"{}\" mounts the volume \"{mount}\", which neither the templates nor the pod have",
                        item.name
                    );
                    let fix = "Add the volume to the pod or the template";
                    problems.push(Problem { reason: Reason::MissingVolume, what, fix });
                }
            }
        }
        problems
    }

    fn placed_with(&self, has: impl Fn(&Additions) -> bool) -> Option<String> {
        let placed = self.placed.iter().find(|placed| has(&placed.ready.additions));
        placed.map(|placed| placed.ready.template.display())
    }
}

impl Target<'_> {
    fn has_volume(&self, name: &str) -> bool {
        self.spec.volumes.iter().flatten().any(|volume| volume.name.as_str() == name)
            || self.claims.iter().any(|claim| claim == name)
    }

    /// The container of the pod that holds a port of the node. On the host's network every declared
    /// port is one, also before the API server has filled in hostPort.
    fn owner_of_host_port(&self, wanted: &Port, number: u16) -> Option<&str> {
        let on_host = self.spec.host_network == Some(true);
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers).flatten();
        containers.into_iter().find_map(|container| {
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
}

fn find<'v>(list: &[(&str, &'v str)], key: &str) -> Option<&'v str> {
    list.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
}

fn conflict(problems: &mut Vec<Problem>, what: String, fix: &'static str) {
    problems.push(Problem { reason: Reason::Conflict, what, fix });
}

fn host_network(ready: &Ready<'_>, pod: &Target<'_>, problems: &mut Vec<Problem>) {
    if pod.spec.host_network != Some(true) {
        return;
    }
    let declares = ready.additions.all_containers().find(|item| !item.ports.is_empty());
    let what = match (ready.template.host_network, declares) {
        (HostNetwork::Refuse, _) => "the template refuses pods with hostNetwork".to_owned(),
        (HostNetwork::RefusePorts, Some(item)) => {
            format!(
                "its container \"{}\" declares ports, which would be taken on the node since the pod uses hostNetwork",
                item.name
            )
        }
        _ => return,
    };
    problems.push(Problem {
        reason: Reason::HostNetwork,
        what,
        fix: "Do without hostNetwork, or set hostNetwork: allow in the template",
    });
}

fn windows(ready: &Ready<'_>, pod: &Target<'_>, problems: &mut Vec<Problem>) {
    if !pod.spec.is_windows() {
        return;
    }
    if let Some((item, field)) = ready.additions.all_containers().find_map(|item| Some((item, item.linux_only?))) {
        let what =
            format!("its container \"{}\" sets securityContext.{field}, which Windows pods must not have", item.name);
        problems.push(Problem { reason: Reason::WindowsPod, what, fix: "Use a template made for Windows" });
    }
}
