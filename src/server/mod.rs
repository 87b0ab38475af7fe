//! The webhook's HTTP side: bytes of a review in, bytes of its answer out, with limits around it. What
//! is decided is the core's business; it holds one snapshot of the catalog per request and no lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

use crate::inject::catalog::Catalog;
use crate::inject::sources::Rules;
use crate::inject::{self, Answer, Entry, Refused, Settings, Verdict};
use crate::metrics::Metrics;

pub mod accept;
pub mod admin;

/// Largest body: a review can hold two objects of 3 MiB and its envelope.
const MAX_BODY: usize = 7 * 1024 * 1024;
/// The API server sends a body in one go; who takes longer holds memory that others need.
const MAX_DURATION: Duration = Duration::from_secs(10);
/// Memory for bodies that are being read, in KiB. Who finds none is told to come again, which the API
/// server does.
const MAX_BODIES: usize = 256 * 1024;

/// What requests are answered from.
#[derive(Debug)]
pub struct Webhook {
    /// The catalog in use; `None` before the first sync.
    pub catalog: ArcSwap<Option<Catalog>>,
    /// Settings that do not change.
    pub settings: Settings,
    /// What templates must obey.
    pub trust: Trust,
    /// The metrics.
    pub metrics: Metrics,
    /// One permit for each KiB.
    bodies: Semaphore,
}

/// What templates must obey, by where they come from.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Central templates.
    pub central: Rules,
    /// Templates of the pods' own namespaces, where there may be such.
    pub namespaces: Option<Rules>,
    /// Whether those win over central ones.
    pub prefers_namespaces: bool,
    /// The namespace of the central ConfigMaps.
    pub home: Option<String>,
}

impl Trust {
    /// What the templates of a namespace must obey.
    #[must_use]
    pub fn rules_of(&self, namespace: &str) -> Rules {
        let is_home = self.home.as_deref().is_none_or(|home| home == namespace);
        if is_home { self.central } else { self.namespaces.unwrap_or(self.central) }
    }
}

impl Webhook {
    /// A webhook without a catalog yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Self::with_trust(settings, Trust::default())
    }

    /// The same with rules for templates.
    #[must_use]
    pub fn with_trust(settings: Settings, trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            catalog: ArcSwap::from_pointee(None),
            settings,
            trust,
            metrics: Metrics::default(),
            bodies: Semaphore::new(MAX_BODIES),
        })
    }
}

/// The routes of the TLS port. Needs no socket, so tests can call it.
pub fn router(webhook: Arc<Webhook>) -> Router {
    Router::new()
        .route("/mutate", post(requests))
        .route("/mutate/policy", post(policy))
        .route("/validate/templates", post(validate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::new())
        .with_state(webhook)
}

async fn requests(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    mutate(&webhook, Entry::Requests, request).await
}

async fn policy(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    mutate(&webhook, Entry::Policy, request).await
}

async fn validate(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    respond(&webhook, request, |body| {
        match inject::validate::config_map(body, &webhook.settings.keys, |namespace| webhook.trust.rules_of(namespace))
        {
            Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
            Ok((answer, decision)) => {
                webhook.metrics.validated(&decision);
                ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
            }
        }
    })
    .await
}

async fn mutate(webhook: &Webhook, entry: Entry, request: Request) -> Response {
    respond(webhook, request, |body| answer(webhook, entry, body)).await
}

/// Reads a review within the limits and answers it.
async fn respond(webhook: &Webhook, request: Request, answer: impl FnOnce(&Bytes) -> Response) -> Response {
    let _in_flight = webhook.metrics.in_flight();
    let response = match read(webhook, request).await {
        Ok((body, _permit)) => answer(&body),
        Err(response) => response,
    };
    if !response.status().is_success() {
        webhook.metrics.refused(response.status().as_u16());
    }
    response
}

async fn read(webhook: &Webhook, request: Request) -> Result<(Bytes, SemaphorePermit<'_>), Response> {
    if !is_json(request.headers()) {
        let why = "send an AdmissionReview as application/json";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    // A body of unknown length may become as large as any.
    let length = text(request.headers(), header::CONTENT_LENGTH).parse().unwrap_or(MAX_BODY).min(MAX_BODY);
    let kib = u32::try_from(length / 1024 + 1).unwrap_or(u32::MAX);
    let Ok(permit) = webhook.bodies.try_acquire_many(kib) else { return Err(later("too many reviews at once")) };
    match timeout(MAX_DURATION, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok((body, permit)),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 7 MiB"))
        }
        Ok(Err(_)) => Err(refuse(StatusCode::BAD_REQUEST, "the body ended early")),
        Err(_) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come within 10 s")),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = text(headers, header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn answer(webhook: &Webhook, entry: Entry, body: &Bytes) -> Response {
    let catalog = webhook.catalog.load();
    let Some(catalog) = catalog.as_ref() else { return later("the templates are not read yet") };
    let started = Instant::now();
    match inject::answer(body, entry, catalog, &webhook.settings) {
        Err(Refused::NamespacePending(_)) => later("the namespace is not known yet"),
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
