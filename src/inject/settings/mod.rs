//! The settings of an installation: the keys of annotations and labels, and all other options that decisions depend on,
//! besides the request and the templates. The module does not know about pods or templates.

pub mod keys;

use crate::inject::settings::keys::Keys;

/// The options of an installation. They do not depend on the request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The keys of annotations and labels.
    pub keys: Keys,
    /// Names of namespaces whose pods are never changed.
    pub excluded_namespaces: Vec<String>,
    /// The templates that the request `true` selects. Each is written like a request: `fluent-bit`, `vault-agent@2`.
    pub default_templates: Vec<String>,
    /// Keys of other systems' annotations that also count as a request.
    pub request_annotations: Vec<String>,
    /// True if a request for an unknown template is ignored; otherwise it denies the pod.
    pub skip_unknown: bool,
    /// Names of containers that other injectors add. Globs of `appContainers` never match them.
    pub foreign_sidecars: Vec<String>,
    /// True if responses admit every pod unchanged, whatever the decision is.
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

/// The names of the containers of common injectors.
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

/// The webhook that received a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryPoint {
    /// For pods with a request. Only requests select templates.
    #[default]
    Requests,
    /// For namespaces with policies. Namespace defaults and `autoInject` also apply to pods without a request.
    Policy,
}

/// The place of the pod in the document that is patched. By default, the document is the pod.
#[derive(Clone, Debug, Default)]
pub struct Embedding {
    /// JSON pointer of the pod template, such as `/spec/template`; empty for a pod.
    pub pointer: String,
    /// True if the pod belongs to a Job.
    pub of_job: bool,
    /// Names of volumes that the workload adds to its pods (a `StatefulSet`'s claim templates).
    pub claims: Vec<String>,
}

impl Settings {
    /// The annotations that can contain a request, the injector's own first.
    pub(crate) fn request_keys(&self) -> impl Iterator<Item = &str> {
        [&self.keys.request].into_iter().chain(&self.request_annotations).map(String::as_str)
    }

    /// Returns true if the pods of `namespace` are never changed.
    pub(crate) fn excludes(&self, namespace: &str) -> bool {
        self.excluded_namespaces.iter().any(|excluded| excluded == namespace)
    }
}
