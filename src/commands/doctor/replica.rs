//! A running replica of the webhook, as its pod tells of it: the flags it was started with and the account it runs as.

use serde_json::Value;

use crate::commands::doctor::api::{Api, ApiError};
use crate::inject::settings::keys::Keys;

/// The pod of a replica.
pub(super) struct Replica {
    pub(super) namespace: String,
    pod: Value,
}

impl Replica {
    /// One of the pods that the Service selects and that is to stay.
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
        // One that is on its way out has the flags of before.
        Ok(replicas.find(|replica| replica.flags().next() == Some("serve") && replica.is_to_stay()))
    }

    fn is_to_stay(&self) -> bool {
        self.pod["metadata"]["deletionTimestamp"].is_null()
    }

    /// The arguments of the container that is the webhook.
    fn flags(&self) -> impl Iterator<Item = &str> {
        let containers = self.pod["spec"]["containers"].as_array().into_iter().flatten();
        let ours = containers.into_iter().find(|container| container["args"][0] == "serve");
        ours.and_then(|container| container["args"].as_array()).into_iter().flatten().filter_map(Value::as_str)
    }

    /// The value of a flag that is written `--name=value`.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.flags().find_map(|flag| flag.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether it has a flag without a value.
    pub(super) fn has_flag(&self, name: &str) -> bool {
        self.flags().any(|flag| flag.strip_prefix("--") == Some(name))
    }

    pub(super) fn account(&self) -> &str {
        self.pod["spec"]["serviceAccountName"].as_str().unwrap_or("default")
    }

    /// The version that its labels say it runs.
    pub(super) fn version(&self) -> Option<&str> {
        self.pod["metadata"]["labels"]["app.kubernetes.io/version"].as_str()
    }

    /// The keys of its installation, where its flags say so.
    pub(super) fn keys(&self) -> Option<Keys> {
        Keys::with_prefix(self.flag("annotation-prefix")?).ok()
    }

    /// The Secret that its certificate comes from.
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
