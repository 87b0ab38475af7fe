//! A finished item of a template's lists: a container, a volume or a pull secret. This module does not depend on
//! documents or pods.

use crate::inject::template::words::Position;
use serde_json::Value as Json;

/// One item, ready to be copied into a patch.
#[derive(Clone, Debug)]
pub struct Item {
    /// The name, unique in its list.
    pub name: String,
    /// The JSON of the item.
    pub value: Json,
    /// The JSON of the item as text.
    pub json: String,
    /// The names of the volumes that a container mounts, uses as devices or reads variables from.
    pub mounts: Vec<String>,
    /// The ports that a container declares.
    pub ports: Vec<ItemPort>,
    /// The annotations that contain the files of a volume, each a key and the content.
    pub files: Vec<(String, String)>,
    /// True for a volume that other templates can share.
    pub shared: bool,
    /// Whether rules of the API server relate it to other parts of the pod.
    pub crossing: Crossing,
    /// The place of a container in its list; `None` uses the template's position.
    pub position: Option<Position>,
}

/// Whether rules of the API server relate an item to other parts of the pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Crossing {
    /// No rule does.
    #[default]
    Never,
    /// Rules do, if the pod has annotations with seccomp or AppArmor profiles.
    WithProfiles,
    /// Rules do in each pod.
    Always,
}

impl Crossing {
    fn of_container(container: &Json) -> Self {
        let context = &container["securityContext"];
        let sleeps = |hook: &str| !container["lifecycle"][hook]["sleep"].is_null();
        let has_file_key = |variable: &Json| !variable["valueFrom"]["fileKeyRef"].is_null();
        let is_bidirectional = |mount: &Json| mount["mountPropagation"] == "Bidirectional";
        if !container["resizePolicy"].is_null()
            || !container["volumeDevices"].is_null()
            || !container["resources"]["claims"].is_null()
            || !context["procMount"].is_null()
            || !context["windowsOptions"].is_null()
            || sleeps("preStop")
            || sleeps("postStart")
            || array(&container["env"]).any(has_file_key)
            || array(&container["volumeMounts"]).any(is_bidirectional)
        {
            Self::Always
        } else if !context["seccompProfile"].is_null() || !context["appArmorProfile"].is_null() {
            Self::WithProfiles
        } else {
            Self::Never
        }
    }

    pub(super) fn of_volume(volume: &Json) -> Self {
        let is_claim = !volume["ephemeral"].is_null() || !volume["persistentVolumeClaim"].is_null();
        if is_claim { Self::Always } else { Self::Never }
    }
}

/// A declared port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPort {
    /// The requested port of the node (`hostPort`); `None` if it is absent or 0.
    pub host_port: Option<u16>,
    /// The name that Services and probes use; empty without a name.
    pub name: String,
    /// The port of the container. In a pod on the host's network it is also a port of the node.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The address on the node (`hostIP`); empty, `0.0.0.0` and `::` mean every address.
    pub ip: String,
}

impl ItemPort {
    /// The port of the node that it occupies; `None` if it does not occupy one.
    #[must_use]
    pub fn taken(&self, on_host_network: bool) -> Option<u16> {
        self.host_port.or(on_host_network.then_some(self.container_port))
    }

    /// The part that it has in common with another port of `number`, `protocol` and `name`, such as `port 80` or
    /// `the port name http`.
    #[must_use]
    pub fn same(&self, number: u16, protocol: &str, name: &str) -> Option<String> {
        if self.container_port == number && self.protocol == protocol {
            Some(format!("port {number}"))
        } else {
            (!name.is_empty() && self.name == name).then(|| format!("the port name {name}"))
        }
    }

    /// Returns true if it conflicts with a port of the same number, of `protocol` and at the address `ip`, on one node.
    #[must_use]
    pub fn clashes(&self, protocol: &str, ip: &str) -> bool {
        let every = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.protocol == protocol && (self.ip == ip || every(&self.ip) || every(ip))
    }
}

/// The names that items of a template have taken. While a template is loaded, two items with conditions can have the
/// same name. In one pod they cannot.
#[derive(Debug, Default)]
pub(crate) struct TakenNames {
    /// The names, each with true if its item has a condition.
    taken: Vec<(String, bool)>,
    /// True if the items whose names are taken next have a condition.
    pub(crate) conditional: bool,
}

impl TakenNames {
    /// Takes a name. Returns false if another item has it.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let clashes = |(taken, conditional): &(String, bool)| taken == name && !(*conditional && self.conditional);
        let free = !self.taken.iter().any(clashes);
        self.taken.push((name.to_owned(), self.conditional));
        free
    }
}

/// The kind of an item of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// An ordinary init container.
    Init,
    /// An init container with `restartPolicy: Always`.
    NativeSidecar,
    /// A container in `spec.containers`.
    Sidecar,
    /// A volume.
    Volume,
    /// A reference to a Secret with registry credentials.
    PullSecret,
}

impl ItemKind {
    /// The key of the list in a template.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::NativeSidecar | Self::Sidecar => "sidecars",
            Self::Volume => "volumes",
            Self::PullSecret => "imagePullSecrets",
        }
    }

    pub(crate) fn is_container(self) -> bool {
        matches!(self, Self::Init | Self::NativeSidecar | Self::Sidecar)
    }
}

impl Item {
    /// Returns a copy of the container without the host ports of the ports at `indexes`.
    pub(crate) fn without_host_ports(&self, indexes: &[usize]) -> Self {
        let mut value = self.value.clone();
        for index in indexes {
            if let Some(port) = value["ports"][*index].as_object_mut() {
                port.shift_remove("hostPort");
                port.shift_remove("hostIP");
            }
        }
        Self { position: self.position.clone(), ..container_item(self.name.clone(), value) }
    }
}

pub(super) fn container_item(name: String, value: Json) -> Item {
    let named =
        |key: &str| array(&value[key]).filter_map(|item| item["name"].as_str()).map(str::to_owned).collect::<Vec<_>>();
    let mut mounts = named("volumeMounts");
    mounts.extend(named("volumeDevices"));
    mounts.extend(array(&value["env"]).filter_map(file_volume).map(str::to_owned));
    let ports: Vec<ItemPort> = array(&value["ports"])
        .filter_map(|port| {
            Some(ItemPort {
                name: port["name"].as_str().unwrap_or("").to_owned(),
                host_port: port["hostPort"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
                container_port: u16::try_from(port["containerPort"].as_u64()?).ok()?,
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                ip: port["hostIP"].as_str().unwrap_or("").to_owned(),
            })
        })
        .collect();
    let crossing = Crossing::of_container(&value);
    Item { mounts, ports, crossing, ..plain_item(name, value) }
}

pub(super) fn plain_item(name: String, value: Json) -> Item {
    Item {
        json: value.to_string(),
        name,
        value,
        mounts: Vec::new(),
        ports: Vec::new(),
        files: Vec::new(),
        shared: false,
        crossing: Crossing::Never,
        position: None,
    }
}

/// The name of the volume that a variable is read from (`fileKeyRef`).
fn file_volume(variable: &Json) -> Option<&str> {
    variable["valueFrom"]["fileKeyRef"]["volumeName"].as_str()
}

fn array(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}
