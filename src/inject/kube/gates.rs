//! Fields and words that need a version of Kubernetes, or a feature gate. The module knows what an API server with
//! default feature gates does with them. It does not know which version a cluster has.

use crate::inject::cluster_version::{ClusterVersion, NEWEST, OLDEST};
use crate::inject::diagnostic::{LocatedError, Severity, Span};

/// A feature gate of the API server. Source: `k8s.io/kubernetes/pkg/features/kube_features.go`.
#[derive(Debug)]
pub(crate) struct FeatureGate {
    pub(crate) name: &'static str,
    /// The first version that has it on by default; `None` if no version up to [`NEWEST`] has.
    since: Option<ClusterVersion>,
    /// What an API server without it does.
    pub(crate) without: Without,
}

/// What an API server does with a value that needs a feature gate which is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// It drops the field and accepts the pod.
    Drops,
    /// It rejects the pod.
    Rejects,
}

const fn gate(name: &'static str, minor: u16, without: Without) -> FeatureGate {
    FeatureGate { name, since: Some(ClusterVersion { minor }), without }
}

const fn off(name: &'static str, without: Without) -> FeatureGate {
    FeatureGate { name, since: None, without }
}

use Without::{Drops, Rejects};

pub(crate) static CLAIMS: FeatureGate = gate("DynamicResourceAllocation", 34, Drops);
pub(crate) static COMPARISONS: FeatureGate = off("TaintTolerationComparisonOperators", Rejects);
pub(crate) static ENV_FILES: FeatureGate = gate("EnvFiles", 35, Rejects);
pub(crate) static IMAGE_VOLUME: FeatureGate = gate("ImageVolume", 35, Rejects);
pub(crate) static POD_CERTIFICATE: FeatureGate = gate("PodCertificateRequest", 37, Drops);
pub(crate) static PROC_MOUNT: FeatureGate = gate("ProcMountType", 33, Drops);
pub(crate) static RECURSIVE_READ_ONLY: FeatureGate = gate("RecursiveReadOnlyMounts", 31, Drops);
pub(crate) static RESIZE: FeatureGate = gate("InPlacePodVerticalScaling", 33, Drops);
pub(crate) static RESTART_ALL: FeatureGate = gate("RestartAllContainersOnContainerExits", 36, Rejects);
pub(crate) static RESTART_RULES: FeatureGate = gate("ContainerRestartRules", 35, Drops);
pub(crate) static SELINUX_CHANGE_POLICY: FeatureGate = gate("SELinuxChangePolicy", 33, Drops);
pub(crate) static SELINUX_MOUNT: FeatureGate = gate("SELinuxMount", 37, Rejects);
pub(crate) static STOP_SIGNAL: FeatureGate = off("ContainerStopSignals", Drops);
pub(crate) static SUPPLEMENTAL_GROUPS: FeatureGate = gate("SupplementalGroupsPolicy", 33, Drops);
pub(crate) static TRUST_BUNDLE: FeatureGate = gate("ClusterTrustBundleProjection", 37, Drops);
pub(crate) static VOLUME_ATTRIBUTES: FeatureGate = gate("VolumeAttributesClass", 34, Drops);

/// A place of a document that needs a feature gate.
#[derive(Clone, Debug)]
pub(crate) struct GateUse {
    pub(crate) span: Span,
    /// The field, or the field with its word.
    pub(crate) what: String,
    pub(crate) gate: &'static FeatureGate,
    /// True if a condition decides whether pods get the value.
    pub(crate) is_conditional: bool,
}

impl FeatureGate {
    /// Returns true if the version has the gate on by default.
    pub(crate) fn is_on(&self, cluster: ClusterVersion) -> bool {
        self.since.is_some_and(|since| cluster >= since)
    }

    /// Returns true if an API server of this version is known to reject what needs the gate.
    fn rejects(&self, cluster: Option<ClusterVersion>) -> bool {
        self.without == Rejects
            && match cluster {
                Some(cluster) => !self.is_on(cluster) && (self.since.is_some() || cluster <= NEWEST),
                None => self.since.is_none(),
            }
    }

    /// What happens to `what` without the gate, a sentence without full stop.
    pub(crate) fn in_words(&self, what: &str) -> String {
        let without = if self.without == Drops { "is dropped" } else { "is rejected" };
        match self.since {
            Some(since) => format!("Before Kubernetes {since}, {what} {without} ({})", self.name),
            None => format!("Without the feature gate {}, which is off by default, {what} {without}", self.name),
        }
    }
}

impl GateUse {
    /// The error or the warning in a cluster of this version; `None` if the API server accepts and keeps the value.
    pub(crate) fn fault(&self, cluster: Option<ClusterVersion>) -> Option<(Severity, LocatedError)> {
        let FeatureGate { name, since, without } = self.gate;
        let is_on = cluster.map_or(since.is_some_and(|since| since <= OLDEST), |cluster| self.gate.is_on(cluster));
        if is_on {
            return None;
        }
        let effect = if *without == Drops { "drops it" } else { "rejects pods with it" };
        let what = &self.what;
        let (message, help) = match (since, cluster) {
            (Some(since), Some(cluster)) => {
                (format!("{what} needs Kubernetes {since} or later, and the cluster has {cluster}"), effect)
            }
            (Some(since), None) => (format!("{what} needs Kubernetes {since} or later"), effect),
            (None, _) => (format!("{what} has an effect only with the feature gate {name}"), effect),
        };
        let help = match (since, cluster) {
            (Some(_), Some(_)) => format!("the API server {help}, unless its feature gate {name} is on"),
            (Some(_), None) => format!("an older API server {help}; set --kubernetes to the version of the cluster"),
            (None, _) => format!("by default, the API server {help}"),
        };
        let is_error = self.gate.rejects(cluster) && !self.is_conditional;
        let severity = if is_error { Severity::Error } else { Severity::Warning };
        Some((severity, LocatedError::new(self.span, message, help)))
    }
}

/// The messages of those places that an API server of this version is known to reject.
pub(crate) fn rejected(places: &[GateUse], cluster: Option<ClusterVersion>) -> impl Iterator<Item = String> {
    let faults = places.iter().filter_map(move |place| place.fault(cluster));
    faults.filter(|(severity, _)| *severity == Severity::Error).map(|(_, error)| error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_an_error_where_the_version_is_known_to_reject_it() {
        let severity = |gate: &'static FeatureGate, minor: Option<u16>| {
            let place = GateUse { span: Span::default(), what: "it".to_owned(), gate, is_conditional: false };
            place.fault(minor.map(|minor| ClusterVersion { minor })).map(|(severity, _)| severity)
        };
        let (error, warning) = (Some(Severity::Error), Some(Severity::Warning));
        for (gate, minor, expected) in [
            (&ENV_FILES, Some(34), error),
            (&ENV_FILES, Some(35), None),
            (&ENV_FILES, None, warning),
            (&RESIZE, Some(32), warning),
            (&RESIZE, Some(33), None),
            (&SELINUX_MOUNT, Some(36), error),
            (&SELINUX_MOUNT, Some(37), None),
            (&COMPARISONS, Some(37), error),
            (&COMPARISONS, None, error),
            (&COMPARISONS, Some(99), warning),
            (&STOP_SIGNAL, Some(36), warning),
        ] {
            assert_eq!(severity(gate, minor), expected, "{} {minor:?}", gate.name);
        }
    }
}
