//! The webhook's HTTP side: bytes of a review in, bytes of its answer out, with limits around it. What
//! is decided is the core's business; it holds one snapshot of the catalog per request and no lock.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::inject::authoring::config_map;
use crate::inject::catalog::Catalog;
use crate::inject::catalog::sources::SourceRules;
use crate::inject::decision::Verdict;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::kube::quantity::duration;
use crate::inject::settings::{EntryPoint, Settings};
use crate::inject::{Answer, Engine, Refused};
use crate::server::body::{Places, Received};
use crate::telemetry::Traces;
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;

pub mod accept;
pub mod admin;
mod body;

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
    /// Where Kubernetes Events go, if they are wanted.
    pub events: Option<Events>,
    /// Where OpenTelemetry traces go, if they are wanted.
    pub traces: Option<Traces>,
    /// When the cluster could no longer be watched, in seconds since 1970; 0 while it can.
    pub stale_since: AtomicU64,
    limits: Limits,
    places: Places,
    /// One permit for each KiB of bodies.
    bodies: Semaphore,
}

/// How much is done at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests at once. Who comes when there are more is told to come again, which the API server does.
    pub requests: usize,
    /// Memory for all bodies together, in MiB.
    pub body_memory: usize,
    /// How long a request may take, unless whoever sent it waits for less.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 1024, body_memory: 64, timeout: Duration::from_secs(10) }
    }
}

/// Why a request is not answered with a review.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
    /// Whether the API server is asked to come again, which it does within its timeout where Retry-After is an integer
    /// (client-go, `rest/with_retry.go`).
    again: bool,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), again: false }
    }

    fn later(why: &str) -> Self {
        Self { again: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, why) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::debug!(status = self.status.as_u16(), why = self.why, "refused a request");
        let mut response = (self.status, format!("{}\n", self.why)).into_response();
        if self.again {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

/// What templates must obey, by where they come from.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Central templates.
    pub central: SourceRules,
    /// Templates of the pods' own namespaces, where there may be such.
    pub namespaces: Option<SourceRules>,
    /// Whether those win over central ones.
    pub prefers_namespaces: bool,
    /// The namespace of the central ConfigMaps.
    pub home: Option<String>,
}

impl Trust {
    /// What the templates of a namespace must obey.
    #[must_use]
    pub fn rules_of(&self, namespace: &str) -> SourceRules {
        let is_home = self.home.as_deref().is_none_or(|home| home == namespace);
        if is_home { self.central } else { self.namespaces.unwrap_or(self.central) }
    }
}

impl Webhook {
    /// A webhook without a catalog yet.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Self::with(settings, Trust::default(), Limits::default())
    }

    /// The same with rules for templates, and limits.
    #[must_use]
    pub fn with(settings: Settings, trust: Trust, limits: Limits) -> Arc<Self> {
        Arc::new(Self::build(settings, trust, limits))
    }

    /// The same, to be completed.
    #[must_use]
    pub fn build(settings: Settings, trust: Trust, limits: Limits) -> Self {
        Self {
            catalog: ArcSwap::from_pointee(None),
            settings,
            trust,
            metrics: Metrics::default(),
            limits,
            places: Places::new(limits.requests),
            bodies: Semaphore::new(limits.body_memory * 1024),
            events: None,
            traces: None,
            stale_since: AtomicU64::new(0),
        }
    }
}

/// The routes of the TLS port. Needs no socket, so tests can call it.
pub fn router(webhook: Arc<Webhook>) -> Router {
    let routes = Router::new()
        .route("/mutate", post(requests))
        .route("/mutate/policy", post(policy))
        .route("/validate/templates", post(validate))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path);
    guarded(routes, webhook)
}

/// `routes` of which a panic takes down one request: the webhook's failurePolicy decides on it.
fn guarded(routes: Router<Arc<Webhook>>, webhook: Arc<Webhook>) -> Router {
    let counted = Arc::clone(&webhook);
    let panicked = move |_: Box<dyn std::any::Any + Send>| {
        // What it says may hold a piece of a pod; the panic hook tells the place.
        counted.metrics.refused(StatusCode::INTERNAL_SERVER_ERROR.as_u16());
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug of the injector; see its log").into_response()
    };
    routes.layer(CatchPanicLayer::custom(panicked)).with_state(webhook)
}

async fn requests(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    respond(&webhook, request, |headers, body| answer(&webhook, EntryPoint::Requests, headers, body)).await
}

async fn policy(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    respond(&webhook, request, |headers, body| answer(&webhook, EntryPoint::Policy, headers, body)).await
}

async fn validate(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    respond(&webhook, request, |_, body| {
        let rules = |namespace: &str| webhook.trust.rules_of(namespace);
        match config_map::config_map(body, &webhook.settings, rules) {
            Err(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
            Ok((answer, decision)) => {
                webhook.metrics.validated(&decision);
                Ok(answer)
            }
        }
    })
    .await
}

async fn unknown_path(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    body::discard(request.into_body()).await;
    let why = "there is nothing here; reviews are answered at /mutate, /mutate/policy and /validate/templates";
    refused(&webhook, Refusal::new(StatusCode::NOT_FOUND, why))
}

async fn wrong_method(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    body::discard(request.into_body()).await;
    refused(&webhook, Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview with POST"))
}

fn refused(webhook: &Webhook, refusal: Refusal) -> Response {
    webhook.metrics.refused(refusal.status.as_u16());
    refusal.into_response()
}

/// Reads a review within the limits and answers it.
async fn respond(
    webhook: &Webhook,
    request: Request,
    answer: impl FnOnce(&HeaderMap, &[u8]) -> Result<Vec<u8>, Refusal>,
) -> Response {
    let _in_flight = webhook.metrics.in_flight();
    let deadline = tokio::time::Instant::now() + webhook.limits.timeout.min(timeout_of(request.uri()));
    let result = async {
        let (parts, body) = request.into_parts();
        let body = read(webhook, &parts.headers, body, deadline).await?;
        if tokio::time::Instant::now() >= deadline {
            return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "whoever asked does not wait any longer"));
        }
        answer(&parts.headers, &body.bytes)
    };
    match result.await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(refusal) => refused(webhook, refusal),
    }
}

async fn read<'w>(
    webhook: &'w Webhook,
    headers: &HeaderMap,
    body: Body,
    deadline: tokio::time::Instant,
) -> Result<Received<'w>, Refusal> {
    if !is_json(headers) {
        let why = "send an AdmissionReview as application/json";
        body::discard(body).await;
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let length = text(headers, header::CONTENT_LENGTH).parse().ok();
    webhook.places.read(body, length, &webhook.bodies, deadline).await
}

/// How long whoever sends the request waits: the API server says so in `?timeout=5s`.
fn timeout_of(uri: &Uri) -> Duration {
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let nanos = pairs.filter(|(key, _)| *key == "timeout").find_map(|(_, text)| duration(text));
    nanos
        .filter(|nanos| *nanos > 0)
        .map_or(Duration::MAX, |nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = text(headers, header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn answer(webhook: &Webhook, entry: EntryPoint, headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let catalog = webhook.catalog.load();
    let Some(catalog) = catalog.as_ref() else { return Err(Refusal::later("the templates are not read yet")) };
    let (clock, started) = (SystemTime::now(), Instant::now());
    match Engine::new(catalog, &webhook.settings, entry).answer(body) {
        Err(Refused::NamespacePending(_)) => Err(Refusal::later("the namespace is not known yet")),
        Err(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, error.to_string())),
        Ok(answer) => {
            let took = started.elapsed();
            let uid = answer.request.as_ref().map(|request| request.uid.as_str());
            webhook.metrics.decided(&answer.decision, took, uid);
            if let Some(events) = webhook.events.as_ref().filter(|_| !webhook.settings.observe) {
                events.of(&answer, &webhook.metrics);
            }
            if let Some(traces) = &webhook.traces {
                traces.record(headers, clock, &answer);
            }
            log(&answer, took, webhook.settings.observe);
            Ok(answer.body)
        }
    }
}

/// One line per decision that matters; never the pod. What users wrote is cut: reviews come before it is validated.
fn log(answer: &Answer<'_>, took: Duration, observed: bool) {
    let decision = &answer.decision;
    let Some(request) = &answer.request else { return };
    if decision.verdict == Verdict::Unchanged && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let metadata = request.pod.as_ref().and_then(|pod| pod.metadata.as_ref().ok());
    let name = shown(metadata.map_or("", |metadata| metadata.display_name()), MAX_NAME);
    let owner = metadata.and_then(|metadata| metadata.owner_references.as_ref()?.first());
    let owner = owner.map(|owner| shown(&format!("{}/{}", owner.kind.as_str(), owner.name.as_str()), MAX_NAME));
    let (owner, namespace) = (owner.unwrap_or_default(), shown(request.namespace.as_str(), MAX_NAME));
    let templates: Vec<&str> = decision.templates.iter().map(|template| template.name.as_str()).collect();
    let (reason, templates) = (decision.reason.as_str(), templates.join(","));
    let (micros, dry_run) = (u64::try_from(took.as_micros()).unwrap_or(u64::MAX), request.dry_run);
    let left_out = decision.templates.iter().filter(|template| template.reason != Reason::Injected && !template.denied);
    let left_out: Vec<String> = left_out.map(|template| format!("{} [{}]", template.name, template.reason)).collect();
    match decision.verdict {
        Verdict::Injected if !left_out.is_empty() => {
            let left_out = left_out.join(", ");
            tracing::info!(namespace, name, owner, templates, left_out, micros, dry_run, observed, "injected in part");
        }
        Verdict::Injected => tracing::info!(namespace, name, owner, templates, micros, dry_run, observed, "injected"),
        Verdict::Denied => {
            tracing::info!(namespace, name, owner, templates, reason, micros, dry_run, observed, "denied");
        }
        Verdict::Unchanged => {
            tracing::debug!(namespace, name, owner, templates, reason, micros, dry_run, observed, "unchanged");
        }
    }
}

/// Longest name of an object.
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt as _;

    async fn bug(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
        respond(&webhook, request, |_, _| panic!("a piece of a pod")).await
    }

    #[tokio::test]
    async fn a_panic_takes_down_one_request() {
        let webhook = Webhook::new(Settings::default());
        let routes = Router::new().route("/bug", post(bug)).route("/mutate", post(requests));
        let server = guarded(routes, Arc::clone(&webhook));
        let post = |path: &str| {
            let request = Request::post(path).header("content-type", "application/json").body(Body::from("{}"));
            server.clone().oneshot(request.expect("a request"))
        };
        for _ in 0..3 {
            let response = post("/bug").await.expect("an answer");
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
        assert_eq!(post("/mutate").await.expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
        let page = webhook.metrics.text();
        assert!(page.contains("http_refusals_total{code=\"500\"} 3"), "{page}");
        assert!(page.contains("in_flight_requests 0"), "{page}");
        assert_eq!(webhook.places.available(), webhook.limits.requests, "places are given back");
    }

    #[test]
    fn the_callers_patience_is_read_from_the_query() {
        for (query, expected) in [
            ("timeout=5s", Duration::from_secs(5)),
            ("a=b&timeout=1m30s", Duration::from_secs(90)),
            ("timeout=", Duration::MAX),
            ("timeout=-5s", Duration::MAX),
            ("timeout=0s", Duration::MAX),
            ("timeout=soon&x", Duration::MAX),
            ("", Duration::MAX),
        ] {
            let uri = format!("/mutate?{query}").parse().expect("an address");
            assert_eq!(timeout_of(&uri), expected, "{query}");
        }
    }
}
