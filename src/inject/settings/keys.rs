//! The keys of the annotations and labels that the injector reads and writes. All have the same prefix, which is
//! `sidecar.io` unless the installation sets another. The module builds and parses keys. It does not know what the
//! values mean.

use crate::inject::kube::names::{is_label, is_subdomain};

/// The default prefix.
pub const PREFIX: &str = "sidecar.io";
/// Maximum length of a prefix, in characters: `TEMPLATE.files.PREFIX` must be a subdomain of at most 253 characters.
const MAX_PREFIX: usize = 253 - 63 - ".files.".len();

/// All keys with one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The prefix, without the slash: `sidecar.io`.
    pub prefix: String,
    /// Annotation of pods and namespaces that requests templates: `sidecar.io/inject`.
    pub request: String,
    /// Annotation of pods that lists what was added: `sidecar.io/status`.
    pub status: String,
    /// Annotation of pods that requests the trace of a decision: `sidecar.io/trace`.
    pub trace: String,
    /// Label of ConfigMaps that hold templates: `sidecar.io/template`.
    pub template: String,
    /// Label of ConfigMaps that hold shared values: `sidecar.io/values`.
    pub values: String,
    /// The text between the names of a template and a parameter: `.sidecar.io/`.
    parameter: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self::under(PREFIX)
    }
}

impl Keys {
    /// Creates the keys with `prefix`.
    ///
    /// # Errors
    /// The reason why `prefix` is not valid, as a sentence without a full stop: it is not a subdomain, it is too long,
    /// or it is reserved for Kubernetes.
    pub fn with_prefix(prefix: &str) -> Result<Self, String> {
        if !is_subdomain(prefix) || prefix.len() > MAX_PREFIX {
            return Err(format!("a prefix must be a domain name of at most {MAX_PREFIX} characters, such as {PREFIX}"));
        }
        // "The kubernetes.io/ and k8s.io/ prefixes are reserved for Kubernetes core components."
        // (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels)
        let reserved =
            |domain: &&str| prefix.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        match ["kubernetes.io", "k8s.io"].into_iter().find(reserved) {
            Some(domain) => Err(format!("{domain} is reserved for Kubernetes itself")),
            None => Ok(Self::under(prefix)),
        }
    }

    fn under(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}/{name}");
        Self {
            request: key("inject"),
            status: key("status"),
            trace: key("trace"),
            template: key("template"),
            values: key("values"),
            parameter: format!(".{prefix}/"),
            prefix: prefix.to_owned(),
        }
    }

    /// Returns true if `key` has the prefix itself, so that no template may set it.
    #[must_use]
    pub fn is_own(&self, key: &str) -> bool {
        key.split_once('/').is_some_and(|(prefix, _)| prefix == self.prefix)
    }

    /// The key of the annotation that sets a parameter of a template: `TEMPLATE.sidecar.io/NAME`.
    #[must_use]
    pub fn parameter(&self, template: &str, name: &str) -> String {
        format!("{template}{}{name}", self.parameter)
    }

    /// The name of the parameter of `template` that the annotation `key` sets; `None` for any other key.
    #[must_use]
    pub fn parameter_of<'k>(&self, template: &str, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(template)?.strip_prefix(self.parameter.as_str())
    }

    /// The names of the template and the parameter that the annotation `key` sets; `None` for any other key.
    #[must_use]
    pub fn as_parameter<'k>(&self, key: &'k str) -> Option<(&'k str, &'k str)> {
        key.split_once(self.parameter.as_str()).filter(|(template, _)| is_label(template))
    }

    /// The beginning of the keys of the annotations that hold the files of a template: `TEMPLATE.files.sidecar.io/`.
    #[must_use]
    pub fn files_of(&self, template: &str) -> String {
        format!("{template}.files{}", self.parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_the_prefix() {
        let keys = Keys::with_prefix("inject.example.com").expect("a prefix");
        assert_eq!(keys.request, "inject.example.com/inject");
        assert_eq!(keys.parameter("a", "b"), "a.inject.example.com/b");
        assert_eq!(keys.as_parameter("a.inject.example.com/b.c"), Some(("a", "b.c")));
        assert_eq!(keys.as_parameter("a.sidecar.io/b"), None);
        assert_eq!(keys.as_parameter("a.files.inject.example.com/v.f"), None);
        assert_eq!(keys.files_of("a") + "v.f", "a.files.inject.example.com/v.f");
        assert!(keys.is_own("inject.example.com/x") && !keys.is_own("a.inject.example.com/x") && !keys.is_own("x"));
        assert_eq!(Keys::with_prefix(PREFIX), Ok(Keys::default()));
    }

    #[test]
    fn invalid_prefixes_are_rejected() {
        for bad in ["", "Sidecar.io", "a/b", "a..b", "k8s.io", "x.kubernetes.io", &"a.".repeat(100), &"a".repeat(184)] {
            assert!(Keys::with_prefix(bad).is_err(), "{bad}");
        }
        assert!(Keys::with_prefix("notk8s.io").is_ok());
    }
}
