//! How chosen templates join one pod: what would be added where, and what stands in the way. Decides
//! order and conflicts; it must not know JSON Patch.
//!
//! Templates are placed one after the other. One with a problem is not placed at all, and planning starts
//! again without it, so that the others are planned as if it had not been asked for.

use super::diagnostic::shown;
use super::item::{Item, Port};
use super::pod::{Metadata, Spec};
use super::reason::Reason;
use super::template::{HostNetwork, Position, Template};

/// The additions, in the order in which they will stand in the pod.
#[derive(Debug, Default)]
pub(super) struct Plan<'c> {
    pub(super) init_first: Vec<&'c Item>,
    pub(super) init_last: Vec<&'c Item>,
    pub(super) containers_first: Vec<&'c Item>,
    pub(super) containers_last: Vec<&'c Item>,
    pub(super) volumes: Vec<&'c Item>,
    pub(super) image_pull_secrets: Vec<&'c Item>,
    pub(super) labels: Vec<(&'c str, &'c str)>,
    pub(super) annotations: Vec<(&'c str, &'c str)>,
    /// The placed templates in order.
    pub(super) placed: Vec<Placed<'c>>,
    /// What a template wanted and the pod has otherwise: (template, what).
    pub(super) kept: Vec<(&'c Template, String)>,
}

/// A placed template and the part of it that was missing from the pod.
#[derive(Debug)]
pub(super) struct Placed<'c> {
    pub(super) template: &'c Template,
    pub(super) image_pull_secrets: Vec<&'c str>,
    pub(super) labels: Vec<&'c str>,
    pub(super) annotations: Vec<&'c str>,
}

impl Placed<'_> {
    /// Whether nothing of the template was missing.
    pub(super) fn is_empty(&self) -> bool {
        self.template.all_containers().next().is_none()
            && self.template.volumes.is_empty()
            && self.image_pull_secrets.is_empty()
            && self.labels.is_empty()
            && self.annotations.is_empty()
    }
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
pub(super) struct Target<'p> {
    pub(super) metadata: &'p Metadata<'p>,
    pub(super) spec: &'p Spec<'p>,
    /// Volumes the pod will have that its spec does not list: claim templates of a `StatefulSet`.
    pub(super) claims: &'p [String],
}

impl<'c> Plan<'c> {
    /// Places `template`, or tells everything that stands in its way.
    pub(super) fn place(&mut self, template: &'c Template, pod: &Target<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        host_network(template, pod, &mut problems);
        windows(template, pod, &mut problems);
        self.containers(template, pod, &mut problems);
        self.volumes(template, pod, &mut problems);
        self.host_ports(template, pod, &mut problems);
        if problems.is_empty() {
            self.add(template, pod);
        }
        problems
    }

    fn add(&mut self, template: &'c Template, pod: &Target<'_>) {
        let first = template.position == Some(Position::First);
        let last = template.position == Some(Position::Last);
        if last { &mut self.init_last } else { &mut self.init_first }.extend(&template.init_containers);
        if first { &mut self.containers_first } else { &mut self.containers_last }.extend(&template.containers);
        self.volumes.extend(&template.volumes);
        let mut placed =
            Placed { template, image_pull_secrets: Vec::new(), labels: Vec::new(), annotations: Vec::new() };
        for secret in &template.image_pull_secrets {
            let has = pod.spec.image_pull_secrets.iter().flatten().any(|own| own.name.as_str() == secret.name);
            if !has && self.image_pull_secrets.iter().all(|other| other.name != secret.name) {
                self.image_pull_secrets.push(secret);
                placed.image_pull_secrets.push(&secret.name);
            }
        }
        for (key, value) in &template.labels {
            let own = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            if self.adds(own.or(find(&self.labels, key)), value, template, "label", key) {
                self.labels.push((key, value));
                placed.labels.push(key);
            }
        }
        for (key, value) in &template.annotations {
            let own = pod.metadata.annotation(key);
            if self.adds(own.or(find(&self.annotations, key)), value, template, "annotation", key) {
                self.annotations.push((key, value));
                placed.annotations.push(key);
            }
        }
        self.placed.push(placed);
    }

    /// Whether a label or annotation is to be added; what is there is kept.
    fn adds(&mut self, own: Option<&str>, value: &str, template: &'c Template, what: &str, key: &str) -> bool {
        if own.is_some_and(|own| own != value) {
            self.kept.push((template, format!("the {what} {key} is kept as it is")));
        }
        own.is_none()
    }

    fn containers(&self, template: &Template, pod: &Target<'_>, problems: &mut Vec<Problem>) {
        let lists = [("container", &pod.spec.containers), ("init container", &pod.spec.init_containers)];
        for item in template.all_containers() {
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

    fn volumes(&self, template: &Template, pod: &Target<'_>, problems: &mut Vec<Problem>) {
        for item in &template.volumes {
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

    fn host_ports(&self, template: &Template, pod: &Target<'_>, problems: &mut Vec<Problem>) {
        let on_host = pod.spec.host_network == Some(true);
        for wanted in template.all_containers().flat_map(|item| &item.ports) {
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
    pub(super) fn missing_volumes(&self, template: &Template, pod: &Target<'_>) -> Vec<Problem> {
        let mut missing: Vec<&str> = Vec::new();
        let mut problems = Vec::new();
        for item in template.all_containers() {
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

    fn placed_with(&self, has: impl Fn(&Template) -> bool) -> Option<String> {
        self.placed.iter().find(|placed| has(placed.template)).map(|placed| placed.template.display())
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

fn host_network(template: &Template, pod: &Target<'_>, problems: &mut Vec<Problem>) {
    if pod.spec.host_network != Some(true) {
        return;
    }
    let declares = template.all_containers().find(|item| !item.ports.is_empty());
    let what = match (template.host_network, declares) {
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

fn windows(template: &Template, pod: &Target<'_>, problems: &mut Vec<Problem>) {
    if !pod.spec.is_windows() {
        return;
    }
    if let Some((item, field)) = template.all_containers().find_map(|item| Some((item, item.linux_only?))) {
        let what =
            format!("its container \"{}\" sets securityContext.{field}, which Windows pods must not have", item.name);
        problems.push(Problem { reason: Reason::WindowsPod, what, fix: "Use a template made for Windows" });
    }
}
