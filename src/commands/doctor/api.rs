//! The API server as plain JSON: a doctor reads a few fields of many kinds, of any version.

use std::fmt;

use anyhow::Context as _;
use kube::Client;
use serde_json::Value;

/// A client of the API server.
pub(super) struct Api(Client);

/// An answer other than success.
#[derive(Debug)]
pub(super) struct ApiError {
    /// HTTP status; 0 if there was no answer.
    pub(super) code: u16,
    pub(super) message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Api {
    /// Connects as kubectl would, or as the pod's account.
    pub(super) async fn connect() -> anyhow::Result<Self> {
        let mut config = kube::Config::infer().await.context("failed to find a cluster (KUBECONFIG or in-cluster)")?;
        // What is told is the first answer, not the outcome of retries.
        config.default_retry = false;
        Ok(Self(Client::try_from(config).context("failed to make a client for the cluster")?))
    }

    pub(super) fn default_namespace(&self) -> &str {
        self.0.default_namespace()
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send("GET", path, Vec::new()).await
    }

    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.send("POST", path, object.to_string().into_bytes()).await
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Value, ApiError> {
        let request = hyper::Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(body).map_err(|error| ApiError { code: 0, message: error.to_string() })?;
        self.0.request(request).await.map_err(|error| match error {
            kube::Error::Api(status) => ApiError { code: status.code, message: status.message },
            other => ApiError { code: 0, message: format!("{method} {path}: {other}") },
        })
    }
}
