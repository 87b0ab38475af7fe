//! Reads and writes the authorities that the API server trusts: `caBundle` of every webhook in our configurations.
//!
//! This module does not know where authorities come from.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

/// The kinds of configurations. A mutating and a validating configuration can have the same name.
const KINDS: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// The webhook configurations with given names.
#[derive(Clone)]
pub(super) struct Configurations {
    apis: Vec<(Api<DynamicObject>, ApiResource)>,
    names: Vec<String>,
}

impl Configurations {
    /// Returns the mutating and validating configurations with these names.
    pub(super) fn new(client: &Client, names: &[String]) -> Self {
        let api = |kind: &&str| {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
            (Api::all_with(client.clone(), &resource), resource)
        };
        Self { apis: KINDS.iter().map(api).collect(), names: names.to_vec() }
    }

    /// Returns each kind and name, for watches.
    pub(super) fn each(&self) -> impl Iterator<Item = (&Api<DynamicObject>, &ApiResource, &str)> {
        self.apis.iter().flat_map(|(api, kind)| self.names.iter().map(move |name| (api, kind, name.as_str())))
    }

    /// Reads the bundles of all webhooks, PEM. A configuration that does not exist has none.
    pub(super) async fn read(&self) -> Result<Vec<String>, kube::Error> {
        let mut bundles = Vec::new();
        for (api, _, name) in self.each() {
            if let Some(found) = api.get_opt(name).await? {
                bundles.extend(webhooks(&found.data).map(bundle));
            }
        }
        Ok(bundles)
    }

    /// Writes `bundle` (PEM) to `caBundle` of all webhooks. Other fields do not change.
    pub(super) async fn publish(&self, bundle: &str) -> Result<(), kube::Error> {
        let text = STANDARD.encode(bundle);
        for (api, _, name) in self.each() {
            let Some(found) = api.get_opt(name).await? else { continue };
            let trusting = |webhook: &Value| json!({"name": webhook["name"], "clientConfig": {"caBundle": text}});
            let webhooks: Vec<Value> = webhooks(&found.data).map(trusting).collect();
            let patch = Patch::Strategic(json!({"webhooks": webhooks}));
            let params = PatchParams { field_manager: Some("sidecar-injector".to_owned()), ..PatchParams::default() };
            api.patch(name, &params, &patch).await?;
        }
        Ok(())
    }
}

fn webhooks(data: &Value) -> impl Iterator<Item = &Value> {
    data["webhooks"].as_array().into_iter().flatten()
}

fn bundle(webhook: &Value) -> String {
    let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    String::from_utf8_lossy(&STANDARD.decode(text).unwrap_or_default()).into_owned()
}
