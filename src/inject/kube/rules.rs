//! Rules of the API server for containers, volumes and pod-level fields, beyond their types. The API server rejects
//! every pod with a template that breaks one of them. Source: `k8s.io/kubernetes/pkg/apis/core/validation`.
//!
//! The rules read nodes whose types are checked ([`checker`](super::checker)). A value that an expression sets is not
//! checked here. It is checked when the expression has been evaluated for a pod.

use std::net::IpAddr;

use crate::inject::diagnostic::Span;
use crate::inject::document::{Node, Value};
use crate::inject::kube::names::{is_label_value, is_qualified_name, is_subdomain};
use crate::inject::kube::quantity::quantity;
use crate::inject::kube::types::fields_of;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The place of the member that breaks it.
    pub(crate) span: Span,
    /// The message, to be appended to the path of the object: `.ports[0].name …` or ` has …`.
    pub(crate) text: String,
}

/// The violations of one object.
struct Violations<'n> {
    object: &'n Node,
    found: Vec<Violation>,
}

impl<'n> Violations<'n> {
    fn of(object: &'n Node) -> Self {
        Self { object, found: Vec::new() }
    }

    /// Adds a violation at the member `member` of the object.
    fn add(&mut self, member: &str, text: String) {
        self.found.push(Violation { span: self.object.span_of(member), text });
    }

    /// Checks that the string `field` of `object` is one of `words`. `object` is `member` or inside it; `path` is its
    /// path.
    fn one_of(&mut self, object: &Node, field: &str, words: &[&str], member: &str, path: &str) {
        if object.text(field).is_some_and(|word| !words.contains(&word)) {
            self.add(member, format!("{path}.{field} must be one of {}", words.join(", ")));
        }
    }
}

/// The actions of probes and hooks.
const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// The violations of a container.
pub(crate) fn container(node: &Node) -> Vec<Violation> {
    let mut all = Violations::of(node);
    all.one_of(node, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], "imagePullPolicy", "");
    let policies = ["File", "FallbackToLogsOnError"];
    all.one_of(node, "terminationMessagePolicy", &policies, "terminationMessagePolicy", "");
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        handlers(&mut all, probe, node.get(probe), probe);
    }
    for hook in ["postStart", "preStop"] {
        let handler = node.get("lifecycle").and_then(|lifecycle| lifecycle.get(hook));
        handlers(&mut all, "lifecycle", handler, &format!("lifecycle.{hook}"));
    }
    env(&mut all);
    ports(&mut all);
    for (index, mount) in node.items("volumeMounts").iter().enumerate() {
        let modes = ["None", "HostToContainer", "Bidirectional"];
        all.one_of(mount, "mountPropagation", &modes, "volumeMounts", &format!(".volumeMounts[{index}]"));
    }
    paths(&mut all);
    resources(&mut all);
    for field in ["runAsUser", "runAsGroup"] {
        user(&mut all, field);
    }
    all.found
}

/// The violations of an entry of `appContainers`.
pub(crate) fn app_container(node: &Node) -> Vec<Violation> {
    let mut all = Violations::of(node);
    env(&mut all);
    paths(&mut all);
    all.found
}

/// The violations of a volume.
pub(crate) fn volume(node: &Node) -> Vec<Violation> {
    // An unknown field is not necessarily a source.
    let known = |key: &str| fields_of("Volume").is_some_and(|fields| fields.iter().any(|(field, _)| *field == key));
    let keys = node.entries().iter().map(|(key, _)| key.name.as_str());
    let sources: Vec<&str> = keys.filter(|key| *key != "name" && known(key)).collect();
    let mut all = Violations::of(node);
    if sources.len() > 1 {
        all.add("name", format!(" has more than one source: {}", sources.join(", ")));
    }
    all.found
}

/// The violations of pod-level fields.
pub(crate) fn pod(node: &Node) -> Vec<Violation> {
    let mut all = Violations::of(node);
    if let Some(name) = node.text("serviceAccountName").filter(|name| !is_subdomain(name)) {
        all.add("serviceAccountName", format!(".serviceAccountName is not a valid name: \"{name}\""));
    }
    for (key, value) in node.get("nodeSelector").map(Node::entries).unwrap_or_default() {
        let wrong = matches!(&value.value, Value::String(text) if !is_label_value(text));
        if !is_qualified_name(&key.name) || wrong {
            all.add("nodeSelector", format!(".nodeSelector has an invalid label: {}", key.name));
        }
    }
    for alias in node.items("hostAliases") {
        if let Some(ip) = alias.text("ip").filter(|ip| ip.parse::<IpAddr>().is_err()) {
            all.add("hostAliases", format!(".hostAliases has an invalid IP address: \"{ip}\""));
        }
    }
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        user(&mut all, field);
    }
    all.found
}

/// Checks that a probe or hook has exactly one action. `path` names it in messages.
fn handlers(all: &mut Violations<'_>, member: &str, handler: Option<&Node>, path: &str) {
    let Some(handler) = handler.filter(|handler| matches!(handler.value, Value::Map(_))) else { return };
    let is_given = |action: &&&str| handler.get(action).is_some_and(|node| !matches!(node.value, Value::Null));
    let count = HANDLERS.iter().filter(is_given).count();
    if count != 1 {
        let how = if count == 0 { "has no action" } else { "has more than one action" };
        all.add(member, format!(".{path} {how}; set exactly one of {}", HANDLERS.join(", ")));
    }
}

/// Checks the names of environment variables, and that each has only one source for its value.
fn env(all: &mut Violations<'_>) {
    let printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
    for (index, variable) in all.object.items("env").iter().enumerate() {
        let Some(name) = variable.text("name") else { continue };
        let both = variable.has_value("valueFrom") && variable.has_value("value");
        if !name.bytes().all(printable) {
            all.add("env", format!(".env[{index}] has an invalid name; use printable ASCII without ="));
        } else if both {
            all.add("env", format!(".env[{index}] ({name}) has both value and valueFrom"));
        }
    }
}

/// Checks the protocols, numbers and names of ports. No two ports of the container have the same name.
fn ports(all: &mut Violations<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in all.object.items("ports").iter().enumerate() {
        let path = format!(".ports[{index}]");
        all.one_of(port, "protocol", &["TCP", "UDP", "SCTP"], "ports", &path);
        for (field, least) in [("containerPort", 1), ("hostPort", 0)] {
            let is_given = field == "containerPort" || port.has_value(field);
            let is_port = port.integer(field).is_some_and(|number| (least..=65_535).contains(&number));
            if is_given && port.get(field).is_none_or(Node::is_known) && !is_port {
                all.add("ports", format!("{path}.{field} must be a port number, {least} to 65535"));
            }
        }
        let Some(name) = port.text("name") else { continue };
        if !is_service_name(name) {
            let how = "1 to 15 of a-z, 0-9 and -, at least one letter, and single - only between others";
            all.add("ports", format!("{path}.name is not a valid port name; use {how}"));
        }
        if seen.contains(&name) {
            all.add("ports", format!("{path}.name is also the name of another port: {name}"));
        }
        seen.push(name);
    }
}

/// Returns true if `name` is a valid service name (RFC 6335, section 5.1).
fn is_service_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Checks that each path is mounted only once, and that no volume is used both as a directory and as a device.
fn paths(all: &mut Violations<'_>) {
    let object = all.object;
    let mounts = object.items("volumeMounts").iter().filter_map(|mount| mount.text("mountPath"));
    let devices = object.items("volumeDevices").iter().filter_map(|device| device.text("devicePath"));
    let mut seen: Vec<&str> = Vec::new();
    for path in mounts.chain(devices) {
        if seen.contains(&path) {
            all.add("volumeMounts", format!(" mounts \"{path}\" twice"));
        }
        seen.push(path);
    }
    let is_device = |name: &&str| object.items("volumeDevices").iter().any(|device| device.text("name") == Some(*name));
    let mut names = object.items("volumeMounts").iter().filter_map(|mount| mount.text("name"));
    if let Some(name) = names.find(is_device) {
        all.add("volumeMounts", format!(" uses the volume {name} both as a directory and as a device"));
    }
}

/// Checks that no request is larger than its limit.
fn resources(all: &mut Violations<'_>) {
    let Some(resources) = all.object.get("resources") else { return };
    let limits = resources.get("limits");
    for (name, request) in resources.get("requests").map(Node::entries).unwrap_or_default() {
        let amount = |node: &Node| match &node.value {
            Value::String(text) => quantity(text),
            _ => None,
        };
        let limit = limits.and_then(|limits| limits.get(&name.name)).and_then(amount);
        if amount(request).zip(limit).is_some_and(|(request, limit)| request > limit) {
            all.add("resources", format!(".resources requests more {} than its limit", name.name));
        }
    }
}

/// Checks that the user or group id `field` of the security context is in the range of the API server.
fn user(all: &mut Violations<'_>, field: &str) {
    let id = all.object.get("securityContext").and_then(|context| context.integer(field));
    if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        all.add("securityContext", format!(".securityContext.{field} must be 0 to 2147483647, not {id}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::expr::{self, Compiled, Vocabulary};
    use serde_json::{Value as Json, json};

    fn node(json: &Json) -> Node {
        Node::of_json(json, Span::default())
    }

    #[test]
    fn values_that_the_api_server_rejects_are_reported() {
        for (value, part) in [
            (json!({"imagePullPolicy": "Sometimes"}), "IfNotPresent"),
            (json!({"livenessProbe": {"exec": {}, "httpGet": {}}}), "more than one action"),
            (json!({"readinessProbe": {"periodSeconds": 1}}), "no action"),
            (json!({"lifecycle": {"preStop": {"sleep": {}, "exec": {}}}}), "lifecycle.preStop"),
            (json!({"env": [{"name": "A=B"}]}), "has an invalid name"),
            (json!({"env": [{"name": "A", "value": "x", "valueFrom": {}}]}), "both value and valueFrom"),
            (json!({"ports": [{"containerPort": 1, "protocol": "tcp"}]}), "TCP, UDP, SCTP"),
            (json!({"ports": [{"containerPort": 1, "name": "Http_Port"}]}), "is not a valid port name"),
            (json!({"ports": [{"containerPort": 1, "name": "0123456789abcdef"}]}), "is not a valid port name"),
            (json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}), "another port"),
            (json!({"ports": [{"containerPort": 70000}]}), "1 to 65535"),
            (json!({"volumeMounts": [{"name": "a", "mountPath": "/x"}, {"name": "b", "mountPath": "/x"}]}), "twice"),
            (json!({"volumeMounts": [{"name": "a"}], "volumeDevices": [{"name": "a"}]}), "both as a directory"),
            (json!({"volumeMounts": [{"name": "a", "mountPropagation": "Both"}]}), "Bidirectional"),
            (json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1000m"}}}), "more cpu than its limit"),
            (json!({"securityContext": {"runAsUser": -5}}), "runAsUser must be 0 to 2147483647, not -5"),
        ] {
            let found = container(&node(&value));
            assert!(found.len() == 1 && found[0].text.contains(part), "{value}: {found:?}");
        }
        assert_eq!(volume(&node(&json!({"name": "v", "emptyDir": {}, "hostPath": {}}))).len(), 1);
        let fields = json!({"serviceAccountName": "Bad_Name", "nodeSelector": {"bad key!": "1"}, "hostAliases": [{"ip": "x"}], "securityContext": {"fsGroup": -1}});
        assert_eq!(pod(&node(&fields)).len(), 4);
    }

    /// Replaces each string `?` in `node`.
    fn replace(node: &mut Node, unknown: &dyn Fn() -> Value) {
        match &mut node.value {
            Value::String(text) if text == "?" => node.value = unknown(),
            Value::List(items) => items.iter_mut().for_each(|item| replace(item, unknown)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| replace(value, unknown)),
            _ => {}
        }
    }

    #[test]
    fn values_that_are_not_known_yet_are_accepted() {
        let unknown = || match expr::compile("${1}", &Vocabulary::default()) {
            Ok(Compiled::Interpolated(text)) => Value::Interpolated(std::sync::Arc::new(text)),
            _ => unreachable!("an expression"),
        };
        let mut tree = node(&json!({
            "imagePullPolicy": "?", "env": [{"name": "?", "value": "?"}],
            "ports": [{"containerPort": "?", "name": "?"}, {"containerPort": 1, "name": "?"}],
            "volumeMounts": [{"mountPath": "?"}, {"mountPath": "?"}],
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "?"}},
        }));
        replace(&mut tree, &unknown);
        assert_eq!(container(&tree), []);
    }
}
