//! A client of the API server that speaks plain JSON.
//!
//! Pods are `serde_json::Value` from first to last: typed structs would drop exactly the fields whose
//! survival is to be proved. Calls block, so that scenarios read from top to bottom.

use std::fmt;
use std::sync::Arc;

use hyper::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::wait;

/// Checks a write before it is sent: its path and its body (null without one).
type Rule = Arc<dyn Fn(&str, &Value) -> Result<(), String> + Send + Sync>;

/// An API server and the right to do anything there.
#[derive(Clone)]
pub(crate) struct Cluster {
    runtime: Handle,
    client: Client,
    rule: Option<Rule>,
}

/// An answer of the API server other than success.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl Cluster {
    /// A client with the credentials of a kubeconfig (text, YAML or JSON).
    pub(crate) fn connect(runtime: Handle, kubeconfig: &str) -> Result<Self, String> {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig).map_err(|error| error.to_string())?;
        let options = KubeConfigOptions::default();
        let config = runtime.block_on(Config::from_custom_kubeconfig(kubeconfig, &options));
        Self::with_config(runtime, config.map_err(|error| error.to_string())?)
    }

    /// A client for an address whose certificate the given authority (PEM) has signed.
    pub(crate) fn at(runtime: Handle, address: &str, authority: &str) -> Result<Self, String> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut config = Config::new(address.parse().map_err(|_| format!("not an address: {address}"))?);
        let authorities = CertificateDer::pem_slice_iter(authority.as_bytes());
        let authorities: Result<Vec<_>, _> = authorities.map(|der| der.map(|der| der.to_vec())).collect();
        config.root_cert = Some(authorities.map_err(|error| error.to_string())?);
        Self::with_config(runtime, config)
    }

    fn with_config(runtime: Handle, mut config: Config) -> Result<Self, String> {
        // What a scenario sees is the first answer, not the outcome of retries.
        config.default_retry = false;
        let inside = runtime.enter();
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        drop(inside);
        Ok(Self { runtime, client, rule: None })
    }

    /// A copy whose writes must obey `rule`. A write that does not is a mistake in the test: it panics and is not sent.
    pub(crate) fn with_rule(&self, rule: impl Fn(&str, &Value) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { rule: Some(Arc::new(rule)), ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send("GET", path, "application/json", &Value::Null)
    }

    pub(crate) fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.write("POST", path, "application/json", object)
    }

    pub(crate) fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.write("PUT", path, "application/json", object)
    }

    /// A strategic merge patch, as kubectl sends by default.
    pub(crate) fn patch(&self, path: &str, change: &Value) -> Result<Value, ApiError> {
        self.write("PATCH", path, "application/strategic-merge-patch+json", change)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.write("DELETE", path, "application/json", &Value::Null)
    }

    /// What a path answers as plain text, such as a log.
    pub(crate) fn text(&self, path: &str) -> Result<String, ApiError> {
        let refused = |message: String| ApiError { code: 0, message };
        let request = Request::get(path).body(Vec::new()).map_err(|error| refused(error.to_string()))?;
        self.runtime.block_on(self.client.request_text(request)).map_err(|error| refused(error.to_string()))
    }

    /// Creates an object; the warnings that come with the answer.
    pub(crate) fn warnings(&self, path: &str, object: &Value) -> Result<Vec<String>, ApiError> {
        self.check("POST", path, object);
        let refused = |message: String| ApiError { code: 0, message };
        let request =
            Request::post(path).header("content-type", "application/json").body(object.to_string().into_bytes());
        let request = request.map_err(|error| refused(error.to_string()))?.map(kube::client::Body::from);
        let answer = self.runtime.block_on(self.client.send(request)).map_err(|error| refused(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(ApiError { code: answer.status().as_u16(), message: path.to_owned() });
        }
        let warnings = answer.headers().get_all("warning").iter();
        Ok(warnings.filter_map(|value| Some(value.to_str().ok()?.to_owned())).collect())
    }

    fn write(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Result<Value, ApiError> {
        self.check(method, path, body);
        self.send(method, path, content_type, body)
    }

    fn check(&self, method: &str, path: &str, body: &Value) {
        let objection = self.rule.as_ref().and_then(|rule| rule(path, body).err());
        assert!(objection.is_none(), "{method} {path}: {}", objection.unwrap_or_default());
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Result<Value, ApiError> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type).body(body);
        let request = request.map_err(|error| ApiError { code: 0, message: error.to_string() })?;
        self.runtime.block_on(self.client.request(request)).map_err(|error| match error {
            kube::Error::Api(status) => ApiError { code: status.code, message: status.message },
            other => ApiError { code: 0, message: format!("{method} {path}: {other}") },
        })
    }

    /// Whether the API server says that it is ready.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.text("/readyz").map(drop).map_err(|error| error.to_string())
    }

    /// The version it reports, such as `v1.36.3`.
    pub(crate) fn version(&self) -> Result<String, ApiError> {
        Ok(self.get("/version")?["gitVersion"].as_str().unwrap_or("unknown").to_owned())
    }

    /// Makes a namespace that pods can be created in: its default service account is there.
    pub(crate) fn create_namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &namespace).expect("create a namespace");
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        wait::until("the namespace's default service account", || self.get(&account).map_err(|r| r.to_string()));
    }
}
