//! What the API server demands of containers, volumes and pod-level fields beyond their types: a template that breaks
//! one of these rules has every pod refused that asks for it. Source: `k8s.io/kubernetes/pkg/apis/core/validation`.
//! It knows finished JSON; values that only an expression gives are left out of it.

use std::net::IpAddr;

use serde_json::Value as Json;

use crate::inject::document::yaml::Node;
use crate::inject::kube::names::{is_label_value, is_qualified_name, is_subdomain};
use crate::inject::kube::quantity::quantity;
use crate::inject::kube::types::{Checker, PENDING, fields_of};

/// What is wrong: the member it is in, and a text that goes on where the item's path ends.
pub(crate) type Fault = (&'static str, String);

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

/// Reports what the API server would refuse.
pub(crate) fn report(checker: &mut Checker<'_>, node: &Node, path: &str, faults: Vec<Fault>) {
    for (member, text) in faults {
        checker.error(node.span_of(member), format!("{path}{text}"), "");
    }
}

/// Faults of a container.
pub(crate) fn container(value: &Json) -> Vec<Fault> {
    let mut faults = Vec::new();
    one_of(&mut faults, value, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], "imagePullPolicy", "");
    let policies = ["File", "FallbackToLogsOnError"];
    one_of(&mut faults, value, "terminationMessagePolicy", &policies, "terminationMessagePolicy", "");
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        handlers(&mut faults, probe, &value[probe], probe);
    }
    for hook in ["postStart", "preStop"] {
        handlers(&mut faults, "lifecycle", &value["lifecycle"][hook], &format!("lifecycle.{hook}"));
    }
    for (index, variable) in items(&value["env"]) {
        faults.extend(env(variable).map(|why| ("env", format!(".env[{index}] {why}"))));
    }
    ports(&mut faults, value);
    for (index, mount) in items(&value["volumeMounts"]) {
        let modes = ["None", "HostToContainer", "Bidirectional"];
        let path = format!(".volumeMounts[{index}]");
        one_of(&mut faults, mount, "mountPropagation", &modes, "volumeMounts", &path);
    }
    paths(&mut faults, value);
    resources(&mut faults, &value["resources"]);
    for field in ["runAsUser", "runAsGroup"] {
        faults.extend(user(&value["securityContext"], field).map(|why| ("securityContext", why)));
    }
    faults
}

/// Faults of what joins one of the pod's own containers.
pub(crate) fn additions(value: &Json) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, variable) in items(&value["env"]) {
        faults.extend(env(variable).map(|why| ("env", format!(".env[{index}] {why}"))));
    }
    paths(&mut faults, value);
    faults
}

/// Faults of a volume.
pub(crate) fn volume(value: &Json) -> Vec<Fault> {
    // A field that is not known may be something else than a source.
    let known = |key: &str| fields_of("Volume").is_some_and(|fields| fields.iter().any(|(field, _)| *field == key));
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    let sources: Vec<&str> = keys.filter(|key| *key != "name" && known(key)).collect();
    let text = || format!(" has more than one source: {}", sources.join(", "));
    if sources.len() > 1 { vec![("name", text())] } else { Vec::new() }
}

/// Faults of pod-level fields.
pub(crate) fn pod(fields: &serde_json::Map<String, Json>) -> Vec<Fault> {
    let (mut faults, none) = (Vec::new(), Json::Null);
    let get = |name: &str| fields.get(name).unwrap_or(&none);
    if let Some(name) = known(get("serviceAccountName")).filter(|name| !is_subdomain(name)) {
        faults.push(("serviceAccountName", format!(".serviceAccountName is no name: \"{name}\"")));
    }
    for (key, value) in get("nodeSelector").as_object().into_iter().flatten() {
        if !is_qualified_name(key) || known(value).is_some_and(|value| !is_label_value(value)) {
            faults.push(("nodeSelector", format!(".nodeSelector has no label of a node: {key}")));
        }
    }
    for (_, alias) in items(get("hostAliases")) {
        if let Some(ip) = known(&alias["ip"]).filter(|ip| ip.parse::<IpAddr>().is_err()) {
            faults.push(("hostAliases", format!(".hostAliases has an entry whose ip is none: \"{ip}\"")));
        }
    }
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        faults.extend(user(get("securityContext"), field).map(|why| ("securityContext", why)));
    }
    faults
}

fn items(list: &Json) -> impl Iterator<Item = (usize, &Json)> {
    list.as_array().into_iter().flatten().enumerate()
}

/// A string that is known.
fn known(value: &Json) -> Option<&str> {
    value.as_str().filter(|text| *text != PENDING)
}

fn one_of(faults: &mut Vec<Fault>, object: &Json, field: &str, words: &[&str], member: &'static str, path: &str) {
    if known(&object[field]).is_some_and(|word| !words.contains(&word)) {
        faults.push((member, format!("{path}.{field} is one of {}", words.join(", "))));
    }
}

fn handlers(faults: &mut Vec<Fault>, member: &'static str, value: &Json, path: &str) {
    if !value.is_object() {
        return;
    }
    let count = HANDLERS.iter().filter(|handler| !value[**handler].is_null()).count();
    if count != 1 {
        let how = if count == 0 { "has no action" } else { "has more than one action" };
        faults.push((member, format!(".{path} {how}; it is one of {}", HANDLERS.join(", "))));
    }
}

fn env(variable: &Json) -> Option<String> {
    let name = known(&variable["name"])?;
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
    if !name.bytes().all(plain) {
        return Some("has a name that no variable can have".to_owned());
    }
    let both = !variable["valueFrom"].is_null() && variable["value"].as_str().is_some_and(|value| !value.is_empty());
    both.then(|| format!("({name}) has both a value and valueFrom"))
}

fn ports(faults: &mut Vec<Fault>, value: &Json) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in items(&value["ports"]) {
        let path = format!(".ports[{index}]");
        one_of(faults, port, "protocol", &["TCP", "UDP", "SCTP"], "ports", &path);
        for (field, least) in [("containerPort", 1), ("hostPort", 0)] {
            let is_given = field == "containerPort" || !port[field].is_null();
            let is_port = port[field].as_i64().is_some_and(|number| (least..=65_535).contains(&number));
            if is_given && port[field] != PENDING && !is_port {
                faults.push(("ports", format!("{path}.{field} must be a port, {least} to 65535")));
            }
        }
        let Some(name) = known(&port["name"]) else { continue };
        if !is_service_name(name) {
            let how = "1 to 15 of a-z, 0-9 and -, with a letter, and - only between others";
            faults.push(("ports", format!("{path}.name cannot name a port; use {how}")));
        }
        if seen.contains(&name) {
            faults.push(("ports", format!("{path}.name is that of another port of the container: {name}")));
        }
        seen.push(name);
    }
}

/// RFC 6335, section 5.1.
fn is_service_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// Each path of a container is mounted once, each volume used one way.
fn paths(faults: &mut Vec<Fault>, value: &Json) {
    let mounts = items(&value["volumeMounts"]).filter_map(|(_, mount)| known(&mount["mountPath"]));
    let devices = items(&value["volumeDevices"]).filter_map(|(_, device)| known(&device["devicePath"]));
    let mut seen: Vec<&str> = Vec::new();
    for path in mounts.chain(devices) {
        if seen.contains(&path) {
            faults.push(("volumeMounts", format!(" mounts \"{path}\" twice")));
        }
        seen.push(path);
    }
    let device = |name: &str| items(&value["volumeDevices"]).any(|(_, device)| device["name"] == name);
    let mut both = items(&value["volumeMounts"]).filter_map(|(_, mount)| known(&mount["name"]));
    if let Some(name) = both.find(|name| device(name)) {
        faults.push(("volumeMounts", format!(" uses the volume {name} both as a directory and as a device")));
    }
}

fn resources(faults: &mut Vec<Fault>, resources: &Json) {
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let value = |json: &Json| known(json).and_then(quantity);
        let (request, limit) = (value(request), value(&resources["limits"][name]));
        if request.zip(limit).is_some_and(|(request, limit)| request > limit) {
            faults.push(("resources", format!(".resources requests more {name} than its limit")));
        }
    }
}

fn user(context: &Json, field: &str) -> Option<String> {
    let id = context[field].as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id))?;
    Some(format!(".securityContext.{field} cannot be {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_api_server_refuses_is_found() {
        for (value, part) in [
            (json!({"imagePullPolicy": "Sometimes"}), "IfNotPresent"),
            (json!({"livenessProbe": {"exec": {}, "httpGet": {}}}), "more than one action"),
            (json!({"readinessProbe": {"periodSeconds": 1}}), "no action"),
            (json!({"lifecycle": {"preStop": {"sleep": {}, "exec": {}}}}), "lifecycle.preStop"),
            (json!({"env": [{"name": "A=B"}]}), "no variable can have"),
            (json!({"env": [{"name": "A", "value": "x", "valueFrom": {}}]}), "both a value and valueFrom"),
            (json!({"ports": [{"containerPort": 1, "protocol": "tcp"}]}), "TCP, UDP, SCTP"),
            (json!({"ports": [{"containerPort": 1, "name": "Http_Port"}]}), "cannot name a port"),
            (json!({"ports": [{"containerPort": 1, "name": "0123456789abcdef"}]}), "cannot name a port"),
            (json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}), "another port"),
            (json!({"ports": [{"containerPort": 70000}]}), "1 to 65535"),
            (json!({"volumeMounts": [{"name": "a", "mountPath": "/x"}, {"name": "b", "mountPath": "/x"}]}), "twice"),
            (json!({"volumeMounts": [{"name": "a"}], "volumeDevices": [{"name": "a"}]}), "both as a directory"),
            (json!({"volumeMounts": [{"name": "a", "mountPropagation": "Both"}]}), "Bidirectional"),
            (json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1000m"}}}), "more cpu than its limit"),
            (json!({"securityContext": {"runAsUser": -5}}), "runAsUser cannot be -5"),
        ] {
            let faults = container(&value);
            assert!(faults.len() == 1 && faults[0].1.contains(part), "{value}: {faults:?}");
        }
        assert_eq!(volume(&json!({"name": "v", "emptyDir": {}, "hostPath": {}})).len(), 1);
        let fields = json!({"serviceAccountName": "Bad_Name", "nodeSelector": {"bad key!": "1"}, "hostAliases": [{"ip": "x"}], "securityContext": {"fsGroup": -1}});
        assert_eq!(pod(fields.as_object().expect("a map")).len(), 4);
    }

    #[test]
    fn what_is_not_known_yet_passes() {
        let value = json!({
            "imagePullPolicy": PENDING, "env": [{"name": PENDING, "value": PENDING}],
            "ports": [{"containerPort": PENDING, "name": PENDING}, {"containerPort": 1, "name": PENDING}],
            "volumeMounts": [{"mountPath": PENDING}, {"mountPath": PENDING}],
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": PENDING}},
        });
        assert_eq!(container(&value), []);
    }
}
