//! Rules about containers and volumes.

use std::collections::BTreeMap;

use super::{Linter, items, span_of, text};
use crate::inject::quantity::quantity;
use crate::inject::template::{Mode, Position};
use crate::inject::yaml::{Node, Value};

pub(super) fn check(linter: &mut Linter<'_>) {
    let node = linter.node;
    let (sidecars, init) = (items(node, "sidecars"), items(node, "initContainers"));
    for container in sidecars {
        any(linter, container);
        sidecar(linter, container);
    }
    for container in init {
        any(linter, container);
        if let Some(ports) = container.get("ports") {
            linter.find("init-like-sidecar", ports.span, "an init container that declares ports does not keep running");
        }
    }
    let all: Vec<&Node> = sidecars.iter().chain(init).collect();
    volumes(linter, &all);
    ports(linter, sidecars);
    totals(linter, &all);
}

fn name(container: &Node) -> &str {
    text(container, "name").unwrap_or("?")
}

fn any(linter: &mut Linter<'_>, container: &Node) {
    image(linter, container);
    resources(linter, container);
    let mut seen: Vec<&str> = Vec::new();
    for variable in items(container, "env") {
        let Some(name) = text(variable, "name") else { continue };
        if seen.contains(&name) {
            linter.find("duplicate-env", variable.span, format!("the variable {name} is set twice"));
        }
        seen.push(name);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        for action in ["httpGet", "tcpSocket"] {
            let Some(action) = container.get(probe).and_then(|probe| probe.get(action)) else { continue };
            if matches!(text(action, "host"), Some("127.0.0.1" | "localhost" | "::1")) {
                let message = format!("the {probe} of {} goes to the node itself", name(container));
                linter.find("probe-host", span_of(action, "host"), message);
            }
        }
    }
    pre_stop(linter, container);
}

fn image(linter: &mut Linter<'_>, container: &Node) {
    let Some(image) = text(container, "image").filter(|image| !image.contains("${")) else { return };
    let last = image.rsplit('/').next().unwrap_or(image);
    let tag = last.split_once(':').map(|(_, tag)| tag);
    if !image.contains('@') && matches!(tag, None | Some("latest" | "")) {
        linter.find("image-tag", span_of(container, "image"), format!("{image} is another image from day to day"));
    }
}

fn resources(linter: &mut Linter<'_>, container: &Node) {
    let resources = container.get("resources");
    let has = |kind: &str, name: &str| resources.and_then(|r| r.get(kind)).is_some_and(|kind| kind.get(name).is_some());
    let wanted = [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")];
    // A request that is missing is defaulted from the limit.
    let missing = wanted.iter().filter(|(kind, name)| !(has(kind, name) || *kind == "requests" && has("limits", name)));
    let missing: Vec<String> = missing.map(|(kind, name)| format!("{kind}.{name}")).collect();
    if !missing.is_empty() {
        let message = format!("{} has no {}", name(container), missing.join(", no "));
        linter.find("no-resources", resources.map_or(container.span, |resources| resources.span), message);
    }
}

fn pre_stop(linter: &mut Linter<'_>, container: &Node) {
    let Some(hook) = container.get("lifecycle").and_then(|lifecycle| lifecycle.get("preStop")) else { return };
    let by_action = hook.get("sleep").and_then(|sleep| number(sleep.get("seconds")));
    let command = hook.get("exec").map(|exec| items(exec, "command")).unwrap_or_default();
    let words = command.iter().filter_map(|word| match &word.value {
        Value::String(word) => Some(word.as_str()),
        _ => None,
    });
    let words: Vec<&str> = words.flat_map(str::split_whitespace).collect();
    let by_command = words.windows(2).find(|pair| pair[0] == "sleep").and_then(|pair| pair[1].parse().ok());
    let own = linter.node.get("pod").and_then(|pod| number(pod.get("terminationGracePeriodSeconds")));
    let grace = own.unwrap_or(30);
    if let Some(sleep) = by_action.or(by_command).filter(|sleep| *sleep >= grace) {
        let message = format!("{} sleeps {sleep} s before it stops, and is killed after {grace} s", name(container));
        linter.find("pre-stop-grace", hook.span, message);
    }
}

fn number(node: Option<&Node>) -> Option<i64> {
    match &node?.value {
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}

fn sidecar(linter: &mut Linter<'_>, container: &Node) {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
    if probes.iter().all(|probe| container.get(probe).is_none()) {
        linter.find("no-probe", container.span, format!("{} has no probe", name(container)));
    }
    let last =
        |node: Option<&Node>| node.is_some_and(|node| matches!(&node.value, Value::String(word) if word == "last"));
    let first = linter.template.mode == Mode::Native
        && !matches!(linter.template.position, Some(Position::Last | Position::After(_)))
        && !last(container.get("position"));
    if let (true, Some(probe)) = (first, container.get("startupProbe")) {
        let message = format!("the application waits until the startupProbe of {} succeeds", name(container));
        linter.find("startup-waits", probe.span, message);
    }
}

fn volumes(linter: &mut Linter<'_>, containers: &[&Node]) {
    let node = linter.node;
    let changes = items(node, "appContainers");
    let mounting = || containers.iter().copied().chain(changes);
    let mounts = || mounting().flat_map(|c| items(c, "volumeMounts").iter().chain(items(c, "volumeDevices")));
    let volumes = items(node, "volumes");
    for volume in volumes {
        let Some(name) = text(volume, "name") else { continue };
        let shared = matches!(volume.get("shared").map(|shared| &shared.value), Some(Value::Bool(true)));
        if !shared && mounts().all(|mount| text(mount, "name") != Some(name)) {
            linter.find("unused-volume", volume.span, format!("no container of the template mounts {name}"));
        }
        if !shared && !name.starts_with(linter.template.name.as_str()) {
            let message = format!("the volume {name} does not begin with {}", linter.template.name);
            linter.find("volume-name", span_of(volume, "name"), message);
        }
    }
    let mut told: Vec<&str> = Vec::new();
    for mount in mounts() {
        let Some(name) = text(mount, "name").filter(|name| !name.contains("${")) else { continue };
        if volumes.iter().all(|volume| text(volume, "name") != Some(name)) && !told.contains(&name) {
            told.push(name);
            linter.find("mount-without-volume", mount.span, format!("the template does not bring the volume {name}"));
        }
    }
}

fn ports(linter: &mut Linter<'_>, sidecars: &[Node]) {
    let mut seen: BTreeMap<(i64, String), &str> = BTreeMap::new();
    for container in sidecars {
        let mut own = Vec::new();
        for port in items(container, "ports") {
            let Some(number) = number(port.get("containerPort")) else { continue };
            let key = (number, text(port, "protocol").unwrap_or("TCP").to_owned());
            if let Some(other) = seen.get(&key) {
                let message = format!("{} and {other} both take port {number}", name(container));
                linter.find("port-clash", port.span, message);
            }
            own.push(key);
        }
        seen.extend(own.into_iter().map(|key| (key, name(container))));
    }
}

fn totals(linter: &mut Linter<'_>, containers: &[&Node]) {
    if containers.len() > linter.limits.max_sidecars {
        let message = format!("{} containers, and at most {} are wanted", containers.len(), linter.limits.max_sidecars);
        linter.find("max-sidecars", linter.node.span, message);
    }
    for (name, limit) in linter.limits.budget.clone() {
        let mut total: i128 = 0;
        for container in containers {
            let value = |kind: &str| container.get("resources")?.get(kind)?.get(&name);
            let Some(node) = value("requests").or_else(|| value("limits")) else { continue };
            match largest(linter, node) {
                Some(request) => total += request,
                None => {
                    let message = "nothing says how much this may become; give the parameter a maximum";
                    linter.find("budget", node.span, message);
                }
            }
        }
        if total > limit {
            let shown = |nano: i128| {
                if name == "cpu" {
                    format!("{}m", nano / 1_000_000)
                } else {
                    format!("{}Mi", nano / 1_000_000_000 / (1 << 20))
                }
            };
            let message = format!("its containers request {} of {name}, the budget is {}", shown(total), shown(limit));
            linter.find("budget", linter.node.span, message);
        }
    }
}

/// The most that a request can be: what is written, or what its expression allows.
fn largest(linter: &Linter<'_>, node: &Node) -> Option<i128> {
    let written = match &node.value {
        Value::String(text) => text.as_str(),
        _ => node.written.as_deref()?,
    };
    let Some(text) = linter.compiled(written) else { return quantity(written) };
    let mut most = 0;
    for expression in text.expressions() {
        let of_parameter = expression.source().strip_prefix("params.").and_then(|name| {
            let parameter = linter.template.parameters.iter().find(|parameter| parameter.name == name)?;
            parameter.most()
        });
        let quoted = || expression.source().split(['\'', '"']).skip(1).step_by(2).filter_map(quantity).max();
        most = most.max(of_parameter.or_else(quoted)?);
    }
    Some(most)
}
