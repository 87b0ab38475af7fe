//! One scenario's own corner of the run: a namespace, a folder, webhook processes, and the webhook
//! configurations that lead the API server to them.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::thread;

use serde_json::{Value, json};

use crate::bed::Bed;
use crate::objects::{names, pod};
use crate::support::cluster::{Cluster, Refusal};
use crate::support::endpoint::Endpoint;
use crate::support::wait;
use crate::support::webhook::{Source, Webhook};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// What a scenario works with.
pub(crate) struct Scenario<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    configurations: RefCell<Vec<String>>,
}

impl<'a> Scenario<'a> {
    /// Makes the namespace, named after the scenario.
    pub(crate) fn new(bed: &'a Bed, name: &str) -> Self {
        let mut namespace = name.replace('_', "-");
        namespace.truncate(50);
        let namespace = namespace.trim_end_matches('-').to_owned();
        let folder = bed.folder().join(&namespace);
        fs::create_dir_all(&folder).expect("make the scenario's folder");
        let scenario = Self { bed, namespace, folder, configurations: RefCell::default() };
        scenario.cluster().create_namespace(&scenario.namespace);
        scenario
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.bed.control_plane.cluster
    }

    /// Starts our binary with these template files.
    pub(crate) fn serve(&self, name: &str, templates: &[(&str, &str)]) -> Webhook {
        let folder = self.folder.join(format!("{name}-templates"));
        fs::create_dir_all(&folder).expect("make the template folder");
        for (file, text) in templates {
            fs::write(folder.join(file), text).expect("write a template");
        }
        Webhook::start(&Source::Files(folder), &self.folder, name)
    }

    /// An endpoint of the test's own; see [`Endpoint::start`].
    pub(crate) fn endpoint(&self, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Endpoint {
        Endpoint::start(self.bed.runtime.handle(), answer)
    }

    /// Tells the API server to send pods of this namespace to these hooks, in this order. Takes
    /// effect after a moment: see [`Self::until_injected`].
    pub(crate) fn register(&self, hooks: &[Hook]) {
        let webhooks: Vec<Value> = hooks.iter().map(|hook| hook.in_namespace(&self.namespace)).collect();
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self.namespace},
            "webhooks": webhooks,
        });
        let path = format!("{CONFIGURATIONS}/{}", self.namespace);
        if let Ok(existing) = self.cluster().get(&path) {
            let mut configuration = configuration;
            configuration["metadata"]["resourceVersion"] = existing["metadata"]["resourceVersion"].clone();
            self.cluster().replace(&path, &configuration).expect("replace the webhook configuration");
        } else {
            self.cluster().create(CONFIGURATIONS, &configuration).expect("create the webhook configuration");
            self.configurations.borrow_mut().push(path);
        }
    }

    /// Starts our binary with `fluent-bit` and `vault-agent` as the only hook, in effect.
    pub(crate) fn injector(&self) -> Webhook {
        use crate::templates::{FLUENT_BIT, VAULT_AGENT};
        let webhook = self.serve("webhook", &[("fluent-bit.yaml", FLUENT_BIT), ("vault-agent.yaml", VAULT_AGENT)]);
        self.register(&[Hook::ours(&webhook)]);
        self.until_injected();
        webhook
    }

    /// Waits until a pod that asks for `fluent-bit` gets it.
    pub(crate) fn until_injected(&self) {
        wait::until("the webhook configuration to take effect", || {
            let pod = self.dry_run(&pod("probe", Some("fluent-bit"))).map_err(|refusal| refusal.to_string())?;
            if names(&pod, "initContainers").contains(&"fluent-bit") { Ok(()) } else { Err(pod.to_string()) }
        });
    }

    /// The path of a kind of object in this namespace: `/api/v1` and `pods`.
    pub(crate) fn path(&self, api: &str, resource: &str) -> String {
        format!("{api}/namespaces/{}/{resource}", self.namespace)
    }

    /// Creates a pod.
    pub(crate) fn create(&self, pod: &Value) -> Result<Value, Refusal> {
        self.cluster().create(&self.path("/api/v1", "pods"), pod)
    }

    /// Has the API server do everything but store it.
    pub(crate) fn dry_run(&self, pod: &Value) -> Result<Value, Refusal> {
        self.cluster().create(&format!("{}?dryRun=All", self.path("/api/v1", "pods")), pod)
    }

    /// The pods that are stored in this namespace.
    pub(crate) fn stored(&self) -> Vec<Value> {
        let list = self.cluster().get(&self.path("/api/v1", "pods")).expect("list pods");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Scenario<'_> {
    fn drop(&mut self) {
        // Its processes end with it, and a configuration that leads nowhere helps nobody.
        for path in self.configurations.take() {
            let _ = self.cluster().delete(&path);
        }
        if thread::panicking() {
            eprintln!("logs of {}: {}", self.namespace, self.folder.display());
        }
    }
}

/// One webhook of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Hook(Value);

impl Hook {
    /// Our webhook as a user would register it.
    pub(crate) fn ours(webhook: &Webhook) -> Self {
        Self::new("inject.sidecar.io", &webhook.url(), &webhook.authority)
    }

    /// Somebody else's.
    pub(crate) fn theirs(name: &str, endpoint: &Endpoint) -> Self {
        Self::new(name, &endpoint.url(), &endpoint.authority)
    }

    pub(crate) fn new(name: &str, url: &str, authority: &str) -> Self {
        use base64::{Engine, engine::general_purpose::STANDARD};
        Self(json!({
            "name": name,
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(authority)},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"], "scope": "Namespaced"}],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "admissionReviewVersions": ["v1"],
        }))
    }

    /// With one field set to something else.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }

    /// Only for pods of that namespace: scenarios run side by side.
    fn in_namespace(&self, namespace: &str) -> Value {
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        self.clone().with("namespaceSelector", selector).0
    }
}
