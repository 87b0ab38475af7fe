//! `appContainers`: the changes of a template to the pod's own containers. This module reads the entries and evaluates
//! them for one pod. The plan decides which containers an entry matches, and whether it conflicts with the pod.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::nearest;
use crate::inject::document::{Node, Value};
use crate::inject::expr::{Expression, Scope, Vocabulary};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::formats::ENV_NAME;
use crate::inject::template::body::additions::{AppChange, Append, Lists, Member, Mount};
use crate::inject::template::body::compile::{Compiler, resolve};
use crate::inject::template::body::item_checks::check_paths;
use crate::inject::template::words::word;

/// The words of `select.in`.
pub(crate) const SELECT_IN: [(&str, Lists); 3] =
    [("containers", Lists::Containers), ("initContainers", Lists::InitContainers), ("all", Lists::All)];

/// One entry of `appContainers`.
#[derive(Debug)]
pub(crate) struct AppEntry {
    node: Node,
    condition: Option<Expression>,
    /// The change, if it is the same for every pod.
    constant: Option<Arc<AppChange>>,
    /// The path in messages, such as `appContainers[0]`.
    path: String,
}

/// The keys of an entry. Those after `if` add something to a container.
const KEYS: [&str; 7] = ["select", "if", "env", "envFrom", "volumeMounts", "volumeDevices", "appendEnv"];

/// The lists of an entry that are added to a container.
const LISTS: [&str; 4] = ["env", "envFrom", "volumeMounts", "volumeDevices"];

/// Reads the `appContainers` of a template.
pub(crate) fn load(compiler: &mut Compiler<'_, '_>, node: Option<&Node>) -> Vec<AppEntry> {
    let items = compiler.checker.items(node, "appContainers");
    items.iter().enumerate().filter_map(|(index, node)| entry(compiler, node, index)).collect()
}

fn entry(compiler: &mut Compiler<'_, '_>, node: &Node, index: usize) -> Option<AppEntry> {
    let path = format!("appContainers[{index}]");
    let Value::Map(entries) = &node.value else {
        compiler.checker.error(node.span, format!("{path} must be a map, not {}", node.value.kind()), "");
        return None;
    };
    for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.name.as_str())) {
        let help = match nearest(&key.name, KEYS) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => format!("an entry can add {}", KEYS[2..].join(", ")),
        };
        compiler.checker.error(key.span, format!("an entry of appContainers has no key \"{}\"", key.name), help);
    }
    let outer = compiler.vocabulary;
    compiler.vocabulary = Vocabulary { container: true, ..outer };
    let condition = node.get("if").and_then(|node| compiler.condition(node, "if"));
    compiler.vocabulary = outer;
    let fields = entries.iter().filter(|(key, _)| key.name != "if").cloned().collect();
    let (node, is_dynamic) = compiler.strings(&Node { value: Value::Map(fields), ..node.clone() });
    let first = compiler.checker.gates.len();
    let change = read(compiler.checker, &node, &path);
    compiler.checker.gates_under(condition.as_ref(), first);
    let constant = (!is_dynamic && condition.is_none()).then(|| Arc::new(change));
    Some(AppEntry { node, condition, constant, path })
}

impl AppEntry {
    /// The change, if it is the same for every pod.
    pub(crate) fn constant(&self) -> Option<&Arc<AppChange>> {
        self.constant.as_ref()
    }

    /// Evaluates the change for one pod. `containers` are the pod's containers and its init containers; they may be
    /// null if no condition reads them.
    ///
    /// # Errors
    /// Expressions that failed or returned a value that is not valid, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, containers: [&Json; 2]) -> Result<Arc<AppChange>, Vec<String>> {
        if let Some(change) = &self.constant {
            return Ok(Arc::clone(change));
        }
        let Some(node) = resolve(&self.node, scope).map_err(|why| vec![why])? else { return Ok(Arc::default()) };
        let mut checker = Checker::of_results();
        let has_names = |node: &Node| node.get("select").and_then(|select| select.get("names")).is_some();
        let selects_none = has_names(&self.node) && !has_names(&node);
        let mut change = read(&mut checker, &node, &self.path);
        // An expression that returns no names selects no container, instead of every container.
        if selects_none {
            change.names.clear();
        }
        if let Some(condition) = &self.condition {
            scope.prepare(condition);
            let holds = |list: &Json| -> Result<Vec<bool>, String> {
                let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
                list.iter().map(|container| scope.with_container(container).holds(condition)).collect()
            };
            let both = holds(containers[0]).and_then(|own| Ok([own, holds(containers[1])?]));
            let holds = both.map_err(|why| vec![why])?;
            if !holds.iter().flatten().any(|holds| *holds) {
                checker.gates.clear();
            }
            change.holds = Some(holds);
        }
        let messages = checker.messages(scope.cluster());
        if !messages.is_empty() {
            return Err(messages);
        }
        Ok(Arc::new(change))
    }
}

fn read(checker: &mut Checker, node: &Node, path: &str) -> AppChange {
    let mut change = AppChange { names: vec!["*".to_owned()], ..AppChange::default() };
    select(checker, node.get("select"), path, &mut change);
    let mut container = node.only(&LISTS);
    checker.check(&mut container, "AppContainer", path);
    check_paths(checker, &container, path);
    change.append_env = append_env(checker, node.get("appendEnv"), path);
    let mut lists = container.into_json();
    let mut list = |name: &str| match lists[name].take() {
        Json::Array(items) => items,
        _ => Vec::new(),
    };
    let text = |item: &Json, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let mount = |field: &'static str, is_device| {
        move |value: Json| Mount { path: text(&value, field), volume: text(&value, "name"), is_device, value }
    };
    change.env = list("env").into_iter().map(|value| Member { name: text(&value, "name"), value }).collect();
    change.env_from = list("envFrom").into_iter().map(|value| Member { name: String::new(), value }).collect();
    change.mounts = list("volumeMounts").into_iter().map(mount("mountPath", false)).collect();
    change.mounts.extend(list("volumeDevices").into_iter().map(mount("devicePath", true)));
    change.crosses = change.env.iter().any(|variable| !variable.value["valueFrom"]["fileKeyRef"].is_null())
        || change.mounts.iter().any(|mount| mount.is_device || mount.value["mountPropagation"] == "Bidirectional");
    change
}

fn select(checker: &mut Checker, node: Option<&Node>, path: &str, change: &mut AppChange) {
    let Some(node) = node else { return };
    let Value::Map(entries) = &node.value else {
        let help = "write select: {in: containers, names: [\"*\"], except: []}";
        checker.error(node.span, format!("{path}.select must be a map, not {}", node.value.kind()), help);
        return;
    };
    for (key, value) in entries {
        match key.name.as_str() {
            "in" => {
                change.lists =
                    word(checker, Some(value), &format!("{path}.select.in"), &SELECT_IN).unwrap_or(change.lists);
            }
            "names" => change.names = globs(checker, value, &format!("{path}.select.names")),
            "except" => change.except = globs(checker, value, &format!("{path}.select.except")),
            other => {
                let help = "known keys: in, names, except";
                checker.error(key.span, format!("{path}.select has no key \"{other}\""), help);
            }
        }
    }
}

fn globs(checker: &mut Checker, node: &Node, path: &str) -> Vec<String> {
    let Json::Array(items) = checker.json(node, "[]string", path) else { return Vec::new() };
    items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn append_env(checker: &mut Checker, node: Option<&Node>, path: &str) -> Vec<Append> {
    let items = checker.items(node, &format!("{path}.appendEnv"));
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let mut text = |key: &str| {
            let node = item.get(key)?;
            checker.json(node, "string", &format!("{path}.appendEnv[{index}].{key}")).as_str().map(str::to_owned)
        };
        let (name, value, separator) = (text("name"), text("value"), text("separator"));
        if let Some(name) = item.get("name") {
            checker.check_format(name, &ENV_NAME, &format!("{path}.appendEnv[{index}].name"));
        }
        let is_unknown = |key: &str| item.get(key).is_some_and(|node| !node.is_known());
        let has_name = name.as_ref().is_some_and(|name| !name.is_empty()) || is_unknown("name");
        if has_name && (value.is_some() || is_unknown("value")) {
            let [name, value] = [name, value].map(Option::unwrap_or_default);
            list.push(Append { name, value, separator: separator.unwrap_or_else(|| " ".to_owned()) });
        } else {
            let help = "write - {name: JAVA_TOOL_OPTIONS, value: \"-javaagent:/agent.jar\", separator: \" \"}";
            checker.error(item.span, format!("{path}.appendEnv[{index}] must have a name and a value"), help);
        }
    }
    list
}
