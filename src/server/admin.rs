//! The admin port, plain HTTP: health and readiness for the kubelet, metrics for Prometheus, and the log level.
//!
//! The log level can only be set from the same machine. This module does not depend on the webhook port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, put};

use crate::state::Webhook;
use crate::telemetry::log::SetLogLevel;

/// The state of the admin port, which readiness depends on.
pub struct Admin {
    webhook: Arc<Webhook>,
    /// True as soon as the webhook port listens.
    pub listening: AtomicBool,
    /// True as soon as the served certificate is one that the API server can trust.
    pub certified: AtomicBool,
    /// True as soon as the process shuts down.
    pub draining: AtomicBool,
    set_log_level: SetLogLevel,
}

impl Admin {
    /// Returns the state of a process that is not ready yet.
    #[must_use]
    pub fn new(webhook: Arc<Webhook>, set_log_level: SetLogLevel) -> Arc<Self> {
        let [listening, certified, draining] = [const { AtomicBool::new(false) }; 3];
        Arc::new(Self { webhook, listening, certified, draining, set_log_level })
    }

    /// Returns why the process is not ready; `None` if it is ready.
    fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some("shutting down")
        } else if self.webhook.catalog.load().is_none() {
            Some("the templates are not loaded yet")
        } else if !self.certified.load(Ordering::Relaxed) {
            Some("there is no certificate yet")
        } else if !self.listening.load(Ordering::Relaxed) {
            Some("the webhook port does not listen yet")
        } else {
            None
        }
    }
}

/// Returns the routes of the admin port.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log-level", put(log_level))
        .with_state(admin)
}

async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    match admin.unready() {
        // Still ready: decisions from the last catalog are better than none.
        None => match admin.webhook.stale_since.load(Ordering::Relaxed) {
            0 => (StatusCode::OK, "ok\n".to_owned()),
            since => (StatusCode::OK, format!("ok, but the cluster cannot be watched since {since} (Unix time)\n")),
        },
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// Sets the log level, for example `curl -X PUT -d debug localhost:8080/log-level`. Debug lines contain the name of
/// every pod, so only processes on the same machine can enable them.
async fn log_level(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: String,
) -> impl IntoResponse {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "the log level can only be set from the same machine\n".to_owned());
    }
    match body.trim().parse::<tracing::Level>() {
        Ok(level) => {
            (admin.set_log_level)(level);
            tracing::info!(%level, "log level set");
            (StatusCode::OK, format!("{level}\n"))
        }
        Err(_) => (StatusCode::BAD_REQUEST, "unknown log level; use error, warn, info, debug or trace\n".to_owned()),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], admin.webhook.metrics.text())
}
