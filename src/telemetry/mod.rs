//! How the process reports its work: log lines, metrics, Kubernetes Events and OpenTelemetry traces.
//!
//! This folder reads finished decisions; it does not take part in them. It does not depend on the server, the watches
//! or the certificates.

pub mod events;
pub mod log;
pub mod metrics;
pub mod traces;

/// Longest name of a Kubernetes object, in bytes (DNS-1123 subdomain). Names in reports are truncated to this length: a
/// review arrives before the API server validates the names in it.
const MAX_NAME: usize = 253;
