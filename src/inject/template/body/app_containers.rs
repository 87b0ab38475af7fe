//! `appContainers`: what a template adds to the pod's own containers. Reads the entries of a template and evaluates
//! them for one pod; which containers they really meet, and what is in their way, is the plan's business.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::{Source, nearest};
use crate::inject::document::yaml::{Node, Value};
use crate::inject::expr::{Expression, Names, Scope};
use crate::inject::kube::rules;
use crate::inject::kube::types::{Checker, PENDING};
use crate::inject::template::body::compile::{Compiler, canonical, resolve};

/// One entry, evaluated for a pod.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    /// Whether it is about `spec.containers`, and about `spec.initContainers`.
    pub lists: Lists,
    /// Globs of names.
    pub names: Vec<String>,
    /// Globs of names that are left alone.
    pub except: Vec<String>,
    /// Where its condition holds: for each of the pod's containers and init containers; `None` is everywhere.
    pub holds: Option<[Vec<bool>; 2]>,
    /// Environment variables to append.
    pub env: Vec<Member>,
    /// `envFrom` entries to append.
    pub env_from: Vec<Member>,
    /// Mounts to append, by path.
    pub mounts: Vec<Mount>,
    /// Texts to append to values of environment variables.
    pub append_env: Vec<Append>,
}

/// Which lists of containers an entry is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lists {
    /// `spec.containers`.
    #[default]
    Containers,
    /// `spec.initContainers`.
    InitContainers,
    /// Both.
    All,
}

impl Lists {
    /// Whether it is about a list.
    #[must_use]
    pub fn include(self, init: bool) -> bool {
        self == Self::All || init == (self == Self::InitContainers)
    }
}

/// An item to append to a list of a container.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name; empty for `envFrom`.
    pub name: String,
    /// The item.
    pub value: Json,
}

/// A mount or a device to append.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Where it appears in the container.
    pub path: String,
    /// The volume.
    pub volume: String,
    /// Whether it is a device.
    pub is_device: bool,
    /// The item.
    pub value: Json,
}

/// A text to append to the value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The variable.
    pub name: String,
    /// The text.
    pub value: String,
    /// What stands between the old value and the text.
    pub separator: String,
}

/// An entry as the template has it.
#[derive(Debug)]
pub(crate) struct AppEntry {
    node: Node,
    condition: Option<Expression>,
    /// What it comes to, if that is the same for every pod.
    constant: Option<Arc<AppChange>>,
    path: String,
}

const KEYS: [&str; 7] = ["select", "if", "env", "envFrom", "volumeMounts", "volumeDevices", "appendEnv"];

/// Reads the `appContainers` of a template.
pub(crate) fn load(compiler: &mut Compiler<'_, '_, '_>, node: Option<&Node>) -> Vec<AppEntry> {
    let items = compiler.checker.items(node, "appContainers");
    items.iter().enumerate().filter_map(|(index, node)| entry(compiler, node, index)).collect()
}

fn entry(compiler: &mut Compiler<'_, '_, '_>, node: &Node, index: usize) -> Option<AppEntry> {
    let path = format!("appContainers[{index}]");
    let Value::Map(entries) = &node.value else {
        compiler.checker.error(node.span, format!("{path} must be a map, not {}", node.value.kind()), "");
        return None;
    };
    for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.name.as_str())) {
        let help = match nearest(&key.name, KEYS) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => format!("an application's container can get {}", KEYS[2..].join(", ")),
        };
        compiler.checker.error(key.span, format!("an entry of appContainers has no \"{}\"", key.name), help);
    }
    let outer = compiler.names;
    compiler.names = Names { container: true, ..outer };
    let condition = node.get("if").and_then(|node| compiler.expression(node, "if"));
    compiler.names = outer;
    let mut dynamic = false;
    let fields = entries.iter().filter(|(key, _)| key.name != "if").cloned().collect();
    let node = compiler.strings(&Node { value: Value::Map(fields), ..node.clone() }, &mut dynamic);
    let change = read(compiler.checker, &node, &path);
    let constant = (!dynamic && condition.is_none()).then(|| Arc::new(change));
    Some(AppEntry { node, condition, constant, path })
}

impl AppEntry {
    /// What it comes to, if that is the same for every pod.
    pub(crate) fn constant(&self) -> Option<&Arc<AppChange>> {
        self.constant.as_ref()
    }

    /// What it comes to for one pod, whose containers and init containers are given where a condition needs them.
    ///
    /// # Errors
    /// Expressions that failed, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, containers: [&Json; 2]) -> Result<Arc<AppChange>, Vec<String>> {
        if let Some(change) = &self.constant {
            return Ok(Arc::clone(change));
        }
        let Some(node) = resolve(&self.node, scope).map_err(|why| vec![why])? else { return Ok(Arc::default()) };
        let source = Source::new("", "");
        let mut checker = Checker::of_results(&source);
        let mut change = read(&mut checker, &node, &self.path);
        // An expression that gives no names selects nobody, not everybody.
        let names = |node: &Node| node.get("select").and_then(|select| select.get("names")).is_some();
        if names(&self.node) && !names(&node) {
            change.names.clear();
        }
        if !checker.errors.is_empty() {
            return Err(checker.errors.into_iter().map(|error| error.message).collect());
        }
        if let Some(condition) = &self.condition {
            scope.prepare(condition);
            let holds = |list: &Json| -> Result<Vec<bool>, String> {
                let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
                list.iter().map(|container| scope.with_container(container).holds(condition)).collect()
            };
            let both = holds(containers[0]).and_then(|own| Ok([own, holds(containers[1])?]));
            change.holds = Some(both.map_err(|why| vec![why])?);
        }
        Ok(Arc::new(change))
    }

    /// The entry as it was written, for the template's hash.
    pub(crate) fn canonical(&self) -> Json {
        serde_json::json!([canonical(&self.node), self.condition.as_ref().map(Expression::source)])
    }
}

fn read(checker: &mut Checker<'_>, node: &Node, path: &str) -> AppChange {
    let mut change = AppChange { names: vec!["*".to_owned()], ..AppChange::default() };
    select(checker, node.get("select"), path, &mut change);
    let mut list = |key: &str, kind: &str| -> Vec<Json> {
        let Some(node) = node.get(key) else { return Vec::new() };
        match checker.json(node, kind, &format!("{path}.{key}")) {
            Json::Array(items) => items,
            _ => Vec::new(),
        }
    };
    let (env, env_from) = (list("env", "[]EnvVar"), list("envFrom", "[]EnvFromSource"));
    let (mounts, devices) = (list("volumeMounts", "[]VolumeMount"), list("volumeDevices", "[]VolumeDevice"));
    let mut required = |items: &[Json], key: &str, field: &str| {
        if let Some(index) = items.iter().position(|item| item[field].as_str().is_none_or(str::is_empty)) {
            let span = node.get(key).unwrap_or(node).span;
            checker.error(span, format!("{path}.{key}[{index}] has no {field}"), "");
        }
    };
    required(&env, "env", "name");
    required(&mounts, "volumeMounts", "name");
    required(&mounts, "volumeMounts", "mountPath");
    required(&devices, "volumeDevices", "name");
    required(&devices, "volumeDevices", "devicePath");
    let joined = serde_json::json!({"env": &env, "volumeMounts": &mounts, "volumeDevices": &devices});
    rules::report(checker, node, path, rules::additions(&joined));
    let text = |item: &Json, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let mount = |field: &'static str, is_device| {
        move |value: Json| Mount { path: text(&value, field), volume: text(&value, "name"), is_device, value }
    };
    change.env = env.into_iter().map(|value| Member { name: text(&value, "name"), value }).collect();
    change.env_from = env_from.into_iter().map(|value| Member { name: String::new(), value }).collect();
    change.mounts = mounts.into_iter().map(mount("mountPath", false)).collect();
    change.mounts.extend(devices.into_iter().map(mount("devicePath", true)));
    change.append_env = append_env(checker, node.get("appendEnv"), path);
    change
}

fn select(checker: &mut Checker<'_>, node: Option<&Node>, path: &str, change: &mut AppChange) {
    let Some(node) = node else { return };
    let Value::Map(entries) = &node.value else {
        let help = "write select: {in: containers, names: [\"*\"], except: []}";
        checker.error(node.span, format!("{path}.select must be a map, not {}", node.value.kind()), help);
        return;
    };
    for (key, value) in entries {
        match key.name.as_str() {
            "in" => {
                let lists = match &value.value {
                    Value::String(word) => match word.as_str() {
                        "containers" => Some(Lists::Containers),
                        "initContainers" => Some(Lists::InitContainers),
                        "all" => Some(Lists::All),
                        _ => None,
                    },
                    _ => None,
                };
                if lists.is_none() {
                    checker.error(
                        value.span,
                        format!("{path}.select.in is one of containers, initContainers, all"),
                        "",
                    );
                }
                change.lists = lists.unwrap_or_default();
            }
            "names" => change.names = globs(checker, value, &format!("{path}.select.names")),
            "except" => change.except = globs(checker, value, &format!("{path}.select.except")),
            other => {
                checker.error(key.span, format!("{path}.select has no \"{other}\""), "it has in, names and except");
            }
        }
    }
}

fn globs(checker: &mut Checker<'_>, node: &Node, path: &str) -> Vec<String> {
    let Json::Array(items) = checker.json(node, "[]string", path) else { return Vec::new() };
    items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn append_env(checker: &mut Checker<'_>, node: Option<&Node>, path: &str) -> Vec<Append> {
    let items = checker.items(node, &format!("{path}.appendEnv"));
    let mut list = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let mut text = |key: &str| {
            let node = item.get(key)?;
            checker.json(node, "string", &format!("{path}.appendEnv[{index}].{key}")).as_str().map(str::to_owned)
        };
        let (name, value, separator) = (text("name"), text("value"), text("separator"));
        if let (Some(name), Some(value)) = (name.filter(|name| !name.is_empty()), value) {
            list.push(Append { name, value, separator: separator.unwrap_or_else(|| " ".to_owned()) });
        } else {
            let help = "write - {name: JAVA_TOOL_OPTIONS, value: \"-javaagent:/agent.jar\", separator: \" \"}";
            checker.error(item.span, format!("{path}.appendEnv[{index}] must have a name and a value"), help);
        }
    }
    list
}

/// Whether `name` matches a glob: `*` is any text, `?` one character.
#[must_use]
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let (glob, name) = (glob.as_bytes(), name.as_bytes());
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((back, taken)) = star else { return false };
                star = Some((back, taken + 1));
                (at, seen) = (back + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a glob spells a name out.
#[must_use]
pub(crate) fn is_literal(glob: &str) -> bool {
    glob != PENDING && !glob.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_shells() {
        for (glob, name) in [
            ("*", ""),
            ("*", "a"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "abbc"),
            ("a?c", "abc"),
            ("a", "a"),
            ("*b*", "abc"),
        ] {
            assert!(matches(glob, name), "{glob} {name}");
        }
        for (glob, name) in [("", "a"), ("a", "b"), ("a*", "ba"), ("*c", "cb"), ("?", ""), ("a?c", "ac"), ("a", "aa")] {
            assert!(!matches(glob, name), "{glob} {name}");
        }
    }
}
