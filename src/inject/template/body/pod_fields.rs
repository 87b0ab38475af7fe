//! `pod`: the pod-level fields that a template can add, the fields that it cannot add with the reason, and how each
//! field is merged with the pod's. This module does not know about pods.

use serde_json::{Map, Value as Json};

use crate::inject::diagnostic::nearest;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::types::{self, Kind};

/// A pod-level field that a template can add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodField {
    /// Its name in `spec`.
    pub(crate) name: &'static str,
    /// How it is merged with the pod's value.
    pub(crate) merge: Merge,
}

/// How a field is merged with the pod's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Member by member; a list is one leaf. A different value in the pod is a conflict.
    Leaves,
    /// Items that the pod does not have are appended.
    Append,
    /// Replaces only the default of the API server. Another value is a conflict.
    OverDefault,
    /// Replaces the pod's value only if it is greater.
    Raise,
}

impl PodField {
    /// Its type.
    pub(crate) fn kind(&self) -> Option<Kind> {
        types::kind("PodSpec").object()?.field(self.name).map(|field| field.kind.clone())
    }
}

const fn field(name: &'static str, merge: Merge) -> PodField {
    PodField { name, merge }
}

/// The pod-level fields that a template can add.
pub(crate) const POD_FIELDS: [PodField; 9] = [
    field("securityContext", Merge::Leaves),
    field("dnsConfig", Merge::Leaves),
    field("nodeSelector", Merge::Leaves),
    field("shareProcessNamespace", Merge::Leaves),
    field("tolerations", Merge::Append),
    field("hostAliases", Merge::Append),
    field("readinessGates", Merge::Append),
    field("serviceAccountName", Merge::OverDefault),
    field("terminationGracePeriodSeconds", Merge::Raise),
];

/// Fields that a template cannot set, with the reason.
const REFUSED: [(&str, &str); 11] = [
    ("affinity", "scheduling belongs to the application"),
    ("topologySpreadConstraints", "scheduling belongs to the application"),
    ("priorityClassName", "the API server sets the pod's priority before it calls the webhook"),
    ("runtimeClassName", "the API server adds the overhead of the runtime class before it calls the webhook"),
    ("nodeName", "the scheduler binds pods to nodes"),
    ("schedulerName", "scheduling belongs to the application"),
    ("hostNetwork", "a template cannot give a pod access to its node"),
    ("hostPID", "a template cannot give a pod access to its node"),
    ("hostIPC", "a template cannot give a pod access to its node"),
    ("containers", "`sidecars` adds a container, `appContainers` changes the application's own"),
    ("volumes", "`volumes` is a top-level field of a template"),
];

/// Reads the fields at `node`, without values that only expressions set. Fields that a template cannot set are errors.
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
            (Some(field), _) => checker.check_field(value, "PodSpec", field.name, &format!("pod.{}", field.name)),
            (None, Some((name, why))) => checker.error(key.span, format!("pod.{name} is not allowed: {why}"), ""),
            (None, None) => {
                let names = POD_FIELDS.iter().map(|field| field.name);
                let help = match nearest(&key.name, names.clone()) {
                    Some(known) => format!("did you mean \"{known}\"?"),
                    None => format!("known fields: {}", names.collect::<Vec<_>>().join(", ")),
                };
                checker.error(key.span, format!("a template cannot set pod.{}", key.name), help);
            }
        }
    }
    entries.retain(|(key, value)| {
        !matches!(value.value, Value::Null) && POD_FIELDS.iter().any(|field| field.name == key.name)
    });
    match node.into_json() {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}
