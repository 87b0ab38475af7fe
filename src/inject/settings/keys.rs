//! The keys of annotations and labels that the injector reads and writes. All stand under one prefix, `sidecar.io`
//! unless the installation has another. It knows names, not what they mean.

use crate::inject::kube::names::{is_label, is_subdomain};

/// The prefix of an installation that sets none.
pub const PREFIX: &str = "sidecar.io";
/// Longest prefix: `TEMPLATE.files.PREFIX` must be a subdomain, of at most 253 characters.
const MAX_PREFIX: usize = 253 - 63 - ".files.".len();

/// Every key under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What all others begin with, without the slash: `sidecar.io`.
    pub prefix: String,
    /// Annotation of pods and namespaces that asks for templates: `sidecar.io/inject`.
    pub request: String,
    /// Annotation of pods that says what was added: `sidecar.io/status`.
    pub status: String,
    /// Annotation of pods that asks for the trace of a decision: `sidecar.io/trace`.
    pub trace: String,
    /// Label of ConfigMaps that hold templates: `sidecar.io/template`.
    pub template: String,
    /// Label of ConfigMaps that hold shared values: `sidecar.io/values`.
    pub values: String,
    /// What stands between a template's name and a parameter's: `.sidecar.io/`.
    parameter: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self::under(PREFIX)
    }
}

impl Keys {
    /// The keys under `prefix`.
    ///
    /// # Errors
    /// Why `prefix` cannot be one, a sentence without full stop.
    pub fn with_prefix(prefix: &str) -> Result<Self, String> {
        if !is_subdomain(prefix) || prefix.len() > MAX_PREFIX {
            return Err(format!("a prefix is a domain name of at most {MAX_PREFIX} characters, such as {PREFIX}"));
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

    /// Whether `key` is one of the injector's own, which no template may write.
    #[must_use]
    pub fn is_own(&self, key: &str) -> bool {
        key.split_once('/').is_some_and(|(prefix, _)| prefix == self.prefix)
    }

    /// The annotation that gives a parameter of a template its value.
    #[must_use]
    pub fn parameter(&self, template: &str, name: &str) -> String {
        format!("{template}{}{name}", self.parameter)
    }

    /// The name of the parameter of `template` that an annotation is for.
    #[must_use]
    pub fn parameter_of<'k>(&self, template: &str, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(template)?.strip_prefix(self.parameter.as_str())
    }

    /// The template and the parameter that an annotation is for.
    #[must_use]
    pub fn as_parameter<'k>(&self, key: &'k str) -> Option<(&'k str, &'k str)> {
        key.split_once(self.parameter.as_str()).filter(|(template, _)| is_label(template))
    }

    /// What the annotations begin with that carry the files of a template.
    #[must_use]
    pub fn files_of(&self, template: &str) -> String {
        format!("{template}.files{}", self.parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_under_the_prefix() {
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
    fn what_cannot_be_a_prefix_is_refused() {
        for bad in ["", "Sidecar.io", "a/b", "a..b", "k8s.io", "x.kubernetes.io", &"a.".repeat(100), &"a".repeat(184)] {
            assert!(Keys::with_prefix(bad).is_err(), "{bad}");
        }
        assert!(Keys::with_prefix("notk8s.io").is_ok());
    }
}
