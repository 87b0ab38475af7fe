//! The plain-HTTP port for kubelet and Prometheus: health, readiness, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Webhook;

/// What readiness depends on.
#[derive(Debug)]
pub struct Admin {
    webhook: Arc<Webhook>,
    /// Set when the webhook port listens.
    pub listening: AtomicBool,
    /// Set when the process was told to end.
    pub draining: AtomicBool,
}

impl Admin {
    /// Not ready yet.
    #[must_use]
    pub fn new(webhook: Arc<Webhook>) -> Arc<Self> {
        Arc::new(Self { webhook, listening: AtomicBool::new(false), draining: AtomicBool::new(false) })
    }

    fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some("shutting down")
        } else if self.webhook.catalog.load().is_none() {
            Some("the templates are not read yet")
        } else if !self.listening.load(Ordering::Relaxed) {
            Some("the webhook port does not listen yet")
        } else {
            None
        }
    }
}

/// The routes of the admin port.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn ready(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    match admin.unready() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], admin.webhook.metrics.text())
}
