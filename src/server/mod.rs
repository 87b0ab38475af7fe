//! The HTTPS server of the webhook: receives admission reviews, and answers them within limits.
//!
//! This folder owns the routes, the limits for requests and bodies, the TLS accept loop and the admin port. Decisions
//! are made by the [`Engine`]; each request uses one snapshot of the catalog and takes no lock. It does not know how
//! the catalog is kept current or where certificates come from.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tower_http::catch_panic::CatchPanicLayer;

use crate::inject::authoring::config_map;
use crate::inject::kube::quantity::duration;
use crate::inject::settings::EntryPoint;
use crate::inject::{Engine, Refused};
use crate::server::body::{BodyReader, ReceivedBody};
use crate::server::error::HttpError;
use crate::state::Webhook;
use crate::telemetry::log::log_decision;

pub mod accept;
pub mod admin;
mod body;
mod error;

/// Limits for requests.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Maximum number of requests that wait for a body. Further requests get a 503, which the API server retries.
    pub requests: usize,
    /// Memory for the bodies of all requests together, in MiB.
    pub body_memory: usize,
    /// Maximum duration of a request. A shorter timeout sent by the client takes precedence.
    pub timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { requests: 1024, body_memory: 64, timeout: Duration::from_secs(10) }
    }
}

/// The state of the handlers.
struct Server {
    webhook: Arc<Webhook>,
    timeout: Duration,
    bodies: BodyReader,
}

impl Server {
    fn new(webhook: Arc<Webhook>, limits: ServerLimits) -> Arc<Self> {
        let bodies = BodyReader::new(limits.requests, limits.body_memory);
        Arc::new(Self { webhook, timeout: limits.timeout, bodies })
    }
}

/// Returns the routes of the TLS port. They need no socket, so tests can call them.
pub fn router(webhook: Arc<Webhook>, limits: ServerLimits) -> Router {
    let routes = Router::new()
        .route("/mutate", post(requests))
        .route("/mutate/policy", post(policy))
        .route("/validate/templates", post(validate))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path);
    with_panic_guard(routes, Server::new(webhook, limits))
}

/// Adds a layer that turns a panic into a 500 for that request. The webhook's `failurePolicy` then decides on the pod.
fn with_panic_guard(routes: Router<Arc<Server>>, server: Arc<Server>) -> Router {
    let webhook = Arc::clone(&server.webhook);
    let on_panic = move |_: Box<dyn std::any::Any + Send>| {
        // The panic message is not sent, since it can contain a part of a pod. The panic hook logs the place.
        reject(
            &webhook,
            HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the log of the injector"),
        )
    };
    routes.layer(CatchPanicLayer::custom(on_panic)).with_state(server)
}

async fn requests(State(server): State<Arc<Server>>, request: Request) -> Response {
    respond(&server, request, |headers, body| answer(&server.webhook, EntryPoint::Requests, headers, body)).await
}

async fn policy(State(server): State<Arc<Server>>, request: Request) -> Response {
    respond(&server, request, |headers, body| answer(&server.webhook, EntryPoint::Policy, headers, body)).await
}

async fn validate(State(server): State<Arc<Server>>, request: Request) -> Response {
    let webhook = &server.webhook;
    respond(&server, request, |_, body| {
        let catalog = webhook.catalog.load();
        match config_map::config_map(body, &webhook.settings, |namespace| webhook.place(&catalog, namespace)) {
            Err(error) => Err(HttpError::new(StatusCode::BAD_REQUEST, error.to_string())),
            Ok((answer, decision)) => {
                webhook.metrics.count_validation(&decision);
                Ok(answer)
            }
        }
    })
    .await
}

async fn unknown_path(State(server): State<Arc<Server>>, request: Request) -> Response {
    body::discard(request.into_body()).await;
    let why = "unknown path; send reviews to /mutate, /mutate/policy or /validate/templates";
    reject(&server.webhook, HttpError::new(StatusCode::NOT_FOUND, why))
}

async fn wrong_method(State(server): State<Arc<Server>>, request: Request) -> Response {
    body::discard(request.into_body()).await;
    reject(&server.webhook, HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview with POST"))
}

/// Counts an error and turns it into a response.
fn reject(webhook: &Webhook, error: HttpError) -> Response {
    webhook.metrics.count_http_error(error.status.as_u16());
    error.into_response()
}

/// Reads the body of a request within the limits, and responds with what `answer` returns for its headers and body.
async fn respond(
    server: &Server,
    request: Request,
    answer: impl FnOnce(&HeaderMap, &[u8]) -> Result<Vec<u8>, HttpError>,
) -> Response {
    let _in_flight = server.webhook.metrics.in_flight();
    let deadline = tokio::time::Instant::now() + server.timeout.min(client_timeout(request.uri()));
    let result = async {
        let (parts, body) = request.into_parts();
        let body = read(server, &parts.headers, body, deadline).await?;
        if tokio::time::Instant::now() >= deadline {
            return Err(HttpError::new(StatusCode::GATEWAY_TIMEOUT, "the timeout of the client has expired"));
        }
        answer(&parts.headers, &body.bytes)
    };
    match result.await {
        Ok(answer) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(error) => reject(&server.webhook, error),
    }
}

async fn read<'s>(
    server: &'s Server,
    headers: &HeaderMap,
    body: Body,
    deadline: tokio::time::Instant,
) -> Result<ReceivedBody<'s>, HttpError> {
    if !is_json(headers) {
        let why = "send an AdmissionReview as application/json";
        body::discard(body).await;
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let length = text(headers, header::CONTENT_LENGTH).parse().ok();
    server.bodies.read(body, length, deadline).await
}

/// Returns the timeout of the client, which the API server sends in the query (`?timeout=5s`). Without a valid positive
/// timeout, it is unlimited.
fn client_timeout(uri: &Uri) -> Duration {
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

/// Answers a review of a pod, and reports the decision. Returns the AdmissionReview with the response, as JSON.
fn answer(webhook: &Webhook, entry: EntryPoint, headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, HttpError> {
    let catalog = webhook.catalog.load();
    let Some(catalog) = catalog.as_ref() else { return Err(HttpError::retry("the templates are not loaded yet")) };
    let (clock, started) = (SystemTime::now(), Instant::now());
    match Engine::new(catalog, &webhook.settings, entry).answer(body) {
        Err(Refused::NamespacePending(_)) => Err(HttpError::retry("the namespace of the pod is not known yet")),
        Err(error) => Err(HttpError::new(StatusCode::BAD_REQUEST, error.to_string())),
        Ok(answer) => {
            let took = started.elapsed();
            let uid = answer.request.as_ref().map(|request| request.uid.as_str());
            webhook.metrics.count_decision(&answer.decision, took, uid);
            if let Some(events) = webhook.events.as_ref().filter(|_| !webhook.settings.observe) {
                events.report(&answer, &webhook.metrics);
            }
            if let Some(traces) = &webhook.traces {
                traces.record(headers, clock, &answer);
            }
            log_decision(&answer, took, webhook.settings.observe);
            Ok(answer.body)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::inject::settings::Settings;
    use crate::state::Trust;

    use super::*;
    use tower::ServiceExt as _;

    async fn bug(State(server): State<Arc<Server>>, request: Request) -> Response {
        respond(&server, request, |_, _| panic!("a part of a pod")).await
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_request() {
        let limits = ServerLimits::default();
        let state = Server::new(Arc::new(Webhook::new(Settings::default(), Trust::default())), limits);
        let routes = Router::new().route("/bug", post(bug)).route("/mutate", post(requests));
        let server = with_panic_guard(routes, Arc::clone(&state));
        let post = |path: &str| {
            let request = Request::post(path).header("content-type", "application/json").body(Body::from("{}"));
            server.clone().oneshot(request.expect("a request"))
        };
        for _ in 0..3 {
            let response = post("/bug").await.expect("an answer");
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
        assert_eq!(post("/mutate").await.expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
        let page = state.webhook.metrics.text();
        assert!(page.contains("http_refusals_total{code=\"500\"} 3"), "{page}");
        assert!(page.contains("in_flight_requests 0"), "{page}");
        assert_eq!(state.bodies.available(), limits.requests, "permits are returned");
    }

    #[test]
    fn the_timeout_of_the_client_is_read_from_the_query() {
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
            assert_eq!(client_timeout(&uri), expected, "{query}");
        }
    }
}
