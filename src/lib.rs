//! sidecar-injector: a Kubernetes mutating admission webhook that adds sidecars to pods.
//!
//! [`inject`] is the core and knows nothing of the rest; everything around it needs the feature
//! `cluster`.

pub mod inject;
