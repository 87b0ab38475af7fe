//! sidecar-injector: a Kubernetes mutating admission webhook that adds sidecars to pods.
//!
//! - `commands`: the command line, one module per subcommand.
//! - `server`: the webhook over HTTPS, and the admin port with health, readiness and metrics.
//! - `watch`: keeps the catalog of templates current, from the cluster or from files.
//! - `state`: the state that the server and the watches share.
//! - `certs`: the serving certificate: reading, issuing, renewing.
//! - `telemetry`: logs, metrics, Kubernetes Events and traces.
//! - [`manifest`]: manifests and template files as text: where the pods, templates, shared values and namespaces are.
//! - [`inject`]: the core. It decides which templates a pod gets, and writes the JSON Patch.
//!
//! A module imports only modules of later rows of this table:
//!
//! ```text
//! main
//! commands
//! server, watch
//! state
//! certs, telemetry
//! manifest
//! inject
//! ```
//!
//! Modules in the same row do not import each other. All modules except [`inject`] and [`manifest`] need the feature
//! `cluster`.

#[cfg(feature = "cluster")]
pub mod certs;
#[cfg(feature = "cluster")]
pub mod commands;
pub mod inject;
pub mod manifest;
#[cfg(feature = "cluster")]
pub mod server;
#[cfg(feature = "cluster")]
pub mod state;
#[cfg(feature = "cluster")]
pub mod telemetry;
#[cfg(feature = "cluster")]
pub mod watch;
