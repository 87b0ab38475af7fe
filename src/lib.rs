//! sidecar-injector: a Kubernetes mutating admission webhook that adds sidecars to pods.
//!
//! [`inject`] is the core and knows nothing of the rest. [`workload`] finds pods in manifests,
//! [`templates`] reads template files.

pub mod inject;
pub mod templates;
pub mod workload;
