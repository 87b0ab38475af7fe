//! A caller that behaves as the API server does and takes answers as strictly: one kept connection after the other, the
//! checks of `admission/plugin/webhook/request/admissionreview.go`, RFC 6902, the typed pod, and a second round on what
//! defaulting and the service account's token make of it.

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

/// What the API server makes of an answer.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The pod after the patch.
    pub(crate) pod: Value,
    /// Whether there was one.
    pub(crate) patched: bool,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, authority: &str) -> Self {
        Self { address, authority: authority.to_owned(), idle: Mutex::default() }
    }

    /// Calls in both versions of the review, which must be answered alike; the pod, or the error.
    pub(crate) fn call(&self, path: &str, review: &Value) -> Result<Admitted, String> {
        let mut old = review.clone();
        old["apiVersion"] = json!("admission.k8s.io/v1beta1");
        let answers = [review, &old].map(|review| self.post(path, review));
        assert_eq!(answers[0]["response"], answers[1]["response"], "both versions are answered alike");
        let admitted = check(review, &answers[0])?;
        self.second_round(path, review, &admitted);
        Ok(admitted)
    }

    /// The API server defaults what was added, mounts the token, and asks again.
    fn second_round(&self, path: &str, review: &Value, admitted: &Admitted) {
        if !admitted.patched {
            return;
        }
        // Typed as the API server's: what does not decode there is a 500 whatever the failurePolicy.
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
            Err(denial) => panic!("the second round refuses what the first admitted: {denial}"),
        }
    }

    /// Posts over a kept connection, or a new one; the answer as it came.
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
        strict(review, &answer);
        answer
    }

    /// Takes a kept connection, or makes one.
    pub(crate) fn take(&self) -> TlsClient {
        let kept = self.idle.lock().expect("unpoisoned").pop();
        kept.unwrap_or_else(|| TlsClient::connect(self.address, &self.authority).expect("connect"))
    }

    /// Keeps a connection, unless there are enough.
    pub(crate) fn keep(&self, client: TlsClient) {
        let mut idle = self.idle.lock().expect("unpoisoned");
        if idle.len() < IDLE {
            idle.push(client);
        }
    }

    /// How many connections are kept.
    pub(crate) fn kept(&self) -> usize {
        self.idle.lock().expect("unpoisoned").len()
    }
}

/// What makes an answer invalid to the API server, or is cut by it.
fn strict(review: &Value, answer: &Value) {
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

/// Applies the answer as the API server does.
fn check(review: &Value, answer: &Value) -> Result<Admitted, String> {
    let response = &answer["response"];
    if response["allowed"] == false {
        let status = &response["status"];
        assert!(status["code"].as_u64().is_some_and(|code| (400..600).contains(&code)), "{status}");
        assert!(response["patch"].is_null(), "a error changes nothing");
        let message = status["message"].as_str().expect("a message, or people read \"without explanation\"");
        return Err(message.to_owned());
    }
    assert!(response["status"].is_null(), "it is ignored where the pod is allowed");
    let mut pod = review["request"]["object"].clone();
    let Some(patch) = response["patch"].as_str() else { return Ok(Admitted { pod, patched: false }) };
    let patch = STANDARD.decode(patch).expect("base64");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
    assert!(!patch.0.is_empty(), "an empty patch is an error there");
    json_patch::patch(&mut pod, &patch).expect("a patch that does not apply is a 500 whatever the failurePolicy");
    Ok(Admitted { pod, patched: true })
}

/// What defaulting and the service account's plugin add to containers.
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
