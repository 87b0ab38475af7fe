//! What tests need around the product: a real control plane, a client for it, our own binary as a
//! child process, and small TLS endpoints that stand in for other people's webhooks.
//!
//! Everything here owns its processes and folders and removes them when dropped; nothing knows what
//! a test wants to prove.

pub(crate) mod binaries;
pub(crate) mod cluster;
pub(crate) mod conformance;
pub(crate) mod control_plane;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod files;
pub(crate) mod helm;
pub(crate) mod http;
pub(crate) mod pod_types;
pub(crate) mod process;
pub(crate) mod stub;
pub(crate) mod tls_client;
pub(crate) mod wait;
pub(crate) mod webhook;
