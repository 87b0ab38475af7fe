//! sidecar-injector: a Kubernetes mutating admission webhook that adds sidecars to pods.
//!
//! - [`inject`]: the core. It decides which templates a pod gets and writes the JSON Patch. It uses none of the others.
//! - [`manifest`]: manifests and template files: where pods, templates, shared values and namespaces are in them.
//! - `commands`: the command line, one module per subcommand.
//! - `server`: the webhook over HTTPS. `watch`: keeps the catalog of templates current. `certs`: serving certificates.
//!   `telemetry`: logs, metrics, Kubernetes Events and traces.
//!
//! Everything but [`inject`] and [`manifest`] needs the feature `cluster`.

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
