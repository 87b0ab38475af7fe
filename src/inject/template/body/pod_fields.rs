//! `pod`: the pod-level fields that a template may add, the fields that are not possible with the reason, and how each field
//! is combined with the pod's. It does not know pods.

use serde_json::{Map, Value as Json};

use crate::inject::diagnostic::nearest;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::rules;
use crate::inject::template::body::item_read::report;

/// A pod-level field that a template can add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodField {
    /// Its name in `spec`.
    pub(crate) name: &'static str,
    /// Its type, see [`Checker`].
    pub(crate) kind: &'static str,
    /// How it is combined with the pod's.
    pub(crate) merge: Merge,
}

/// How a field is combined with the pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Member by member; a list is one leaf. Another value is a conflict.
    Leaves,
    /// Items that the pod does not have are appended.
    Append,
    /// Added only over the default of the API server. Another value is a conflict.
    OverDefault,
    /// Added only if it is greater than the pod's value.
    Raise,
}

const fn field(name: &'static str, kind: &'static str, merge: Merge) -> PodField {
    PodField { name, kind, merge }
}

/// The pod-level fields that a template can add.
pub(crate) const POD_FIELDS: [PodField; 9] = [
    field("securityContext", "PodSecurityContext", Merge::Leaves),
    field("dnsConfig", "PodDNSConfig", Merge::Leaves),
    field("nodeSelector", "{}string", Merge::Leaves),
    field("shareProcessNamespace", "boolean", Merge::Leaves),
    field("tolerations", "[]Toleration", Merge::Append),
    field("hostAliases", "[]HostAlias", Merge::Append),
    field("readinessGates", "[]PodReadinessGate", Merge::Append),
    field("serviceAccountName", "string", Merge::OverDefault),
    field("terminationGracePeriodSeconds", "int64", Merge::Raise),
];

/// Fields that a template cannot have, with the reason.
const REFUSED: [(&str, &str); 11] = [
    ("affinity", "the scheduler's choice belongs to the application"),
    ("topologySpreadConstraints", "the scheduler's choice belongs to the application"),
    ("priorityClassName", "the API server has given the pod its priority before the webhook sees it"),
    ("runtimeClassName", "the API server has added the runtime's overhead before the webhook sees it"),
    ("nodeName", "a pod is bound by the scheduler"),
    ("schedulerName", "the scheduler's choice belongs to the application"),
    ("hostNetwork", "a template cannot give a pod access to its node"),
    ("hostPID", "a template cannot give a pod access to its node"),
    ("hostIPC", "a template cannot give a pod access to its node"),
    ("containers", "`sidecars` adds a container, `appContainers` changes the application's own"),
    ("volumes", "`volumes` stands at the top of a template"),
];

/// Reads the known part of the fields at `node`, and reports fields that a template cannot have.
pub(crate) fn read(checker: &mut Checker, mut node: Node) -> Map<String, Json> {
    let Value::Map(entries) = &mut node.value else {
        if !matches!(node.value, Value::Null) {
            checker.error(node.span, format!("pod must be a map, not {}", node.value.kind()), "");
        }
        return Map::new();
    };
    for (key, value) in &mut *entries {
        let known = POD_FIELDS.iter().find(|field| field.name == key.name);
        let refused = REFUSED.iter().find(|(name, _)| *name == key.name);
        match (known, refused) {
            (Some(field), _) => checker.check(value, field.kind, &format!("pod.{}", field.name)),
            (None, Some((name, why))) => checker.error(key.span, format!("pod.{name} is not possible: {why}"), ""),
            (None, None) => {
                let names = POD_FIELDS.iter().map(|field| field.name);
                let help = match nearest(&key.name, names.clone()) {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None => format!("possible are {}", names.collect::<Vec<_>>().join(", ")),
                };
                checker.error(key.span, format!("a template cannot set pod.{}", key.name), help);
            }
        }
    }
    entries.retain(|(key, value)| {
        !matches!(value.value, Value::Null) && POD_FIELDS.iter().any(|field| field.name == key.name)
    });
    report(checker, "pod", rules::pod(&node));
    match node.into_json() {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}
