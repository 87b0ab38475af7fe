//! The webhook's HTTP side: bytes of a review in, bytes of its answer out, with limits around it. What
//! is decided is the core's business; it holds one snapshot of the catalog per request and no lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use crate::inject::catalog::Catalog;
use crate::inject::{self, Answer, Settings, Verdict};
use crate::metrics::Metrics;

pub mod accept;
pub mod admin;

/// Largest body: a review can hold two objects of 3 MiB and its envelope.
const MAX_BODY: usize = 7 * 1024 * 1024;
/// A request that takes longer is given up by the API server too (the largest `timeoutSeconds`).
const MAX_DURATION: Duration = Duration::from_secs(30);
/// Most reviews answered at once; more are told to come again, which the API server does.
const MAX_CONCURRENT: usize = 256;

/// What requests are answered from.
#[derive(Debug)]
pub struct Webhook {
    /// The catalog in use; `None` before the first sync.
    pub catalog: ArcSwap<Option<Catalog>>,
    /// Settings that do not change.
    pub settings: Settings,
    /// The metrics.
    pub metrics: Metrics,
    permits: Semaphore,
}

impl Webhook {
    /// A webhook without a catalog yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            catalog: ArcSwap::from_pointee(None),
            settings,
            metrics: Metrics::default(),
            permits: Semaphore::new(MAX_CONCURRENT),
        })
    }
}

/// The routes of the TLS port. Needs no socket, so tests can call it.
pub fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, MAX_DURATION))
        .layer(CatchPanicLayer::new())
        .with_state(webhook)
}

async fn mutate(
    State(webhook): State<Arc<Webhook>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let _in_flight = webhook.metrics.in_flight();
    let response = answer(&webhook, &headers, body);
    if !response.status().is_success() {
        webhook.metrics.refused(response.status().as_u16());
    }
    response
}

fn answer(webhook: &Webhook, headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    let Ok(_permit) = webhook.permits.try_acquire() else { return later("too many reviews at once") };
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send an AdmissionReview as application/json");
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 7 MiB");
        }
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "the body ended early"),
    };
    let catalog = webhook.catalog.load();
    let Some(catalog) = catalog.as_ref() else { return later("the templates are not read yet") };
    let started = Instant::now();
    match inject::answer(&body, catalog, &webhook.settings) {
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
        Ok(answer) => {
            let took = started.elapsed();
            webhook.metrics.decided(&answer.decision, took);
            log(&answer, took.as_micros());
            ([(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
        }
    }
}

/// One line per decision that matters; never the pod.
fn log(answer: &Answer<'_>, micros: u128) {
    let decision = &answer.decision;
    let Some(request) = &answer.request else { return };
    let metadata = request.pod.as_ref().and_then(|pod| pod.metadata.as_ref().ok());
    let name = metadata.map_or("", |metadata| metadata.display_name());
    let owner = metadata.and_then(|metadata| metadata.owner_references.as_ref()?.first());
    let owner = owner.map(|owner| format!("{}/{}", owner.kind.as_str(), owner.name.as_str())).unwrap_or_default();
    let templates: Vec<&str> = decision.templates.iter().map(|template| template.name.as_str()).collect();
    let (namespace, reason, templates) = (request.namespace.as_str(), decision.reason.as_str(), templates.join(","));
    let left_out = decision.templates.iter().any(|t| t.reason != crate::inject::reason::Reason::Injected && !t.denied);
    match decision.verdict {
        Verdict::Injected if left_out => {
            tracing::info!(namespace, name, owner, templates, micros, warnings = ?decision.warnings, "injected in part");
        }
        Verdict::Injected => tracing::info!(namespace, name, owner, templates, micros, "injected"),
        Verdict::Denied => tracing::info!(namespace, name, owner, templates, reason, micros, "denied"),
        Verdict::Unchanged => tracing::debug!(namespace, name, owner, templates, reason, micros, "unchanged"),
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    tracing::debug!(status = status.as_u16(), why, "refused a request");
    (status, format!("{why}\n")).into_response()
}

/// The API server retries within its timeout when an integer Retry-After is given.
fn later(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], format!("{why}\n")).into_response()
}
