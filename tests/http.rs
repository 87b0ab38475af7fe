//! Tests the routes of the webhook port without a socket: a body that is not a review gets a clear 4xx, a review gets a
//! well-formed answer, and no request gets a 5xx.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![cfg(feature = "cluster")]

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::settings::Settings;
use sidecar_injector::server::{ServerLimits, router};
use sidecar_injector::state::{Trust, Webhook};
use tower::ServiceExt as _;

const REVIEW: &str = include_str!("reviews/deployment-pod.json");

fn new(settings: Settings) -> Arc<Webhook> {
    Arc::new(Webhook::new(settings, Trust::default()))
}

fn webhook() -> Arc<Webhook> {
    let webhook = new(Settings::default());
    webhook.catalog.store(Arc::new(Some(Catalog::new([], BTreeMap::new()))));
    webhook
}

async fn post_to(
    webhook: Arc<Webhook>,
    content_type: &str,
    body: impl Into<Body>,
) -> (StatusCode, Bytes, Option<String>) {
    let request = Request::post("/mutate?timeout=5s").header("content-type", content_type).body(body.into());
    let response =
        router(webhook, ServerLimits::default()).oneshot(request.expect("a request")).await.expect("an answer");
    let retry = response.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    (response.status(), response.into_body().collect().await.expect("a body").to_bytes(), retry)
}

async fn status(body: impl Into<Body>) -> StatusCode {
    post_to(webhook(), "application/json", body).await.0
}

async fn denial(body: String) -> String {
    let (status, answer, _) = post_to(webhook(), "application/json", body).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    assert_eq!(answer["response"]["status"]["code"], 403);
    answer["response"]["status"]["message"].as_str().expect("a message").to_owned()
}

/// The captured review with the value at `pointer` replaced.
fn with(pointer: &str, value: Value) -> String {
    let mut review: Value = serde_json::from_str(REVIEW).expect("JSON");
    *review.pointer_mut(pointer).expect("there") = value;
    review.to_string()
}

#[tokio::test]
async fn bodies_that_are_not_reviews_get_a_4xx() {
    for body in
        ["", "hello", "7", "[]", "{}", "null", "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}"]
    {
        assert_eq!(status(body).await, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(status(REVIEW.replace("admission.k8s.io/v1", "admission.k8s.io/v9")).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(with("/request/uid", "".into())).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(&REVIEW[..REVIEW.len() / 2]).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(b"{\"kind\":\"\xff\xfe\"}".to_vec()).await, StatusCode::BAD_REQUEST);
    assert_eq!(status("[".repeat(10_000)).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).await, StatusCode::BAD_REQUEST);
    assert_eq!(status(vec![b' '; 8 * 1024 * 1024]).await, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post_to(webhook(), "text/plain", REVIEW).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(post_to(webhook(), "application/json; charset=utf-8", REVIEW).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_invalid_pod_is_denied_with_the_error() {
    for (pointer, value, part) in [
        ("/request/object", Value::Null, "no object"),
        ("/request/object", 7.into(), "the object is not a pod"),
        ("/request/object/spec", Value::Null, "the pod has no spec"),
        ("/request/object/spec/containers", "none".into(), "expected a sequence"),
        ("/request/object/spec/containers", Value::Null, "the pod's spec has no containers"),
        ("/request/object/metadata/annotations", 1.into(), "expected a map of strings"),
        ("/request/object/metadata/annotations/sidecar.io~1inject", true.into(), "expected a string"),
    ] {
        let message = denial(with(pointer, value)).await;
        assert!(message.contains(part) && message.ends_with("[InvalidPod]"), "{message}");
    }
}

#[tokio::test]
async fn before_the_first_sync_the_api_server_is_asked_to_retry() {
    let (status, _, retry) = post_to(new(Settings::default()), "application/json", REVIEW).await;
    assert_eq!((status, retry.as_deref()), (StatusCode::SERVICE_UNAVAILABLE, Some("1")));
}

#[tokio::test]
async fn the_uid_is_echoed_and_unknown_templates_are_denied() {
    let review: Value = serde_json::from_str(REVIEW).expect("JSON");
    let (_, answer, _) = post_to(webhook(), "application/json", REVIEW).await;
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    let message = denial(REVIEW.to_owned()).await;
    assert!(
        message.ends_with("[UnknownTemplate]") && message.contains("spec.template.metadata.annotations"),
        "{message}"
    );
}

/// Sends a body with a method to a path. Returns the status and the body of the answer.
async fn sent(method: &str, path: &str, body: &str, settings: Settings) -> (StatusCode, String) {
    let webhook = new(settings);
    webhook.catalog.store(Arc::new(Some(Catalog::new([], BTreeMap::new()))));
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = router(Arc::clone(&webhook), ServerLimits::default()).oneshot(request).await.expect("an answer");
    let status = response.status();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    let page = webhook.metrics.text();
    let decided = page.lines().any(|line| line.starts_with("sidecar_injector_admission_requests_total{"));
    assert_eq!(decided, status == StatusCode::OK, "only answers are counted as decisions: {page}");
    (status, String::from_utf8(bytes.to_vec()).expect("text"))
}

#[tokio::test]
async fn v1beta1_reviews_get_v1beta1_answers() {
    let old = REVIEW.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1");
    let (status, answer) = sent("POST", "/mutate", &old, Settings::default()).await;
    assert_eq!(status, StatusCode::OK);
    let (_, new) = sent("POST", "/mutate", REVIEW, Settings::default()).await;
    assert_eq!(answer, new.replace("admission.k8s.io/v1", "admission.k8s.io/v1beta1"));
}

#[tokio::test]
async fn unknown_paths_and_methods_get_the_valid_ones() {
    for (method, path, expected, part) in [
        ("POST", "/", StatusCode::NOT_FOUND, "/mutate/policy"),
        ("POST", "/mutate/pods", StatusCode::NOT_FOUND, "/mutate/policy"),
        ("GET", "/mutate", StatusCode::METHOD_NOT_ALLOWED, "POST"),
        ("PUT", "/validate/templates", StatusCode::METHOD_NOT_ALLOWED, "POST"),
    ] {
        let (status, body) = sent(method, path, REVIEW, Settings::default()).await;
        assert!(status == expected && body.contains(part), "{method} {path}: {status} {body}");
    }
}

#[tokio::test]
async fn observe_mode_decides_and_changes_nothing() {
    let settings = Settings { observe: true, ..Settings::default() };
    let (status, answer) = sent("POST", "/mutate", REVIEW, settings).await;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(status, StatusCode::OK);
    let response = answer["response"].as_object().expect("an object");
    assert_eq!(response.keys().collect::<Vec<_>>(), ["uid", "allowed"]);
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn audit_annotations_are_sent_only_in_the_first_round() {
    let audit = async |body: &str| {
        let (_, answer) = sent("POST", "/mutate", body, Settings::default()).await;
        serde_json::from_str::<Value>(&answer).expect("JSON")["response"]["auditAnnotations"].clone()
    };
    assert_eq!(audit(REVIEW).await, serde_json::json!({"decision": "Denied", "reason": "UnknownTemplate"}));
    let annotations = "/request/object/metadata/annotations";
    let again = with(annotations, serde_json::json!({"sidecar.io/inject": "x", "sidecar.io/status": "{}"}));
    assert_eq!(
        audit(&again).await,
        Value::Null,
        "the API server reports a value that changes in the second round as an error"
    );
    assert_eq!(audit(&with(annotations, serde_json::json!({}))).await, Value::Null);
}

#[tokio::test]
async fn a_dry_run_that_requests_the_trace_is_denied_with_it() {
    let trace = serde_json::json!({"sidecar.io/inject": "x", "sidecar.io/trace": "true"});
    let traced = with("/request/object/metadata/annotations", trace);
    let dry_run = traced.replace("\"dryRun\":false", "\"dryRun\":true");
    assert_ne!(traced, dry_run, "the captured review has the field dryRun");
    let message = denial(dry_run.clone()).await;
    for part in
        ["  NotAPodCreate      no   CREATE of pods\n", "  UnknownTemplate    yes  ", "=> Denied [UnknownTemplate]: "]
    {
        assert!(message.contains(part), "{message}");
    }
    assert!(denial(traced).await.ends_with("[UnknownTemplate]"), "only for dry runs");
    let silent = dry_run.replace("\"sidecar.io/inject\":\"x\",", "");
    assert!(denial(silent).await.contains("NotRequested       yes"), "also if no template is requested");
    let many = (0..32).map(|n| format!("name-{n}-{}", "x".repeat(50))).collect::<Vec<_>>().join(",");
    let long =
        denial(dry_run.replace("\"sidecar.io/inject\":\"x\"", &format!("\"sidecar.io/inject\":\"{many}\""))).await;
    assert!(
        long.len() <= 16 * 1024 && long.contains('…') && long.contains("\n=> Denied [UnknownTemplate]: "),
        "{}",
        long.len()
    );
}
