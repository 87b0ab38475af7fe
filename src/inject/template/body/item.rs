//! The items of a template's lists: containers, volumes and pull secrets, checked one by one and
//! compiled to JSON. What the API server would refuse in every pod is refused here, where the author
//! of the template sees it. It must not know the pod.

use serde_json::Value as Json;

use crate::inject::diagnostic::shown;
use crate::inject::document::yaml::{Node, Value};
use crate::inject::kube::names::{is_label, is_subdomain};
use crate::inject::kube::rules;
use crate::inject::kube::types::{Checker, PENDING};
use crate::inject::template::body::files;

/// One item, ready to be copied into a patch.
#[derive(Clone, Debug)]
pub struct Item {
    /// Unique in its list.
    pub name: String,
    /// The item.
    pub value: Json,
    /// The item as JSON text.
    pub json: String,
    /// Volumes that a container mounts or uses as a device.
    pub mounts: Vec<String>,
    /// The ports that a container declares.
    pub ports: Vec<Port>,
    /// The first field of a container that a Windows pod must not have.
    pub linux_only: Option<&'static str>,
    /// Annotations that carry the files of a volume: key, content.
    pub files: Vec<(String, String)>,
    /// Whether a volume may be one with that of another template.
    pub shared: bool,
    /// Where a container goes; `None` is where its template's go.
    pub position: Option<Position>,
}

/// Where containers are put in their list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the pod's own.
    First,
    /// Behind the pod's own.
    Last,
    /// Right before the container of that name.
    Before(String),
    /// Right behind it.
    After(String),
}

/// A declared port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port of the node that is asked for.
    pub host_port: Option<u16>,
    /// What Services and probes call it; empty without a name.
    pub name: String,
    /// The port of the container; on the host's network it is one of the node.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The address; empty, `0.0.0.0` and `::` mean every one.
    pub ip: String,
}

impl Port {
    /// The port of the node that is taken, if any.
    #[must_use]
    pub fn taken(&self, on_host_network: bool) -> Option<u16> {
        self.host_port.or(on_host_network.then_some(self.container_port))
    }

    /// What of it another port, of `number`, `protocol` and `name`, has too.
    #[must_use]
    pub fn same(&self, number: u16, protocol: &str, name: &str) -> Option<String> {
        if self.container_port == number && self.protocol == protocol {
            Some(format!("port {number}"))
        } else {
            (!name.is_empty() && self.name == name).then(|| format!("the port name {name}"))
        }
    }

    /// Whether both cannot be had on one node, given that the numbers are equal.
    #[must_use]
    pub fn clashes(&self, protocol: &str, ip: &str) -> bool {
        let every = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
        self.protocol == protocol && (self.ip == ip || every(&self.ip) || every(ip))
    }
}

/// Names of a template's items that are taken. While a template is loaded, two items with conditions may have one name;
/// in one pod they may not.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// With whether a condition decides on the item.
    taken: Vec<(String, bool)>,
    /// Whether a condition decides on the items that come.
    pub(crate) conditional: bool,
}

impl Names {
    /// Takes a name, unless somebody has it.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let clashes = |(taken, conditional): &(String, bool)| taken == name && !(*conditional && self.conditional);
        let free = !self.taken.iter().any(clashes);
        self.taken.push((name.to_owned(), self.conditional));
        free
    }
}

/// What an item of a template is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An ordinary init container.
    Init,
    /// An init container with `restartPolicy: Always`.
    NativeSidecar,
    /// A container beside the application's.
    Sidecar,
    /// A volume.
    Volume,
    /// A reference to a Secret with registry credentials.
    PullSecret,
}

impl Kind {
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

/// Fields of a container's securityContext that validation refuses in Windows pods
/// (`k8s.io/kubernetes/pkg/apis/core/validation`, `validateWindows`).
const LINUX_ONLY: [&str; 10] = [
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
    "appArmorProfile",
];
/// Fields that only containers which keep running may have.
const SIDECAR_ONLY: [&str; 4] = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];

/// Reads one item. `files` begins the keys of annotations that carry files, `path` names it in messages, `names`
/// collects those that are taken.
pub(crate) fn read(
    checker: &mut Checker<'_>,
    node: &Node,
    kind: Kind,
    files: &str,
    path: &str,
    names: &mut Names,
) -> Option<Item> {
    if kind.is_container() {
        return container(checker, node, kind, path, names);
    }
    let shared =
        node.get("shared").is_some_and(|node| checker.json(node, "boolean", &format!("{path}.shared")) == true);
    if kind == Kind::Volume && node.get("files").is_some() {
        return files::volume(checker, node, files, path, names).map(|item| Item { shared, ..item });
    }
    let (type_name, valid): (_, fn(&str) -> bool) =
        if kind == Kind::Volume { ("Volume", is_label) } else { ("LocalObjectReference", is_subdomain) };
    let mut node = node.clone();
    if let (Kind::Volume, Value::Map(entries)) = (kind, &mut node.value) {
        entries.retain(|(key, _)| key.name != "shared");
    }
    let value = checker.json(&node, type_name, path);
    let name = required_name(checker, &node, &value, path, names, valid)?;
    if kind == Kind::Volume {
        rules::report(checker, &node, path, rules::volume(&value));
    }
    Some(Item { shared: shared && kind == Kind::Volume, ..plain(name, value) })
}

fn container(checker: &mut Checker<'_>, node: &Node, kind: Kind, path: &str, names: &mut Names) -> Option<Item> {
    refuse_keys(checker, node, &["restartPolicy"], |_| match kind {
        Kind::Init => {
            "does not belong to an init container of a template; one that keeps running goes under `sidecars`"
        }
        _ => "does not belong to a sidecar; `mode` says how sidecars run",
    });
    if kind == Kind::Init {
        refuse_keys(
            checker,
            node,
            &SIDECAR_ONLY,
            |_| "is refused by the API server in an init container that does not keep running",
        );
    }
    let mut value = checker.json(node, "Container", path);
    let name = required_name(checker, node, &value, path, names, is_label)?;
    if value["image"].as_str().is_none_or(str::is_empty) {
        checker.error(node.span, format!("{path} (\"{name}\") has no image"), "");
    }
    required_members(checker, node, &value, path);
    rules::report(checker, node, path, rules::container(&value));
    if let (Kind::NativeSidecar, Json::Object(map)) = (kind, &mut value) {
        let behind = map.keys().position(|key| key == "image").map_or(0, |at| at + 1);
        map.shift_insert(behind, "restartPolicy".to_owned(), Json::from("Always"));
    }
    Some(container_item(name, value))
}

impl Item {
    /// The container without these of its ports on the node.
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

fn container_item(name: String, value: Json) -> Item {
    let named =
        |key: &str| array(&value[key]).filter_map(|item| item["name"].as_str()).map(str::to_owned).collect::<Vec<_>>();
    let mut mounts = named("volumeMounts");
    mounts.extend(named("volumeDevices"));
    let ports: Vec<Port> = array(&value["ports"])
        .filter_map(|port| {
            Some(Port {
                name: port["name"].as_str().unwrap_or("").to_owned(),
                host_port: port["hostPort"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
                container_port: u16::try_from(port["containerPort"].as_u64()?).ok()?,
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                ip: port["hostIP"].as_str().unwrap_or("").to_owned(),
            })
        })
        .collect();
    let security = &value["securityContext"];
    let linux_only = LINUX_ONLY.into_iter().find(|field| !security[field].is_null());
    Item { mounts, ports, linux_only, ..plain(name, value) }
}

pub(crate) fn plain(name: String, value: Json) -> Item {
    Item {
        json: value.to_string(),
        name,
        value,
        mounts: Vec::new(),
        ports: Vec::new(),
        linux_only: None,
        files: Vec::new(),
        shared: false,
        position: None,
    }
}

pub(crate) fn refuse_keys(checker: &mut Checker<'_>, node: &Node, keys: &[&str], why: impl Fn(&str) -> &'static str) {
    let Value::Map(entries) = &node.value else { return };
    for (key, _) in entries.iter().filter(|(key, _)| keys.contains(&key.name.as_str())) {
        checker.error(key.span, format!("\"{}\" {}", key.name, why(&key.name)), "");
    }
}

pub(crate) fn required_name(
    checker: &mut Checker<'_>,
    node: &Node,
    value: &Json,
    path: &str,
    names: &mut Names,
    valid: fn(&str) -> bool,
) -> Option<String> {
    let Some(name) = value["name"].as_str() else {
        name_missing(checker, node, path);
        return None;
    };
    if name == PENDING {
        return Some(name.to_owned());
    }
    if !valid(name) {
        let help = "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
        checker.error(node.span_of("name"), format!("{path}.name is no valid name: \"{}\"", shown(name, 80)), help);
    }
    if !names.take(name) {
        let message = format!("the name \"{name}\" is taken by another item of the template");
        checker.error(
            node.span_of("name"),
            message,
            "names are unique, those of containers over sidecars and initContainers, unless each item has an `if`",
        );
    }
    Some(name.to_owned())
}

/// Says that a name is missing, unless the item is reported as no map already.
fn name_missing(checker: &mut Checker<'_>, node: &Node, path: &str) {
    match &node.value {
        Value::Map(entries) if entries.iter().all(|(key, _)| key.name != "name") => {
            checker.error(node.span, format!("{path} has no name"), "");
        }
        Value::Null => checker.error(node.span, format!("{path} is empty"), ""),
        _ => {}
    }
}

/// What the API server demands of the members of a container's lists.
fn required_members(checker: &mut Checker<'_>, node: &Node, value: &Json, path: &str) {
    let required =
        [("volumeMounts", "name"), ("volumeMounts", "mountPath"), ("volumeDevices", "name"), ("env", "name")];
    for (list, field) in required {
        let missing = array(&value[list]).position(|item| item[field].as_str().is_none_or(str::is_empty));
        if let Some(index) = missing {
            checker.error(node.span_of(list), format!("{path}.{list}[{index}] has no {field}"), "");
        }
    }
}

fn array(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}
