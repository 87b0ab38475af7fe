//! Kinds of pods: the fields of a pod on which templates, the API server and policies most often depend. The module does
//! not know about templates.

use serde_json::{Value as Json, json};

/// Returns the value of a field.
type FieldValue = fn() -> Json;

/// The fields of a pod's spec, with values other than the default and their text.
const FIELDS: [(&str, &[(&str, FieldValue)]); 4] = [
    (
        "restartPolicy",
        &[("restartPolicy: OnFailure", || json!("OnFailure")), ("restartPolicy: Never", || json!("Never"))],
    ),
    ("hostNetwork", &[("hostNetwork: true", || json!(true))]),
    ("os", &[("os: linux", || json!({"name": "linux"})), ("os: windows", || json!({"name": "windows"}))]),
    ("hostUsers", &[("hostUsers: false", || json!(false))]),
];
const HOST_NETWORK: usize = 1;
const OS: usize = 2;
const WINDOWS: usize = 2;
const HOST_USERS: usize = 3;

/// A kind of pod: the index of the value of each field; 0 if the field is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKind([usize; FIELDS.len()]);

impl PodKind {
    /// The number of values of each field, with "not set" as the first.
    pub(super) const SIZES: [usize; FIELDS.len()] =
        [FIELDS[0].1.len() + 1, FIELDS[1].1.len() + 1, FIELDS[2].1.len() + 1, FIELDS[3].1.len() + 1];

    /// The kind at the beginning of a row of a matrix.
    pub(super) fn of_row(row: &[usize]) -> Self {
        let mut kind = Self::default();
        for (own, value) in kind.0.iter_mut().zip(row) {
            *own = *value;
        }
        kind
    }

    /// The kinds that set exactly one field.
    #[must_use]
    pub fn singles() -> Vec<Self> {
        let single = |field: usize, value: usize| {
            let mut kind = Self::default();
            kind.0[field] = value;
            kind
        };
        Self::SIZES
            .iter()
            .enumerate()
            .flat_map(|(field, size)| (1..*size).map(move |value| single(field, value)))
            .collect()
    }

    /// Returns true if it has all settings of `other`.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, value)| value == 0 || *own == value)
    }

    /// Returns false if no API server accepts a pod of the kind. `ValidatePodSpec` and `validateWindows` refuse
    /// `hostUsers: false` on the host's network and on Windows.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.0[HOST_USERS] == 0 || self.0[HOST_NETWORK] == 0 && self.0[OS] != WINDOWS
    }

    /// Its settings in words, such as `restartPolicy: Never`.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let values = self.0.iter().zip(FIELDS).filter(|(value, _)| **value > 0);
        values.map(|(value, (_, values))| values[*value - 1].0).collect()
    }

    /// A pod of the kind.
    #[must_use]
    pub fn pod(self) -> Json {
        let mut pod = restricted_pod();
        pod["metadata"]["name"] = "sidecar-injector-lint".into();
        let spec = &mut pod["spec"];
        for (value, (field, values)) in self.0.iter().zip(FIELDS).filter(|(value, _)| **value > 0) {
            spec[field] = values[*value - 1].1();
        }
        if self.0[OS] == WINDOWS {
            spec["securityContext"] = json!({"runAsNonRoot": true});
            if let Some(container) = spec["containers"][0].as_object_mut() {
                container.shift_remove("securityContext");
            }
        }
        pod
    }
}

/// The name of the application's container.
pub const APP: &str = "app";

/// Returns a pod that satisfies all Pod Security levels and usual quotas.
#[must_use]
pub fn restricted_pod() -> Json {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": APP,
                "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_set_fields_and_name_them() {
        let singles: Vec<String> = PodKind::singles().iter().map(|kind| kind.words().join(", ")).collect();
        let expected = [
            "restartPolicy: OnFailure",
            "restartPolicy: Never",
            "hostNetwork: true",
            "os: linux",
            "os: windows",
            "hostUsers: false",
        ];
        assert_eq!(singles, expected);
        let kind = PodKind([2, 1, WINDOWS, 0]);
        assert_eq!(kind.words(), ["restartPolicy: Never", "hostNetwork: true", "os: windows"]);
        let spec = &kind.pod()["spec"];
        assert_eq!((&spec["restartPolicy"], &spec["os"]["name"]), (&json!("Never"), &json!("windows")));
        assert!(spec["containers"][0]["securityContext"].is_null(), "Linux fields are invalid on Windows");
        assert!(kind.includes(PodKind([0, 1, 0, 0])) && !kind.includes(PodKind([1, 0, 0, 0])));
        assert!(!PodKind([0, 1, 0, 1]).is_valid() && PodKind([2, 0, 1, 1]).is_valid());
    }
}
