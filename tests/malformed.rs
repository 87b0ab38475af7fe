//! Reviews with an error in one place, each with the expected answer: `tests/malformed.txt` has one line for each case
//! (`UPDATE_GOLDEN=1` writes it again; read the difference). Each answer is a 400, or names the error in the pod, or,
//! if the error does not matter, is the answer to a valid review. There must be no 5xx and no panic.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "cluster")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::settings::Settings;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::template::Template;
use sidecar_injector::server::{ServerLimits, router};
use sidecar_injector::state::{Trust, Webhook};
use tower::ServiceExt as _;

const TEMPLATE: &str = "
sidecars: [{name: a, image: 'a:1', ports: [{containerPort: 9000}], volumeMounts: [{name: a-v, mountPath: /a}]}]
volumes: [{name: a-v, emptyDir: {}}]
appContainers: [{env: [{name: A, value: a}], appendEnv: [{name: B, value: b}]}]
pod: {terminationGracePeriodSeconds: 60, securityContext: {fsGroup: 1}}
";

/// JSON pointers to the values that are changed.
const POINTERS: [&str; 34] = [
    "/apiVersion",
    "/kind",
    "/request",
    "/request/uid",
    "/request/resource",
    "/request/resource/group",
    "/request/resource/resource",
    "/request/subResource",
    "/request/namespace",
    "/request/operation",
    "/request/dryRun",
    "/request/object",
    "/request/object/metadata",
    "/request/object/metadata/name",
    "/request/object/metadata/labels",
    "/request/object/metadata/labels/app",
    "/request/object/metadata/annotations",
    "/request/object/metadata/annotations/sidecar.io~1inject",
    "/request/object/metadata/annotations/sidecar.io~1status",
    "/request/object/metadata/ownerReferences",
    "/request/object/metadata/ownerReferences/0",
    "/request/object/spec",
    "/request/object/spec/containers",
    "/request/object/spec/containers/0",
    "/request/object/spec/containers/0/name",
    "/request/object/spec/containers/0/env",
    "/request/object/spec/containers/0/env/0",
    "/request/object/spec/containers/0/ports",
    "/request/object/spec/containers/0/ports/0/containerPort",
    "/request/object/spec/initContainers",
    "/request/object/spec/volumes",
    "/request/object/spec/volumes/0",
    "/request/object/spec/hostNetwork",
    "/request/object/spec/securityContext",
];

fn valid_review() -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": "",
            "namespace": "shop", "operation": "CREATE", "dryRun": false,
            "object": {
                "kind": "Pod", "apiVersion": "v1",
                "metadata": {
                    "name": "web", "labels": {"app": "web"},
                    "annotations": {"sidecar.io/inject": "a", "sidecar.io/status": "{}"},
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "web"}],
                },
                "spec": {
                    "containers": [{"name": "web", "image": "w", "env": [{"name": "B", "value": "x"}], "ports": [{"containerPort": 80}]}],
                    "initContainers": [{"name": "i", "image": "i"}],
                    "volumes": [{"name": "own", "emptyDir": {}}],
                    "hostNetwork": false, "securityContext": {},
                },
            },
        },
    })
}

/// Returns the name and the body of each case.
fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for place in POINTERS {
        for wrong in [json!(null), json!(7), json!(-1), json!("x"), json!([]), json!([1]), json!({}), json!(true)] {
            let mut review = valid_review();
            *review.pointer_mut(place).expect("a pointer into the valid review") = wrong.clone();
            cases.push((format!("{place} = {wrong}"), review.to_string().into_bytes()));
        }
        let mut review = valid_review();
        let (parent, last) = place.rsplit_once('/').expect("a pointer");
        let parent = review.pointer_mut(parent).expect("a parent");
        let key = last.replace("~1", "/");
        match parent {
            Value::Object(members) => drop(members.remove(&key)),
            Value::Array(items) => drop(items.remove(key.parse().expect("an index"))),
            _ => {}
        }
        cases.push((format!("{place} missing"), review.to_string().into_bytes()));
    }
    let text = valid_review().to_string();
    for at in (0..text.len()).step_by(text.len() / 24) {
        cases.push((format!("cut after {at} bytes"), text.as_bytes()[..at].to_vec()));
    }
    let annotation = |value: &str| text.replace("\"sidecar.io/inject\":\"a\"", value).into_bytes();
    let more: [(&str, Vec<u8>); 14] = [
        (
            "a duplicate key, the last one applies",
            annotation("\"sidecar.io/inject\":\"a\",\"sidecar.io/inject\":\"b\""),
        ),
        ("an escaped key", annotation("\"sidecar.io\\/inject\":\"a\"")),
        ("a lone surrogate", annotation("\"sidecar.io/inject\":\"\\ud800\"")),
        ("a NUL", annotation("\"sidecar.io/inject\":\"a\\u0000\"")),
        ("an unescaped control character", annotation("\"sidecar.io/inject\":\"a\n\"")),
        ("invalid UTF-8 at the end", [text.as_bytes(), b"\xff"].concat()),
        (
            "invalid UTF-8 in a string",
            annotation("\"sidecar.io/inject\":\"a\",\"x\":\"\u{fffd}\"")
                .iter()
                .map(|b| if *b == 0xef { 0xff } else { *b })
                .collect(),
        ),
        ("a byte order mark", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
        ("two reviews", [text.as_bytes(), text.as_bytes()].concat()),
        ("a comment", [b"/* */", text.as_bytes()].concat()),
        ("a trailing comma", [&text.as_bytes()[..text.len() - 1], b",}"].concat()),
        (
            "deep nesting in a field that is not read",
            text.replace("\"image\":\"w\"", &format!("\"image\":{}1{}", "[".repeat(500), "]".repeat(500))).into_bytes(),
        ),
        (
            "deep nesting in a field that is read",
            text.replace("\"env\":[", &format!("\"env\":{}", "[".repeat(500))).into_bytes(),
        ),
        ("a number that is too large", text.replace("\"containerPort\":80", "\"containerPort\":1e999").into_bytes()),
    ];
    cases.extend(more.map(|(name, body)| (name.to_owned(), body)));
    cases
}

/// Sends the body. Returns the answer as one line.
async fn outcome(webhook: &Arc<Webhook>, body: Vec<u8>) -> String {
    let request = Request::post("/mutate?timeout=5s").header("content-type", "application/json");
    let request = request.body(Body::from(body)).expect("a request");
    let response = router(Arc::clone(webhook), ServerLimits::default()).oneshot(request).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(!status.is_server_error(), "{status}");
    if status != 200 {
        return status.as_u16().to_string();
    }
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    let response = &answer["response"];
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert!(message.len() <= 1_000, "{message}");
    match (response["allowed"].as_bool(), response["patch"].is_string()) {
        (Some(true), true) => "injected".to_owned(),
        (Some(true), false) => "unchanged".to_owned(),
        (Some(false), false) => format!("denied {}", message.rsplit(' ').next().unwrap_or_default()),
        other => panic!("{other:?}: {answer}"),
    }
}

#[tokio::test]
async fn each_case_gets_the_expected_answer() {
    let webhook = Arc::new(Webhook::new(Settings::default(), Trust::default()));
    let template = Template::load(&Source::new("t", TEMPLATE), "a", &Keys::default()).expect("a template").template;
    webhook.catalog.store(Arc::new(Some(Catalog::new([Arc::new(template)], BTreeMap::new()))));
    assert_eq!(outcome(&webhook, valid_review().to_string().into_bytes()).await, "injected");
    let (mut found, cases) = (String::new(), cases());
    assert!(cases.len() >= 300);
    for (name, body) in cases {
        let _ = writeln!(found, "{name}: {}", outcome(&webhook, body).await);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &found).expect("writable");
    }
    let expected = fs::read_to_string(file).expect("tests/malformed.txt");
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}
