//! A client that calls a webhook in the same way as the API server. It keeps connections, and does the checks of
//! `admission/plugin/webhook/request/admissionreview.go`. It applies patches according to RFC 6902 and decodes the
//! typed pod. It starts a second round on the pod with defaults and the token of the service account.

use std::net::SocketAddr;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::tls_client::TlsClient;

/// The API server keeps this many idle connections to a webhook.
const IDLE: usize = 25;

/// Calls one webhook.
pub(crate) struct Caller {
    address: SocketAddr,
    authority: String,
    idle: Mutex<Vec<TlsClient>>,
}

/// An admitted pod.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The pod after the patch.
    pub(crate) pod: Value,
    /// True if the answer has a patch.
    pub(crate) patched: bool,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, authority: &str) -> Self {
        Self { address, authority: authority.to_owned(), idle: Mutex::default() }
    }

    /// Calls the webhook with both versions of the review. Both answers must be the same. Returns the pod, or the
    /// message of the denial.
    pub(crate) fn call(&self, path: &str, review: &Value) -> Result<Admitted, String> {
        let mut old = review.clone();
        old["apiVersion"] = json!("admission.k8s.io/v1beta1");
        let answers = [review, &old].map(|review| self.post(path, review));
        assert_eq!(answers[0]["response"], answers[1]["response"], "both versions get the same answer");
        let admitted = check(review, &answers[0])?;
        self.second_round(path, review, &admitted);
        Ok(admitted)
    }

    /// Calls the webhook again with the pod, the defaults of the API server and the mount of the token.
    fn second_round(&self, path: &str, review: &Value, admitted: &Admitted) {
        if !admitted.patched {
            return;
        }
        // If the API server cannot decode the pod, it returns a 500, whatever the failurePolicy is.
        let typed: Result<Pod, _> = serde_json::from_value(admitted.pod.clone());
        let was_typed = serde_json::from_value::<Pod>(review["request"]["object"].clone()).is_ok();
        assert!(typed.is_ok() || !was_typed, "{typed:?}: {}", admitted.pod);
        let mut again = review.clone();
        again["request"]["uid"] = json!("second-round");
        again["request"]["object"] = defaulted(admitted.pod.clone());
        let answer = self.post(path, &again);
        match check(&again, &answer) {
            Ok(second) => {
                let pod = &again["request"]["object"];
                assert!(!second.patched, "a second round adds something: {answer}\nto {pod}");
            }
            Err(denial) => panic!("the second round denies a pod that the first round admitted: {denial}"),
        }
    }

    /// Sends a review over a kept connection or a new one. Returns the answer.
    pub(crate) fn post(&self, path: &str, review: &Value) -> Value {
        let mut client = self.take();
        let answer = client.call(path, &review.to_string()).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.headers.contains("content-type: application/json"), "{}", answer.headers);
        assert!(!answer.headers.contains("content-encoding"), "{}", answer.headers);
        if !answer.headers.contains("connection: close") {
            self.keep(client);
        }
        let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
        check_strictly(review, &answer);
        answer
    }

    /// Takes a kept connection, or creates one.
    pub(crate) fn take(&self) -> TlsClient {
        let kept = self.idle.lock().expect("unpoisoned").pop();
        kept.unwrap_or_else(|| TlsClient::connect(self.address, &self.authority).expect("connect"))
    }

    /// Keeps a connection, up to the maximum number.
    pub(crate) fn keep(&self, client: TlsClient) {
        let mut idle = self.idle.lock().expect("unpoisoned");
        if idle.len() < IDLE {
            idle.push(client);
        }
    }

    /// The number of kept connections.
    pub(crate) fn kept(&self) -> usize {
        self.idle.lock().expect("unpoisoned").len()
    }
}

/// Checks that the answer is valid for the API server, and that it would not truncate any part of it.
fn check_strictly(review: &Value, answer: &Value) {
    let response = &answer["response"];
    assert_eq!(answer["apiVersion"], review["apiVersion"]);
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert!(response["allowed"].is_boolean(), "{answer}");
    assert_eq!(response["patch"].is_null(), response["patchType"].is_null(), "both or neither: {answer}");
    assert!(response["patchType"].is_null() || response["patchType"] == "JSONPatch");
    let known = ["uid", "allowed", "status", "patch", "patchType", "warnings", "auditAnnotations"];
    let keys = response.as_object().expect("an object").keys();
    assert!(keys.clone().all(|key| known.contains(&key.as_str())), "{keys:?}");
    let warnings: Vec<&str> =
        response["warnings"].as_array().into_iter().flatten().map(|w| w.as_str().expect("text")).collect();
    assert!(warnings.iter().all(|w| w.chars().count() <= 120 && !w.contains(char::is_control)), "{warnings:?}");
    assert!(warnings.iter().map(|w| w.chars().count()).sum::<usize>() <= 4096, "{warnings:?}");
    for (key, value) in response["auditAnnotations"].as_object().into_iter().flatten() {
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()) && value.is_string(), "{key}: {value}");
    }
}

/// Applies the answer in the same way as the API server.
fn check(review: &Value, answer: &Value) -> Result<Admitted, String> {
    let response = &answer["response"];
    if response["allowed"] == false {
        let status = &response["status"];
        assert!(status["code"].as_u64().is_some_and(|code| (400..600).contains(&code)), "{status}");
        assert!(response["patch"].is_null(), "a denial has no patch");
        let message = status["message"]
            .as_str()
            .expect("a message, because the API server shows \"without explanation\" without one");
        return Err(message.to_owned());
    }
    assert!(response["status"].is_null(), "an allowed pod has no status");
    let mut pod = review["request"]["object"].clone();
    let Some(patch) = response["patch"].as_str() else { return Ok(Admitted { pod, patched: false }) };
    let patch = STANDARD.decode(patch).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
    assert!(!patch.0.is_empty(), "an empty patch is an error in the API server");
    json_patch::patch(&mut pod, &patch).expect("a patch that does not apply is a 500 whatever the failurePolicy");
    Ok(Admitted { pod, patched: true })
}

/// Adds the defaults of the API server and the token of the service account to the containers.
fn defaulted(mut pod: Value) -> Value {
    let token = json!({"name": "kube-api-access-x", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    for list in ["containers", "initContainers"] {
        for container in
            pod["spec"][list].as_array_mut().into_iter().flatten().filter(|container| container.is_object())
        {
            for (field, value) in [
                ("imagePullPolicy", json!("IfNotPresent")),
                ("terminationMessagePath", json!("/dev/termination-log")),
                ("terminationMessagePolicy", json!("File")),
                ("resources", json!({})),
            ] {
                if container[field].is_null() {
                    container[field] = value;
                }
            }
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if port["protocol"].is_null() {
                    port["protocol"] = json!("TCP");
                }
            }
            match container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                Some(mounts) => mounts.push(token.clone()),
                None => container["volumeMounts"] = json!([token]),
            }
        }
    }
    let volume = json!({"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": []}});
    match pod["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
    pod
}
