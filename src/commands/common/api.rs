//! A client of the API server that uses plain JSON, since commands read only a few fields of many kinds.
//!
//! It does not depend on the types or the versions of objects.

use std::fmt;

use anyhow::Context as _;
use kube::Client;
use serde_json::Value;

/// A client of the API server.
pub(in crate::commands) struct Api(Client);

/// A response other than success.
#[derive(Debug)]
pub(in crate::commands) struct ApiError {
    /// The HTTP status; 0 if there was no response.
    pub(in crate::commands) code: u16,
    pub(in crate::commands) message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Api {
    /// Connects with the kubeconfig, or inside a cluster with the account of the pod. It does not send a request.
    ///
    /// # Errors
    /// If there is no valid configuration.
    pub(in crate::commands) async fn connect() -> anyhow::Result<Self> {
        let mut config = kube::Config::infer().await.context("failed to find a cluster (KUBECONFIG or in-cluster)")?;
        // Report the first response, not the result of retries.
        config.default_retry = false;
        Ok(Self(Client::try_from(config).context("failed to make a client for the cluster")?))
    }

    /// Returns the namespace of the kubeconfig or the pod.
    pub(in crate::commands) fn default_namespace(&self) -> &str {
        self.0.default_namespace()
    }

    /// Reads the object or list at a path.
    pub(in crate::commands) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send("GET", path, Vec::new()).await
    }

    /// Creates an object at a path, and returns it as the API server responds with it.
    pub(in crate::commands) async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
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
