//! sidecar-injector: a Kubernetes mutating admission webhook that adds sidecars to pods.
//!
//! [`inject`] is the core and knows nothing of the rest. [`workload`] finds pods in manifests,
//! [`templates`] reads template files, `commands` is the command line (feature `cluster`).

#[cfg(feature = "cluster")]
pub mod certs;
#[cfg(feature = "cluster")]
pub mod commands;
#[cfg(feature = "cluster")]
pub mod events;
pub mod inject;
#[cfg(feature = "cluster")]
pub mod metrics;
#[cfg(feature = "cluster")]
pub mod server;
#[cfg(feature = "cluster")]
pub mod telemetry;
pub mod templates;
pub mod values;
#[cfg(feature = "cluster")]
pub mod watch;
pub mod workload;
