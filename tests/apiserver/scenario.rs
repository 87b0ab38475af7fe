//! The environment of one scenario: a namespace, a folder, webhook processes, and the webhook configurations with which
//! the API server calls them.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use sidecar_injector::inject::cluster_version::ClusterVersion;

use crate::bed::Bed;
use crate::claims::{cluster_scoped, namespace};
use crate::objects::{names, pod};
use crate::support::cluster::{ApiError, Cluster};
use crate::support::endpoint::Endpoint;
use crate::support::wait;
use crate::support::webhook::{Source, Webhook};

/// The timeout of webhooks in seconds: the maximum that the API server accepts. On a busy machine, an answer can take
/// seconds. Only tests of timeouts use a shorter one.
pub(crate) const WEBHOOK_TIMEOUT: u32 = 30;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// The environment of one scenario.
pub(crate) struct Scenario<'a> {
    pub(crate) bed: &'a Bed,
    /// The scenario claims cluster-scoped names under this name.
    name: String,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    cluster: Cluster,
    configurations: RefCell<Vec<String>>,
}

impl<'a> Scenario<'a> {
    /// Creates the namespace of the scenario.
    pub(crate) fn new(bed: &'a Bed, name: &str) -> Self {
        Self::in_namespace(bed, name, namespace(name))
    }

    /// Creates another namespace. Returns the environment of the same scenario in it.
    pub(crate) fn elsewhere(&self, namespace: &str) -> Self {
        Self::in_namespace(self.bed, &self.name, namespace.to_owned())
    }

    fn in_namespace(bed: &'a Bed, name: &str, namespace: String) -> Self {
        let folder = bed.folder().join(&namespace);
        fs::create_dir_all(&folder).expect("create the folder of the scenario");
        let cluster = claiming(bed, name, &bed.control_plane.cluster);
        let scenario =
            Self { bed, name: name.to_owned(), namespace, folder, cluster, configurations: RefCell::default() };
        scenario.create_namespace(&scenario.namespace);
        scenario
    }

    /// A client with the rights of an administrator. It writes cluster-scoped objects only under names that this
    /// scenario has claimed.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Returns the same kind of client with the rights of another account.
    pub(crate) fn cluster_as(&self, token: &str) -> Cluster {
        let kubeconfig = self.bed.control_plane.kubeconfig.with_token(token).to_json().to_string();
        let cluster = Cluster::connect(self.bed.runtime.handle().clone(), &kubeconfig).expect("a client");
        claiming(self.bed, &self.name, &cluster)
    }

    /// Claims a cluster-scoped name for this scenario. `resource` is the plural of the path, such as `clusterroles`.
    ///
    /// # Panics
    /// If another scenario holds it.
    pub(crate) fn claim(&self, resource: &str, name: &str) {
        self.bed.claims.claim(&self.name, resource, name).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Claims the names of all cluster-scoped objects in `objects`. Each item has the path that creates the object.
    pub(crate) fn claim_all(&self, objects: &[(String, Value)]) {
        for (path, object) in objects {
            if let Some((resource, _)) = cluster_scoped(path) {
                self.claim(resource, object["metadata"]["name"].as_str().expect("a name"));
            }
        }
    }

    /// Claims the name of a cluster-scoped object and creates it.
    pub(crate) fn create_claimed(&self, path: &str, object: &Value) {
        self.claim_all(&[(path.to_owned(), object.clone())]);
        self.cluster().create(path, object).expect("create a cluster-scoped object");
    }

    /// Claims the name of another namespace and creates the namespace.
    pub(crate) fn create_namespace(&self, name: &str) {
        self.claim("namespaces", name);
        self.cluster().create_namespace(name);
    }

    /// Starts the webhook with these template files.
    pub(crate) fn serve(&self, name: &str, templates: &[(&str, &str)]) -> Webhook {
        let folder = self.folder.join(format!("{name}-templates"));
        fs::create_dir_all(&folder).expect("create the template folder");
        for (file, text) in templates {
            fs::write(folder.join(file), text).expect("write a template");
        }
        Webhook::start(&Source::Files(folder), &self.folder, name)
    }

    /// Starts an endpoint inside the test; see [`Endpoint::start`].
    pub(crate) fn endpoint(&self, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Endpoint {
        Endpoint::start(self.bed.runtime.handle(), answer)
    }

    /// Registers these webhooks for the pods of this namespace, in this order. The configuration takes effect after a
    /// short time: see [`Self::until_injected`].
    pub(crate) fn register(&self, hooks: &[Hook]) {
        let webhooks: Vec<Value> = hooks.iter().map(|hook| hook.in_namespace(&self.namespace)).collect();
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self.namespace},
            "webhooks": webhooks,
        });
        let path = format!("{CONFIGURATIONS}/{}", self.namespace);
        if self.configurations.borrow().contains(&path) {
            self.replace(&path, configuration);
        } else {
            self.create_claimed(CONFIGURATIONS, &configuration);
            self.configurations.borrow_mut().push(path);
        }
    }

    /// Replaces an object and ignores its resource version. Another client can write the object at the same time: a
    /// webhook writes its CA bundle into its configuration.
    fn replace(&self, path: &str, mut object: Value) {
        wait::until("the webhook configuration to be replaced", || {
            let existing = self.cluster().get(path).map_err(|error| error.to_string())?;
            object["metadata"]["resourceVersion"] = existing["metadata"]["resourceVersion"].clone();
            match self.cluster().replace(path, &object) {
                Err(error) if error.code == 409 => Err(error.to_string()),
                outcome => Ok(outcome.expect("replace the webhook configuration")),
            }
        });
    }

    /// Starts the webhook with the templates `fluent-bit` and `vault-agent`, registers only this webhook, and waits
    /// until the configuration takes effect.
    pub(crate) fn injector(&self) -> Webhook {
        use crate::templates::{FLUENT_BIT, VAULT_AGENT};
        let webhook = self.serve("webhook", &[("fluent-bit.yaml", FLUENT_BIT), ("vault-agent.yaml", VAULT_AGENT)]);
        self.register(&[Hook::ours(&webhook)]);
        self.until_injected();
        webhook
    }

    /// Waits until a pod that requests `fluent-bit` has the sidecar.
    pub(crate) fn until_injected(&self) {
        wait::until("the webhook configuration to take effect", || {
            let pod = self.dry_run(&pod("probe", Some("fluent-bit"))).map_err(|error| error.to_string())?;
            if names(&pod, "initContainers").contains(&"fluent-bit") { Ok(()) } else { Err(pod.to_string()) }
        });
    }

    /// Returns the path of a resource in this namespace, for example for `/api/v1` and `pods`.
    pub(crate) fn path(&self, api: &str, resource: &str) -> String {
        format!("{api}/namespaces/{}/{resource}", self.namespace)
    }

    /// Creates a pod.
    pub(crate) fn create(&self, pod: &Value) -> Result<Value, ApiError> {
        self.cluster().create(&self.path("/api/v1", "pods"), pod)
    }

    /// Creates a pod as a dry run.
    pub(crate) fn dry_run(&self, pod: &Value) -> Result<Value, ApiError> {
        self.cluster().create(&format!("{}?dryRun=All", self.path("/api/v1", "pods")), pod)
    }

    /// The version of the API server.
    pub(crate) fn version(&self) -> ClusterVersion {
        self.cluster().version().expect("a version").parse().expect("a version of Kubernetes 1")
    }

    /// The pods that are stored in this namespace.
    pub(crate) fn stored(&self) -> Vec<Value> {
        let list = self.cluster().get(&self.path("/api/v1", "pods")).expect("list pods");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Scenario<'_> {
    fn drop(&mut self) {
        // The processes of the scenario end, so its webhook configurations are deleted.
        for path in self.configurations.take() {
            let _ = self.cluster().delete(&path);
        }
        if thread::panicking() {
            eprintln!("logs of {}: {}", self.namespace, self.folder.display());
        }
    }
}

/// Returns a copy of a client that writes only names that the scenario has claimed.
fn claiming(bed: &Bed, name: &str, cluster: &Cluster) -> Cluster {
    let (claims, name) = (Arc::clone(&bed.claims), name.to_owned());
    cluster.with_rule(move |path, body| claims.check(&name, path, body))
}

/// One webhook of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Hook(Value);

impl Hook {
    /// Our webhook with the settings of a usual installation.
    pub(crate) fn ours(webhook: &Webhook) -> Self {
        Self::new("inject.sidecar.io", &webhook.url(), &webhook.authority)
    }

    /// The webhook of another system.
    pub(crate) fn other(name: &str, endpoint: &Endpoint) -> Self {
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
            "timeoutSeconds": WEBHOOK_TIMEOUT,
            "admissionReviewVersions": ["v1"],
        }))
    }

    /// Replaces one field.
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }

    /// Limits the webhook to the pods of the namespace, because scenarios run in parallel.
    fn in_namespace(&self, namespace: &str) -> Value {
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        self.clone().with("namespaceSelector", selector).0
    }
}
