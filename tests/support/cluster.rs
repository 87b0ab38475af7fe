//! A blocking client of the API server that uses plain JSON.
//!
//! Objects are `serde_json::Value`. Typed structs would drop unknown fields, and tests check that these are kept.

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

/// A client of an API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    runtime: Handle,
    client: Client,
    rule: Option<Rule>,
}

/// An error that the API server returned. The code is 0 for other errors.
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
    /// Creates a client with the credentials of a kubeconfig (YAML or JSON).
    pub(crate) fn connect(runtime: Handle, kubeconfig: &str) -> Result<Self, String> {
        let kubeconfig = Kubeconfig::from_yaml(kubeconfig).map_err(|error| error.to_string())?;
        let options = KubeConfigOptions::default();
        let config = runtime.block_on(Config::from_custom_kubeconfig(kubeconfig, &options));
        Self::with_config(runtime, config.map_err(|error| error.to_string())?)
    }

    /// Creates a client for an address. The authority (PEM) must have signed its certificate.
    pub(crate) fn at(runtime: Handle, address: &str, authority: &str) -> Result<Self, String> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        let mut config = Config::new(address.parse().map_err(|_| format!("invalid address: {address}"))?);
        let authorities = CertificateDer::pem_slice_iter(authority.as_bytes());
        let authorities: Result<Vec<_>, _> = authorities.map(|der| der.map(|der| der.to_vec())).collect();
        config.root_cert = Some(authorities.map_err(|error| error.to_string())?);
        Self::with_config(runtime, config)
    }

    fn with_config(runtime: Handle, mut config: Config) -> Result<Self, String> {
        // Without retries, a scenario gets the first answer.
        config.default_retry = false;
        let inside = runtime.enter();
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        drop(inside);
        Ok(Self { runtime, client, rule: None })
    }

    /// Returns a copy that checks writes with `rule`. A write that breaks the rule is an error in the test: it panics
    /// and is not sent.
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

    /// Sends a strategic merge patch, which is the default of kubectl.
    pub(crate) fn patch(&self, path: &str, change: &Value) -> Result<Value, ApiError> {
        self.write("PATCH", path, "application/strategic-merge-patch+json", change)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.write("DELETE", path, "application/json", &Value::Null)
    }

    /// Gets a path as plain text, for example a log.
    pub(crate) fn text(&self, path: &str) -> Result<String, ApiError> {
        let failure = |message: String| ApiError { code: 0, message };
        let request = Request::get(path).body(Vec::new()).map_err(|error| failure(error.to_string()))?;
        self.runtime.block_on(self.client.request_text(request)).map_err(|error| failure(error.to_string()))
    }

    /// Creates an object. Returns the warnings of the answer.
    pub(crate) fn warnings(&self, path: &str, object: &Value) -> Result<Vec<String>, ApiError> {
        self.check("POST", path, object);
        let failure = |message: String| ApiError { code: 0, message };
        let request =
            Request::post(path).header("content-type", "application/json").body(object.to_string().into_bytes());
        let request = request.map_err(|error| failure(error.to_string()))?.map(kube::client::Body::from);
        let answer = self.runtime.block_on(self.client.send(request)).map_err(|error| failure(error.to_string()))?;
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
        let violation = self.rule.as_ref().and_then(|rule| rule(path, body).err());
        assert!(violation.is_none(), "{method} {path}: {}", violation.unwrap_or_default());
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

    /// Checks that the API server is ready.
    pub(crate) fn ready(&self) -> Result<(), String> {
        self.text("/readyz").map(drop).map_err(|error| error.to_string())
    }

    /// The version of the API server, such as `v1.36.3`.
    pub(crate) fn version(&self) -> Result<String, ApiError> {
        Ok(self.get("/version")?["gitVersion"].as_str().unwrap_or("unknown").to_owned())
    }

    /// Creates a namespace and waits for its default service account, which pods need.
    pub(crate) fn create_namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.create("/api/v1/namespaces", &namespace).expect("create a namespace");
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        wait::until("the namespace's default service account", || self.get(&account).map_err(|r| r.to_string()));
    }
}
