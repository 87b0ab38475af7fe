//! The rules for the values of annotations that the API server reads (`ValidatePodSpecificAnnotations`).

use crate::inject::kube::formats::is_descending;

/// A rule for the value of one annotation, or of all whose keys begin with a prefix.
#[derive(Debug)]
pub(crate) struct AnnotationRule {
    /// The key; a prefix if it ends in a slash.
    pub(crate) key: &'static str,
    /// What the value must be.
    pub(crate) what: &'static str,
    /// The function of Kubernetes that the rule comes from.
    pub(crate) source: &'static str,
    is_valid: fn(&str) -> bool,
    pub(crate) accepted: &'static [&'static str],
    pub(crate) refused: &'static [&'static str],
}

/// The annotation with the seccomp profile of a pod, which a field has replaced.
pub(crate) const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// The prefix of annotations with the seccomp profile of one container.
pub(crate) const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// The prefix of annotations with the AppArmor profile of one container.
pub(crate) const APP_ARMOR_OF_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations with rules.
pub(crate) static ANNOTATIONS: [AnnotationRule; 6] = [
    AnnotationRule {
        key: "controller.kubernetes.io/pod-deletion-cost",
        what: "a 32-bit integer without a leading zero or plus sign",
        source: "GetDeletionCostFromPodAnnotations (pkg/apis/core/helper)",
        is_valid: |text| {
            let is_padded = text.starts_with('+') || text.starts_with('0') && text.len() > 1;
            !is_padded && text.parse::<i32>().is_ok()
        },
        accepted: &["0", "-5", "100"],
        refused: &["x", "01", "+1", "3000000000"],
    },
    AnnotationRule {
        key: "kubernetes.io/config.mirror",
        what: "absent: only the kubelet creates mirror pods",
        source: "ValidatePodSpecificAnnotations",
        is_valid: |_| false,
        accepted: &[],
        refused: &["x"],
    },
    AnnotationRule {
        key: "scheduler.alpha.kubernetes.io/tolerations",
        what: "a JSON list of tolerations",
        source: "ValidateTolerationsInPodAnnotations",
        is_valid: |text| text.is_empty() || serde_json::from_str::<Vec<serde_json::Value>>(text).is_ok(),
        accepted: &["[]"],
        refused: &["x"],
    },
    seccomp(SECCOMP_OF_POD),
    seccomp(SECCOMP_OF_CONTAINER),
    AnnotationRule {
        key: APP_ARMOR_OF_CONTAINER,
        what: "runtime/default, unconfined or localhost/PROFILE",
        source: "ValidateAppArmorPodAnnotations",
        is_valid: |text| matches!(text, "" | "runtime/default" | "unconfined") || text.starts_with("localhost/"),
        accepted: &["runtime/default", "localhost/a"],
        refused: &["x"],
    },
];

const fn seccomp(key: &'static str) -> AnnotationRule {
    AnnotationRule {
        key,
        what: "runtime/default, docker/default, unconfined or localhost/PATH",
        source: "ValidateSeccompPodAnnotations",
        is_valid: is_seccomp,
        accepted: &["runtime/default", "localhost/a"],
        refused: &["x", "localhost/../a", ""],
    }
}

fn is_seccomp(text: &str) -> bool {
    matches!(text, "runtime/default" | "docker/default" | "unconfined")
        || text.strip_prefix("localhost/").is_some_and(is_descending)
}

/// What the value of the annotation `key` must be, if `value` is not that.
pub(crate) fn broken(key: &str, value: &str) -> Option<&'static str> {
    let applies =
        |rule: &&AnnotationRule| if rule.key.ends_with('/') { key.starts_with(rule.key) } else { key == rule.key };
    let rule = ANNOTATIONS.iter().find(applies)?;
    (!(rule.is_valid)(value)).then_some(rule.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_accepts_and_refuses_its_examples() {
        for rule in &ANNOTATIONS {
            let key = format!("{}{}", rule.key, if rule.key.ends_with('/') { "app" } else { "" });
            for (texts, is_broken) in [(rule.accepted, false), (rule.refused, true)] {
                for text in texts {
                    assert_eq!(broken(&key, text).is_some(), is_broken, "{key}: {text}");
                }
            }
        }
    }
}
