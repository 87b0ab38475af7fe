//! What an installation sets: the keys of annotations and labels, and everything else that decisions depend on beside the
//! request and the templates. It knows neither pods nor templates.

pub mod keys;

use crate::inject::settings::keys::Keys;

/// What does not depend on the request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The keys of annotations.
    pub keys: Keys,
    /// Namespaces whose pods are never touched.
    pub excluded_namespaces: Vec<String>,
    /// What `true` in a request stands for: requests of their own, e.g. `fluent-bit, vault-agent@2`.
    pub default_templates: Vec<String>,
    /// Other systems' annotations that count as a request too.
    pub request_annotations: Vec<String>,
    /// Whether a request for an unknown template leaves it out instead of refusing the pod.
    pub skip_unknown: bool,
    /// Names of containers that other injectors add: no glob of `appContainers` is about them.
    pub foreign_sidecars: Vec<String>,
    /// Whether answers neither change nor refuse anything, whatever is decided.
    pub observe: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let foreign_sidecars = FOREIGN_SIDECARS.iter().map(ToString::to_string).collect();
        Self {
            keys: Keys::default(),
            excluded_namespaces: Vec::new(),
            default_templates: Vec::new(),
            request_annotations: Vec::new(),
            skip_unknown: false,
            foreign_sidecars,
            observe: false,
        }
    }
}

/// What the usual injectors call their containers.
pub const FOREIGN_SIDECARS: [&str; 14] = [
    "istio-proxy",
    "istio-init",
    "istio-validation",
    "linkerd-proxy",
    "linkerd-init",
    "linkerd-network-validator",
    "daprd",
    "vault-agent",
    "vault-agent-init",
    "consul-dataplane",
    "consul-connect-inject-init",
    "kuma-sidecar",
    "kuma-init",
    "gke-gcsfuse-sidecar",
];

/// Which webhook a request came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryPoint {
    /// For pods that ask: requests only.
    #[default]
    Requests,
    /// For namespaces with policies: their defaults and `autoInject` reach pods that say nothing, too.
    Policy,
}

/// Where the pod stands in the document that is patched. The default is the pod itself.
#[derive(Clone, Debug, Default)]
pub struct Embedding {
    /// JSON pointer of the pod template, e.g. `/spec/template`; empty for a pod.
    pub pointer: String,
    /// Whether the pod is one of a Job.
    pub of_job: bool,
    /// Names of volumes that the workload adds to its pods (a `StatefulSet`'s claim templates).
    pub claims: Vec<String>,
}

impl Settings {
    /// The annotations that can hold a request, the injector's own first.
    pub(crate) fn request_keys(&self) -> impl Iterator<Item = &str> {
        [&self.keys.request].into_iter().chain(&self.request_annotations).map(String::as_str)
    }

    pub(crate) fn excludes(&self, namespace: &str) -> bool {
        self.excluded_namespaces.iter().any(|excluded| excluded == namespace)
    }
}
