//! A running replica of the webhook: its flags and its account, read from its pod.
//!
//! It reads arguments of the form `--name=value`, which the chart writes. It does not connect to the replica.

use serde_json::Value;

use crate::commands::common::api::{Api, ApiError};
use crate::inject::settings::keys::Keys;

/// The pod of a replica.
pub(super) struct Replica {
    pub(super) namespace: String,
    pod: Value,
}

impl Replica {
    /// Returns one of the pods that the Service selects and that is not being deleted; `None` if there is none.
    pub(super) async fn find(api: &Api, namespace: &str, service: &str) -> Result<Option<Self>, ApiError> {
        let found = api.get(&format!("/api/v1/namespaces/{namespace}/services/{service}")).await?;
        let labels = found["spec"]["selector"].as_object().into_iter().flatten();
        let labels: Vec<String> =
            labels.map(|(key, value)| format!("{key}%3D{}", value.as_str().unwrap_or_default())).collect();
        if labels.is_empty() {
            return Ok(None);
        }
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", labels.join(","));
        let pods = api.get(&path).await?;
        let pods = pods["items"].as_array().into_iter().flatten().cloned();
        let mut replicas = pods.map(|pod| Self { namespace: namespace.to_owned(), pod });
        // A pod that is being deleted can have outdated flags.
        Ok(replicas.find(|replica| replica.flags().next() == Some("serve") && replica.is_active()))
    }

    fn is_active(&self) -> bool {
        self.pod["metadata"]["deletionTimestamp"].is_null()
    }

    /// Returns the arguments of the webhook's container.
    fn flags(&self) -> impl Iterator<Item = &str> {
        let containers = self.pod["spec"]["containers"].as_array().into_iter().flatten();
        let ours = containers.into_iter().find(|container| container["args"][0] == "serve");
        ours.and_then(|container| container["args"].as_array()).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Returns the value of a flag of the form `--name=value`.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.flags().find_map(|flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// Returns true if a flag without a value is set.
    pub(super) fn has_flag(&self, name: &str) -> bool {
        self.flags().any(|flag| flag.strip_prefix("--") == Some(name))
    }

    /// Returns the name of the service account.
    pub(super) fn account(&self) -> &str {
        self.pod["spec"]["serviceAccountName"].as_str().unwrap_or("default")
    }

    /// Returns the version in the label `app.kubernetes.io/version`.
    pub(super) fn version(&self) -> Option<&str> {
        self.pod["metadata"]["labels"]["app.kubernetes.io/version"].as_str()
    }

    /// Returns the keys of the installation; `None` if its flags do not set a valid prefix.
    pub(super) fn keys(&self) -> Option<Keys> {
        Keys::with_prefix(self.flag("annotation-prefix")?).ok()
    }

    /// Returns the name of the Secret with the certificate; `None` if it does not come from a Secret.
    pub(super) fn secret(&self) -> Option<&str> {
        let mounted = || {
            let volumes = self.pod["spec"]["volumes"].as_array()?;
            volumes.iter().find(|volume| volume["name"] == "tls")?["secret"]["secretName"].as_str()
        };
        self.flag("tls-secret").or_else(mounted)
    }

    #[cfg(test)]
    pub(super) fn with_args(args: &[&str]) -> Self {
        let pod = serde_json::json!({"spec": {"containers": [{"args": ["proxy"]}, {"args": args}]}});
        Self { namespace: "tools".to_owned(), pod }
    }
}
