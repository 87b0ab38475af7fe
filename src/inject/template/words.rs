//! The small fields of a template: fields with a fixed set of words, names, versions and positions, and how each is
//! read. This module does not depend on the rest of a template.

use crate::inject::diagnostic::shown;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::names;
use crate::inject::template::reference::{RESERVED, is_version};
use serde_json::Value as Json;

/// How sidecars run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As init containers with `restartPolicy: Always` (KEP-753).
    #[default]
    Native,
    /// As containers in `spec.containers`.
    Container,
}

/// The words of `mode`.
pub(super) const MODES: [(&str, Mode); 2] = [("native", Mode::Native), ("container", Mode::Container)];

impl Mode {
    /// The word in templates and in the status annotation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }
}

/// The effect of a problem with the template on the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnProblem {
    /// The pod is denied.
    Deny,
    /// The template is left out, with a warning.
    Skip,
}

/// The words of `onProblem`.
pub(super) const ON_PROBLEMS: [(&str, OnProblem); 2] = [("Deny", OnProblem::Deny), ("Skip", OnProblem::Skip)];

/// The behavior if the pod, or an earlier template, already has an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The conflict is a problem.
    Fail,
    /// The existing item stays. The template's item, and items that only it needs, are left out with a warning.
    Keep,
}

/// The words of `onConflict`.
pub(super) const CLASHES: [(&str, Clash); 2] = [("Fail", Clash::Fail), ("Keep", Clash::Keep)];

/// `onConflict`: the behavior for each kind of item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OnConflict {
    pub containers: Clash,
    pub volumes: Clash,
    pub mounts: Clash,
    pub host_ports: Clash,
    pub pod: Clash,
    pub env: Clash,
    pub labels: Clash,
    pub annotations: Clash,
}

impl Default for OnConflict {
    fn default() -> Self {
        let (fail, keep) = (Clash::Fail, Clash::Keep);
        Self {
            containers: fail,
            volumes: fail,
            mounts: fail,
            host_ports: fail,
            pod: fail,
            env: keep,
            labels: keep,
            annotations: keep,
        }
    }
}

impl OnConflict {
    /// The same behavior for every kind.
    pub(crate) fn all(clash: Clash) -> Self {
        Self {
            containers: clash,
            volumes: clash,
            mounts: clash,
            host_ports: clash,
            pod: clash,
            env: clash,
            labels: clash,
            annotations: clash,
        }
    }

    /// The kinds of conflict, by their keys.
    pub(crate) const KINDS: [&str; 8] =
        ["containers", "volumes", "mounts", "hostPorts", "pod", "env", "labels", "annotations"];

    fn kind(&mut self, name: &str) -> Option<&mut Clash> {
        Some(match name {
            "containers" => &mut self.containers,
            "volumes" => &mut self.volumes,
            "mounts" => &mut self.mounts,
            "hostPorts" => &mut self.host_ports,
            "pod" => &mut self.pod,
            "env" => &mut self.env,
            "labels" => &mut self.labels,
            "annotations" => &mut self.annotations,
            _ => return None,
        })
    }
}

/// `hostNetwork`: the behavior for pods that use the node's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostNetwork {
    /// The template does not apply if it declares ports, since they would become ports of the node.
    #[default]
    RefusePorts,
    /// The template never applies.
    Refuse,
    /// The template applies.
    Allow,
}

/// The words of `hostNetwork`.
pub(super) const HOST_NETWORKS: [(&str, HostNetwork); 2] =
    [("refuse", HostNetwork::Refuse), ("allow", HostNetwork::Allow)];

/// Reads the name of a template, or takes `default_name` if `node` is absent. An invalid or reserved name is an error.
pub(super) fn name(checker: &mut Checker, node: Option<&Node>, document: &Node, default_name: &str) -> String {
    let (name, span) = match node {
        Some(node) => (string(checker, node, "name").unwrap_or_else(|| "unnamed".to_owned()), node.span),
        None => (default_name.to_owned(), document.span),
    };
    if RESERVED.contains(&name.as_str()) {
        checker.error(span, format!("\"{name}\" is reserved and cannot be a template name"), "");
    } else if !names::is_label(&name) {
        let message = format!("\"{}\" is not a valid template name", shown(&name, 80));
        checker.error(span, message, "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit");
    }
    name
}

/// Reads the version of a template. A number is an error, since YAML reads 4.10 as 4.1.
pub(super) fn version(checker: &mut Checker, node: Option<&Node>) -> Option<String> {
    let node = node?;
    if let (Value::Number(_), Some(written)) = (&node.value, &node.written) {
        let message = "version must be a string; as a number 4.10 would be 4.1";
        checker.error(node.span, message, format!("write version: \"{written}\""));
        return None;
    }
    let version = string(checker, node, "version")?;
    if !is_version(&version) {
        let help = "use 1 to 63 of A-Z, a-z, 0-9, -, . and _, beginning with a letter or digit";
        checker.error(node.span, "this is not a valid version", help);
    }
    Some(version)
}

/// The words of `position`. A map gives the other positions.
pub(crate) const POSITIONS: [(&str, Position); 2] = [("first", Position::First), ("last", Position::Last)];

/// Reads the position of containers: `first`, `last`, `{before: NAME}` or `{after: NAME}`.
pub(crate) fn position(checker: &mut Checker, node: Option<&Node>) -> Option<Position> {
    let Some(Node { value: Value::Map(entries), span, .. }) = node else {
        return word(checker, node, "position", &POSITIONS);
    };
    if let [(key, Node { value: Value::String(name), .. })] = &entries[..]
        && !name.contains("${")
    {
        match key.name.as_str() {
            "before" => return Some(Position::Before(name.clone())),
            "after" => return Some(Position::After(name.clone())),
            _ => {}
        }
    }
    checker.error(*span, "position must be first, last, {before: NAME} or {after: NAME}", "");
    None
}

/// Reads `onConflict`: one word for every kind of item, or a map of kinds and words.
pub(super) fn on_conflict(checker: &mut Checker, node: Option<&Node>) -> OnConflict {
    let Some(Node { value: Value::Map(entries), .. }) = node else {
        return word(checker, node, "onConflict", &CLASHES).map(OnConflict::all).unwrap_or_default();
    };
    let mut on_conflict = OnConflict::default();
    for (key, value) in entries {
        let clash = word(checker, Some(value), &format!("onConflict.{}", key.name), &CLASHES);
        match on_conflict.kind(&key.name) {
            Some(kind) => *kind = clash.unwrap_or(*kind),
            None => {
                let help = format!("known keys: {}", OnConflict::KINDS.join(", "));
                checker.error(key.span, format!("onConflict has no key \"{}\"", key.name), help);
            }
        }
    }
    on_conflict
}

/// Reads the value of `key`, one of `words`. Any other value is an error. `None` if it is absent or not valid.
pub(crate) fn word<T: Clone>(checker: &mut Checker, node: Option<&Node>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let node = node?;
    let known = match &node.value {
        Value::String(text) => words.iter().find(|(word, _)| word == text),
        _ => None,
    };
    if known.is_none() {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        checker.error(node.span, format!("{key} must be one of {}", list.join(", ")), "");
    }
    known.map(|(_, value)| value.clone())
}

/// Reads the string value of `key`. `None` if it is not a string; then an error is reported.
pub(super) fn string(checker: &mut Checker, node: &Node, key: &str) -> Option<String> {
    match checker.json(node, "string", key) {
        Json::String(text) => Some(text),
        _ => None,
    }
}

/// Reads the boolean `key`. False if it is absent or not valid; the latter is an error.
pub(super) fn is_true(checker: &mut Checker, node: Option<&Node>, key: &str) -> bool {
    node.is_some_and(|node| checker.json(node, "boolean", key) == true)
}

/// The position of containers in their list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the pod's own.
    First,
    /// After the pod's own.
    Last,
    /// Directly before the container of that name.
    Before(String),
    /// Directly after the container of that name.
    After(String),
}
