//! Rules about containers and volumes.

use crate::inject::authoring::lint::{Linter, items, text};
use crate::inject::document::{Node, Value};
use crate::inject::expr::{Expression, Part};
use crate::inject::kube::quantity::quantity;
use crate::inject::template::words::{Mode, Position};
use std::collections::BTreeMap;

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
    for change in items(node, "appContainers") {
        variables(linter, change);
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
    variables(linter, container);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        for action in ["httpGet", "tcpSocket"] {
            let Some(action) = container.get(probe).and_then(|probe| probe.get(action)) else { continue };
            if matches!(text(action, "host"), Some("127.0.0.1" | "localhost" | "::1")) {
                let message = format!("the {probe} of {} goes to the node itself", name(container));
                linter.find("probe-host", action.span_of("host"), message);
            }
        }
    }
    pre_stop(linter, container);
}

/// Variables of a container, or of what joins the application's.
fn variables(linter: &mut Linter<'_>, node: &Node) {
    let mut seen: Vec<&str> = Vec::new();
    for variable in items(node, "env") {
        let Some(name) = text(variable, "name") else { continue };
        if seen.contains(&name) {
            linter.find("duplicate-env", variable.span, format!("the variable {name} is set twice"));
        }
        seen.push(name);
    }
}

fn image(linter: &mut Linter<'_>, container: &Node) {
    let Some(image) = text(container, "image") else { return };
    let last = image.rsplit(['/', '}']).next().unwrap_or(image);
    // What an expression gives may have a tag.
    if image.ends_with('}') || last.contains("${") {
        return;
    }
    let tag = last.split_once(':').map(|(_, tag)| tag);
    if !image.contains('@') && matches!(tag, None | Some("latest" | "")) {
        linter.find("image-tag", container.span_of("image"), format!("{image} is another image from day to day"));
    }
}

fn resources(linter: &mut Linter<'_>, container: &Node) {
    let resources = container.get("resources");
    let is_expression = |node: &Node| matches!(&node.value, Value::String(_));
    let parts = ["requests", "limits"].map(|part| resources.and_then(|resources| resources.get(part)));
    if resources.into_iter().chain(parts.into_iter().flatten()).any(is_expression) {
        return;
    }
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
    let own = linter.node.get("pod").and_then(|pod| pod.get("terminationGracePeriodSeconds"));
    // What an expression gives is not known.
    let grace = if own.is_some() { number(own) } else { Some(30) };
    let by_command = sleeps(&words.collect::<Vec<_>>().join(" "));
    let sleep = by_action.unwrap_or(by_command);
    if let Some(grace) = grace.filter(|grace| sleep >= *grace) {
        let message = format!("{} sleeps {sleep} s before it stops, and is killed after {grace} s", name(container));
        linter.find("pre-stop-grace", hook.span, message);
    }
}

/// How many seconds a command sleeps in all.
fn sleeps(command: &str) -> i64 {
    let words: Vec<&str> = command.split(|c: char| c.is_whitespace() || ";&|()".contains(c)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let sleep = |pair: &[&str]| (pair[0].rsplit('/').next() == Some("sleep")).then(|| seconds(pair[1])).flatten();
    words.windows(2).filter_map(sleep).sum()
}

/// What `sleep` of coreutils understands.
fn seconds(word: &str) -> Option<i64> {
    let (digits, unit) = word.split_at(word.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
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
    let own = match container.get("position").map(|position| &position.value) {
        Some(Value::String(word)) => Some(word != "last"),
        Some(Value::Map(entries)) => Some(entries.iter().all(|(key, _)| key.name != "after")),
        _ => None,
    };
    let of_template = !matches!(linter.template.position, Some(Position::Last | Position::After(_)));
    let first = linter.template.mode == Mode::Native && own.unwrap_or(of_template);
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
    let is_dynamic = |item: &Node| text(item, "name").is_some_and(|name| name.contains("${"));
    let (mounts_any, brings_any) = (mounts().any(is_dynamic), volumes.iter().any(is_dynamic));
    for volume in volumes {
        let Some(name) = text(volume, "name").filter(|name| !name.contains("${")) else { continue };
        let shared = matches!(volume.get("shared").map(|shared| &shared.value), Some(Value::Bool(true)));
        if !shared && !mounts_any && mounts().all(|mount| text(mount, "name") != Some(name)) {
            linter.find("unused-volume", volume.span, format!("no container of the template mounts {name}"));
        }
        if !shared && !name.starts_with(linter.template.name.as_str()) {
            let message = format!("the volume {name} does not begin with {}", linter.template.name);
            linter.find("volume-name", volume.span_of("name"), message);
        }
    }
    let mut told: Vec<&str> = Vec::new();
    for mount in mounts() {
        let Some(name) = text(mount, "name").filter(|name| !name.contains("${")) else { continue };
        if !brings_any && volumes.iter().all(|volume| text(volume, "name") != Some(name)) && !told.contains(&name) {
            told.push(name);
            linter.find("mount-without-volume", mount.span, format!("the template does not bring the volume {name}"));
        }
    }
}

fn ports(linter: &mut Linter<'_>, sidecars: &[Node]) {
    let mut seen: BTreeMap<(bool, i64, String), &Node> = BTreeMap::new();
    for container in sidecars {
        let mut own = Vec::new();
        for port in items(container, "ports") {
            let protocol = text(port, "protocol").unwrap_or("TCP");
            for (on_node, field) in [(false, "containerPort"), (true, "hostPort")] {
                let Some(number) = number(port.get(field)).filter(|number| *number > 0) else { continue };
                let key = (on_node, number, protocol.to_owned());
                let other = seen.get(&key).copied().filter(|other| !exclude_each_other(other, container));
                if let Some(other) = other {
                    let whose = if on_node { " of the node" } else { "" };
                    let message = format!("{} and {} both take port {number}{whose}", name(container), name(other));
                    linter.find("port-clash", port.span, message);
                }
                own.push(key);
            }
        }
        seen.extend(own.into_iter().map(|key| (key, container)));
    }
}

/// Items of one name with conditions never join the same pod.
fn exclude_each_other(one: &Node, other: &Node) -> bool {
    name(one) == name(other) && one.get("if").is_some() && other.get("if").is_some()
}

/// The containers that one pod may get together: of those that exclude each other the one that weighs most.
fn together<'n>(containers: &[&'n Node], weight: impl Fn(&Node) -> i128) -> Vec<&'n Node> {
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

fn totals(linter: &mut Linter<'_>, containers: &[&Node]) {
    let count = together(containers, |_| 0).len();
    if count > linter.limits.max_sidecars {
        let message = format!("{count} containers, and at most {} are wanted", linter.limits.max_sidecars);
        linter.find("max-sidecars", linter.node.span, message);
    }
    for (name, limit) in linter.limits.budget.clone() {
        let mut unbounded = Vec::new();
        let requests: Vec<Option<i128>> =
            containers.iter().map(|container| request(linter, container, &name)).collect();
        for (container, _) in containers.iter().zip(&requests).filter(|(_, request)| request.is_none()) {
            unbounded.push(container.get("resources").map_or(container.span, |resources| resources.span));
        }
        for span in unbounded {
            linter.find("budget", span, "nothing says how much this may become; give the parameter a maximum");
        }
        let weight = |container: &Node| {
            let at = containers.iter().position(|other| std::ptr::eq(*other, container));
            at.and_then(|at| requests[at]).unwrap_or(0)
        };
        let total: i128 = together(containers, weight).into_iter().map(weight).sum();
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

/// The most that a container may request of a resource; `None` where nothing bounds it.
fn request(linter: &Linter<'_>, container: &Node, name: &str) -> Option<i128> {
    let Some(resources) = container.get("resources") else { return Some(0) };
    let node = ["requests", "limits"].iter().find_map(|part| {
        let part = resources.get(part)?;
        if matches!(part.value, Value::String(_)) { Some(part) } else { part.get(name) }
    });
    let whole = matches!(resources.value, Value::String(_)).then_some(resources);
    let Some(node) = whole.or(node) else { return Some(0) };
    let written = match &node.value {
        Value::String(text) => text.as_str(),
        _ => node.written.as_deref()?,
    };
    let Some(text) = linter.compiled(written) else { return quantity(written) };
    if whole.is_some() || matches!(&node.value, Value::Map(_)) {
        return None;
    }
    if text.is_whole() {
        return text.expressions().next().and_then(|expression| most(linter, expression, 4));
    }
    // Integers with a unit behind them.
    let parts = text.parts().iter().map(|part| match part {
        Part::Literal(text) => Some(text.clone()),
        Part::Expression(expression) => most(linter, expression, 4).map(|nano| (nano / 1_000_000_000).to_string()),
    });
    quantity(&parts.collect::<Option<String>>()?)
}

/// The most that an expression gives: the maximum of its parameters, or the largest quantity written in it.
fn most(linter: &Linter<'_>, expression: &Expression, depth: usize) -> Option<i128> {
    let mut found = Vec::new();
    for name in &expression.reads.parameters {
        let parameter = linter.template.parameters.iter().find(|parameter| parameter.name == *name)?;
        if parameter.is_amount() {
            found.push(parameter.most()?);
        }
    }
    for name in &expression.reads.variables {
        let variable = linter.template.variables().iter().find(|(other, _)| other == name);
        let (_, variable) = variable.filter(|_| depth > 0)?;
        found.extend(most(linter, variable, depth - 1));
    }
    found.extend(expression.source().split(['\'', '"']).skip(1).step_by(2).filter_map(quantity));
    found.into_iter().max()
}
