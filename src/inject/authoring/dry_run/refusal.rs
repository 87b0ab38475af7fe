//! Errors of the API server for a pod: what refused the pod, and why. Kubernetes names the refusing part only in the text
//! of the message. The tests contain messages of Kubernetes 1.36.3.

use std::fmt;

/// What refused a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// The validation of the API server, including unknown fields.
    Validation,
    /// Pod Security, with its level and version, such as `restricted:latest`.
    PodSecurity(String),
    /// A LimitRange. Messages do not name it.
    LimitRange,
    /// The ResourceQuota of this name.
    Quota(String),
    /// The ValidatingAdmissionPolicy of this name.
    Policy(String),
    /// The admission webhook of this name.
    Webhook(String),
    /// Another admission plugin.
    Plugin,
    /// The injector itself: an expression of the template fails.
    Injector,
}

impl RefusedBy {
    /// How to fix it, a clause without full stop.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Validation => "correct the field",
            Self::PodSecurity(_) => "harden the container, or choose a namespace with a lower level",
            Self::LimitRange => "set resources within the limits that `kubectl describe limitrange` shows",
            Self::Quota(_) => "set lower requests and limits, or ask for more quota",
            Self::Policy(_) => "change the template, or ask the owner of the policy for an exception",
            Self::Webhook(_) => "change the template, or ask the owner of the webhook for an exception",
            Self::Plugin => "change the template, or create what is missing in the cluster",
            Self::Injector => "change the expression, or give its parameters limits",
        }
    }
}

impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Validation => f.write_str("the validation of the API server"),
            Self::PodSecurity(level) => write!(f, "Pod Security ({level})"),
            Self::LimitRange => f.write_str("a LimitRange"),
            Self::Quota(name) => write!(f, "the ResourceQuota {name}"),
            Self::Policy(name) => write!(f, "the ValidatingAdmissionPolicy {name}"),
            Self::Webhook(name) => write!(f, "the webhook {name}"),
            Self::Plugin => f.write_str("an admission plugin of the API server"),
            Self::Injector => f.write_str("the injector"),
        }
    }
}

/// The refusal of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What refused the pod.
    pub by: RefusedBy,
    /// The reason, from the message of the API server.
    pub why: String,
}

impl Refusal {
    /// Reads an error of the API server. `None` if it does not refuse the content of the pod: the user lacks rights, the
    /// namespace does not exist, or the API server could not answer.
    #[must_use]
    pub fn read(code: u16, message: &str) -> Option<Self> {
        if let Some((by, why)) = named(message) {
            return Some(Self { by, why: why.to_owned() });
        }
        let refused = |by, why: &str| Some(Self { by, why: why.to_owned() });
        let is_of_namespace =
            message.starts_with("pods is forbidden: User ") || message.contains("because it is being terminated");
        match code {
            400 => refused(RefusedBy::Validation, after(message, "cannot be handled as a Pod: ")),
            413 => refused(RefusedBy::Validation, message),
            422 => refused(RefusedBy::Validation, after(message, " is invalid: ")),
            403 if is_of_namespace => None,
            403 => {
                let why = after(message, " is forbidden: ");
                refused(if is_of_limit_range(why) { RefusedBy::LimitRange } else { RefusedBy::Plugin }, why)
            }
            _ => None,
        }
    }

    /// Returns true if both have the same cause. Of several faults that one part names, only the first counts, except
    /// for validation and plugins, which are several parts.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let is_one_part = !matches!(self.by, RefusedBy::Validation | RefusedBy::Plugin | RefusedBy::Injector);
        self.by == other.by && (is_one_part || self.why == other.why)
    }
}

/// The part that the message names, and the reason. The status code can be any: policies and webhooks choose it.
fn named(message: &str) -> Option<(RefusedBy, &str)> {
    if let Some((name, why)) = between(message, "admission webhook \"", "\" denied the request") {
        return Some((RefusedBy::Webhook(name.to_owned()), why.trim_start_matches([':', ' '])));
    }
    if let Some((name, why)) = between(message, "ValidatingAdmissionPolicy '", "' ") {
        return Some((RefusedBy::Policy(name.to_owned()), after(why, "denied request: ")));
    }
    if let Some((level, why)) = between(message, "violates PodSecurity \"", "\": ") {
        return Some((RefusedBy::PodSecurity(level.to_owned()), why));
    }
    let markers = [
        " is forbidden: exceeded quota: ",
        " is forbidden: failed quota: ",
        " is forbidden: status unknown for quota: ",
    ];
    let (name, _) = markers.iter().find_map(|marker| {
        let (_, rest) = message.split_once(marker)?;
        rest.split_once([',', ':'])
    })?;
    Some((RefusedBy::Quota(name.to_owned()), after(message, " is forbidden: ")))
}

/// `LimitRanger` in `plugin/pkg/admission/limitranger/admission.go` writes these texts.
fn is_of_limit_range(why: &str) -> bool {
    [" usage per Container is ", " usage per Pod is ", " limit to request ratio per "]
        .iter()
        .any(|part| why.contains(part))
}

/// The text between two markers, and the text after them.
fn between<'m>(message: &'m str, from: &str, to: &str) -> Option<(&'m str, &'m str)> {
    message.split_once(from)?.1.split_once(to)
}

/// The text after a marker, or the whole text.
fn after<'m>(message: &'m str, marker: &str) -> &'m str {
    message.split_once(marker).map_or(message, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: &str = "pods \"sidecar-injector-lint\" is forbidden: ";

    fn read(code: u16, message: &str) -> Option<String> {
        Refusal::read(code, message).map(|refusal| format!("{}: {}", refusal.by, refusal.why))
    }

    #[test]
    fn messages_of_admission_name_what_refuses() {
        for (code, message, expected) in [
            (
                403,
                "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"logs\" must set securityContext.allowPrivilegeEscalation=false)",
                "Pod Security (restricted:latest): allowPrivilegeEscalation != false (container \"logs\" must set securityContext.allowPrivilegeEscalation=false)",
            ),
            (
                403,
                "[maximum memory usage per Container is 128Mi, but limit is 256Mi, maximum memory usage per Pod is 200Mi, but limit is 320Mi]",
                "a LimitRange: [maximum memory usage per Container is 128Mi, but limit is 256Mi, maximum memory usage per Pod is 200Mi, but limit is 320Mi]",
            ),
            (
                403,
                "exceeded quota: compute, requested: requests.memory=264Mi, used: requests.memory=0, limited: requests.memory=128Mi",
                "the ResourceQuota compute: exceeded quota: compute, requested: requests.memory=264Mi, used: requests.memory=0, limited: requests.memory=128Mi",
            ),
            (
                403,
                "failed quota: compute: must specify requests.memory for: logs",
                "the ResourceQuota compute: failed quota: compute: must specify requests.memory for: logs",
            ),
            (
                422,
                "ValidatingAdmissionPolicy 'pinned-images' with binding 'b' denied request: images must have a digest",
                "the ValidatingAdmissionPolicy pinned-images: images must have a digest",
            ),
            (
                403,
                "no PriorityClass with name nope was found",
                "an admission plugin of the API server: no PriorityClass with name nope was found",
            ),
        ] {
            assert_eq!(read(code, &format!("{FORBIDDEN}{message}")).as_deref(), Some(expected));
        }
        let webhook = "admission webhook \"check.example.com\" denied the request: not here";
        assert_eq!(read(400, webhook).as_deref(), Some("the webhook check.example.com: not here"));
    }

    #[test]
    fn invalid_fields_are_refused_by_validation() {
        let invalid = "Pod \"x\" is invalid: spec.initContainers[0].image: Required value";
        let expected = "the validation of the API server: spec.initContainers[0].image: Required value";
        assert_eq!(read(422, invalid).as_deref(), Some(expected));
        let unknown =
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\"";
        let expected = "the validation of the API server: strict decoding error: unknown field \"spec.foo\"";
        assert_eq!(read(400, unknown).as_deref(), Some(expected));
    }

    #[test]
    fn other_errors_are_not_about_the_pod() {
        let rights = "pods is forbidden: User \"nobody\" cannot create resource \"pods\" in API group \"\" in the namespace \"shop\"";
        let ending =
            format!("{FORBIDDEN}unable to create new content in namespace shop because it is being terminated");
        let unreachable = "Internal error occurred: failed calling webhook \"a.example.com\": no endpoints";
        for (code, message) in [
            (403, rights),
            (403, ending.as_str()),
            (401, "Unauthorized"),
            (404, "namespaces \"nowhere\" not found"),
            (409, "pods \"sidecar-injector-lint\" already exists"),
            (500, unreachable),
            (0, "POST /api/v1/namespaces/shop/pods: connection refused"),
        ] {
            assert_eq!(read(code, message), None, "{message}");
        }
    }

    #[test]
    fn refusals_of_the_same_policy_are_alike() {
        let refusal = |by: RefusedBy, why: &str| Refusal { by, why: why.to_owned() };
        let quota = || RefusedBy::Quota("a".to_owned());
        assert!(refusal(quota(), "1").is_like(&refusal(quota(), "2")));
        assert!(!refusal(quota(), "1").is_like(&refusal(RefusedBy::Quota("b".to_owned()), "1")));
        assert!(!refusal(RefusedBy::Validation, "1").is_like(&refusal(RefusedBy::Validation, "2")));
    }
}
