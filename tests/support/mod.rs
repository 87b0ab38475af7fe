//! The environment of the tests: a real control plane and a client for it, the binary as a child process, and TLS
//! endpoints that simulate the webhooks of other systems.
//!
//! All types stop their processes and delete their folders when they are dropped. No module depends on a test.

pub(crate) mod binaries;
pub(crate) mod cluster;
pub(crate) mod conformance;
pub(crate) mod control_plane;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod expressions;
pub(crate) mod files;
pub(crate) mod helm;
pub(crate) mod http;
pub(crate) mod kubernetes_source;
pub(crate) mod pod_types;
pub(crate) mod process;
pub(crate) mod stub;
pub(crate) mod tls_client;
pub(crate) mod wait;
pub(crate) mod webhook;
