//! Fields and words that need a version of Kubernetes, or a feature gate. The module knows what an API server with
//! default feature gates does with them. It does not know which version a cluster has.

use std::ops::Range;

use crate::inject::cluster_version::{ClusterVersion, NEWEST, OLDEST};
use crate::inject::diagnostic::{LocatedError, Severity, Span, shown};

/// A feature gate of the API server. Source: `k8s.io/kubernetes/pkg/features/kube_features.go`.
#[derive(Debug)]
pub(crate) struct FeatureGate {
    pub(crate) name: &'static str,
    /// The first version that has it on by default; `None` if no version up to [`NEWEST`] has.
    since: Option<ClusterVersion>,
    /// The minor versions whose API server rejects what needs the gate. Any other version without the gate drops it.
    rejects: Range<u16>,
}

const fn gate(name: &'static str, minor: u16, rejects: Range<u16>) -> FeatureGate {
    FeatureGate { name, since: Some(ClusterVersion { minor }), rejects }
}

const fn off(name: &'static str, rejects: Range<u16>) -> FeatureGate {
    FeatureGate { name, since: None, rejects }
}

/// No version rejects it.
const NONE: Range<u16> = 0..0;

pub(crate) static CLAIMS: FeatureGate = gate("DynamicResourceAllocation", 34, NONE);
pub(crate) static COMPARISONS: FeatureGate = off("TaintTolerationComparisonOperators", 0..NEWEST.minor + 1);
pub(crate) static ENV_FILES: FeatureGate = gate("EnvFiles", 35, 0..35);
pub(crate) static ENV_NAMES: FeatureGate = gate("RelaxedEnvironmentVariableValidation", 32, 0..32);
/// The API server drops the volume with all its mounts.
pub(crate) static IMAGE_VOLUME: FeatureGate = gate("ImageVolume", 35, NONE);
pub(crate) static POD_CERTIFICATE: FeatureGate = gate("PodCertificateRequest", 37, NONE);
pub(crate) static PROC_MOUNT: FeatureGate = gate("ProcMountType", 33, NONE);
pub(crate) static RECURSIVE_READ_ONLY: FeatureGate = gate("RecursiveReadOnlyMounts", 31, NONE);
pub(crate) static RESIZE: FeatureGate = gate("InPlacePodVerticalScaling", 33, NONE);
/// Before 1.35, `restartPolicyRules` is dropped with it.
pub(crate) static RESTART_ALL: FeatureGate = gate("RestartAllContainersOnContainerExits", 36, 35..36);
pub(crate) static RESTART_RULES: FeatureGate = gate("ContainerRestartRules", 35, NONE);
pub(crate) static SEARCHES: FeatureGate = gate("RelaxedDNSSearchValidation", 33, 0..33);
pub(crate) static SELINUX_CHANGE_POLICY: FeatureGate = gate("SELinuxChangePolicy", 33, NONE);
/// Before 1.33, `seLinuxChangePolicy` is dropped.
pub(crate) static SELINUX_MOUNT: FeatureGate = gate("SELinuxMount", 37, 33..37);
pub(crate) static SLEEP_OF_ZERO: FeatureGate = gate("PodLifecycleSleepActionAllowZero", 33, 0..33);
pub(crate) static STOP_SIGNAL: FeatureGate = off("ContainerStopSignals", NONE);
pub(crate) static SUPPLEMENTAL_GROUPS: FeatureGate = gate("SupplementalGroupsPolicy", 33, NONE);
pub(crate) static TRUST_BUNDLE: FeatureGate = gate("ClusterTrustBundleProjection", 37, NONE);
pub(crate) static VOLUME_ATTRIBUTES: FeatureGate = gate("VolumeAttributesClass", 34, NONE);

/// The version from which an init container can have another restartPolicy than Always. 1.34 drops it.
pub(crate) static RESTART_POLICY: FeatureGate = gate("ContainerRestartRules", 35, 0..34);

/// A place of a document that needs a feature gate.
#[derive(Clone, Debug)]
pub(crate) struct GateUse {
    pub(crate) span: Span,
    /// The field, or the field with its word.
    pub(crate) what: String,
    pub(crate) gate: &'static FeatureGate,
    /// True if only this value of the field needs the gate. Where it is not rejected, the whole field is dropped, which
    /// the gate of the field reports.
    pub(crate) is_word: bool,
    /// True if a condition decides whether pods get the value.
    pub(crate) is_conditional: bool,
}

impl FeatureGate {
    /// Returns true if the version has the gate on by default.
    pub(crate) fn is_on(&self, cluster: ClusterVersion) -> bool {
        self.since.is_some_and(|since| cluster >= since)
    }

    /// Returns true if an API server of this version, with the gate off, drops the field.
    pub(crate) fn drops(&self, cluster: ClusterVersion) -> bool {
        !self.rejects(Some(cluster))
    }

    /// Returns true if an API server of this version is known to reject what needs the gate.
    fn rejects(&self, cluster: Option<ClusterVersion>) -> bool {
        match cluster {
            Some(cluster) => self.rejects.contains(&cluster.minor),
            None => self.since.is_none() && !self.rejects.is_empty(),
        }
    }

    /// What happens to `what` without the gate, a sentence without full stop.
    pub(crate) fn in_words(&self, what: &str) -> String {
        let without = if self.rejects.is_empty() { "is dropped" } else { "is rejected" };
        match self.since {
            Some(since) => format!("Before Kubernetes {since}, {what} {without} ({})", self.name),
            None => format!("Without the feature gate {}, which is off by default, {what} {without}", self.name),
        }
    }
}

impl GateUse {
    /// A field, `what`, at `span`.
    pub(crate) fn of_field(span: Span, what: String, gate: &'static FeatureGate) -> Self {
        Self { span, what, gate, is_word: false, is_conditional: false }
    }

    /// A value of the field `what`.
    pub(crate) fn of_word(span: Span, what: &str, word: &str, gate: &'static FeatureGate) -> Self {
        let what = format!("{what}: {}", shown(word, 80));
        Self { span, what, gate, is_word: true, is_conditional: false }
    }

    /// The error or the warning in a cluster of this version; `None` if the API server accepts and keeps the value.
    pub(crate) fn fault(&self, cluster: Option<ClusterVersion>) -> Option<(Severity, LocatedError)> {
        let FeatureGate { name, since, .. } = self.gate;
        let is_on = cluster.map_or(since.is_some_and(|since| since <= OLDEST), |cluster| self.gate.is_on(cluster));
        let rejects = self.gate.rejects(cluster);
        let is_dropped_with_field = self.is_word && !rejects && cluster.is_some_and(|cluster| cluster <= NEWEST);
        if is_on || is_dropped_with_field {
            return None;
        }
        let is_rejected = rejects || cluster.is_none() && !self.gate.rejects.is_empty();
        let effect = if is_rejected { "rejects pods with it" } else { "drops it" };
        let what = &self.what;
        let (message, help) = match (since, cluster) {
            (Some(since), Some(cluster)) => (
                format!("{what} needs Kubernetes {since} or later, and the cluster has {cluster}"),
                format!("the API server {effect}, unless its feature gate {name} is on"),
            ),
            (Some(since), None) => (
                format!("{what} needs Kubernetes {since} or later"),
                format!("an older API server {effect}; set --kubernetes to the version of the cluster"),
            ),
            (None, _) => (
                format!("{what} has an effect only with the feature gate {name}"),
                format!("by default, the API server {effect}"),
            ),
        };
        let severity = if rejects && !self.is_conditional { Severity::Error } else { Severity::Warning };
        Some((severity, LocatedError::new(self.span, message, help)))
    }
}

/// The errors and warnings of `places` in a cluster of this version, one for each place: what needs the newest version.
pub(crate) fn faults(places: &[GateUse], cluster: Option<ClusterVersion>) -> Vec<(Severity, LocatedError)> {
    let mut faults: Vec<(Severity, LocatedError)> = Vec::new();
    for (severity, error) in places.iter().filter_map(|place| place.fault(cluster)) {
        match faults.iter_mut().find(|(_, known)| known.span == error.span) {
            Some(known) if severity == Severity::Error || known.0 == Severity::Warning => *known = (severity, error),
            Some(_) => {}
            None => faults.push((severity, error)),
        }
    }
    faults
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
            let place = GateUse::of_field(Span::default(), "it".to_owned(), gate);
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
