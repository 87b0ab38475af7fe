//! A Helm release of the chart on a real API server. There is no kubelet, so a process of the test replaces the pods.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::objects::{names, pod};
use crate::scenario::{Scenario, WEBHOOK_TIMEOUT};
use crate::support::webhook::Webhook;
use crate::support::{self, binaries, wait};

const CHART: &str = "sidecar-injector";
pub(crate) const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

/// The name of the objects of a release without overrides: `sidecar-injector.fullname` in `_helpers.tpl` of the chart.
fn full_name(release: &str) -> String {
    let name = if release.contains(CHART) { release.to_owned() } else { format!("{release}-{CHART}") };
    let mut name = name.replace('.', "-");
    name.truncate(63);
    name.strip_suffix('-').map(str::to_owned).unwrap_or(name)
}

/// A release in the namespace of the scenario. The release has the same name as the namespace, because the names of the
/// cluster-scoped objects of the chart contain it. The webhook selects only the pods of one other namespace, because
/// other scenarios use the same API server.
pub(crate) struct Release<'s> {
    pub(crate) scenario: &'s Scenario<'s>,
    /// The name of the release.
    pub(crate) name: &'s str,
    /// The name of the objects of the chart.
    pub(crate) full_name: String,
    /// The namespace of the pods that request sidecars.
    pub(crate) apps: String,
    helm: PathBuf,
    values: PathBuf,
}

impl<'s> Release<'s> {
    /// Writes the values file. Does not install the release.
    pub(crate) fn prepare(scenario: &'s Scenario<'s>, helm: PathBuf, mut values: Value) -> Self {
        let apps = format!("{}-app", scenario.namespace);
        scenario.create_namespace(&apps);
        values["webhook"]["namespaceSelector"] =
            json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [apps]}]);
        values["webhook"]["timeoutSeconds"] = WEBHOOK_TIMEOUT.into();
        let file = scenario.folder.join("values.yaml");
        fs::write(&file, values.to_string()).unwrap();
        let name = &scenario.namespace;
        Self { scenario, name, full_name: full_name(name), apps, helm, values: file }
    }

    /// Runs a Helm command on the release. Returns its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        helm(self.scenario, &self.helm, &[arguments, &["--namespace", &self.scenario.namespace]].concat())
    }

    /// Runs `install` or `upgrade`.
    pub(crate) fn apply(&self, command: &str, more: &[&str]) -> String {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sidecar-injector");
        let values = self.values.to_str().expect("text");
        self.run(&[&[command, self.name, chart, "-f", values], more].concat())
    }

    /// Starts the webhook with the arguments of the Deployment and the rights of its service account.
    pub(crate) fn start(&self) -> Webhook {
        let scenario = self.scenario;
        let kubeconfig = scenario.folder.join("account.kubeconfig");
        let token = token(scenario, &self.full_name);
        let account = scenario.bed.control_plane.kubeconfig.with_token(&token).to_json().to_string();
        fs::write(&kubeconfig, account).unwrap();
        let path = scenario.path("/apis/apps/v1", &format!("deployments/{}", self.full_name));
        let deployment = scenario.cluster().get(&path);
        let deployment = deployment.expect("the deployment");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let args = container["args"].as_array().expect("args");
        let args: Vec<&str> = args.iter().map(|arg| arg.as_str().expect("text")).collect();
        assert_eq!(args[0], "serve");
        let ours =
            |arg: &&&str| ["--listen", "--admin-listen", "--shutdown-delay"].iter().all(|flag| !arg.starts_with(flag));
        Webhook::start_on("0.0.0.0:0", &scenario.folder, "chart", |command| {
            command.args(args[1..].iter().filter(ours)).args(["--shutdown-delay", "0"]);
            command.args(["--tls-secret-namespace", &scenario.namespace]).env("KUBECONFIG", kubeconfig);
        })
    }

    /// Adds the process to the endpoints of the Service. Loopback addresses are not valid in endpoints.
    pub(crate) fn route(&self, webhook: &Webhook) {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        // This sends no packet. It only selects a local address.
        socket.connect("198.51.100.1:9").expect("an address of this machine");
        let address = socket.local_addr().expect("an address").ip().to_string();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "process", "labels": {"kubernetes.io/service-name": self.full_name}},
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"name": "webhook", "port": webhook.listen().port(), "protocol": "TCP"}],
        });
        let path = self.scenario.path("/apis/discovery.k8s.io/v1", "endpointslices");
        self.scenario.cluster().create(&path, &slice).expect("route");
    }

    /// Creates a pod that requests `request`, as a dry run. Returns the pod, or the error.
    pub(crate) fn create(&self, name: &str, request: Option<&str>) -> Result<Value, String> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.apps);
        self.scenario.cluster().create(&path, &pod(name, request)).map_err(|error| error.to_string())
    }

    /// Waits until pods that request a sidecar have it.
    pub(crate) fn injected(&self, by: &str) -> Value {
        let (found, took) = wait::until("pods to be injected through the Service", || {
            let found = self.create("asking", Some("fluent-bit"))?;
            if names(&found, "initContainers") == ["fluent-bit"] { Ok(found) } else { Err(found.to_string()) }
        });
        println!("{by}: injected after {took:?}");
        found
    }

    /// The CA bundles of the mutating webhook configuration.
    pub(crate) fn bundles(&self) -> Vec<String> {
        let path = format!("{HOOKS}/mutatingwebhookconfigurations/{}", self.full_name);
        let found = self.scenario.cluster().get(&path).expect("the configuration");
        let webhooks = found["webhooks"].as_array().cloned().unwrap_or_default();
        webhooks.iter().map(|hook| hook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Runs `doctor` with the rights of an administrator. Returns the exit code and the output.
    pub(crate) fn doctor(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_sidecar-injector"))
            .args(["doctor", "--webhook-configuration", &self.full_name])
            .args(arguments)
            .env("KUBECONFIG", self.scenario.bed.administrator())
            .output()
            .expect("run doctor");
        (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }
}

/// Runs Helm as an administrator, with its files in the folder of the scenario. Returns the output.
pub(crate) fn helm(scenario: &Scenario<'_>, binary: &Path, arguments: &[&str]) -> String {
    try_helm(scenario, binary, arguments).unwrap_or_else(|why| panic!("helm {arguments:?}: {why}"))
}

/// Runs Helm in the same way. Returns the output, or the error. Helm does not use the client of the scenario. Before
/// Helm installs or upgrades, the scenario claims the names of the cluster-scoped objects that Helm renders.
pub(crate) fn try_helm(scenario: &Scenario<'_>, binary: &Path, arguments: &[&str]) -> Result<String, String> {
    let run =
        |arguments: &[&str]| support::helm::run(binary, &scenario.bed.administrator(), &scenario.folder, arguments);
    if let ["install" | "upgrade", rest @ ..] = arguments {
        // Without a cluster, Helm 3 assumes Kubernetes 1.20.
        let version = scenario.cluster().get("/version").expect("the version of the cluster");
        let version = version["gitVersion"].as_str().expect("a version").to_owned();
        let rendered = run(&[&["template", "--kube-version", &version], rest].concat())?;
        scenario.claim_all(&documents(&rendered));
    }
    run(arguments)
}

/// Runs Helm 4 without a release. Returns the output.
pub(crate) fn helm_4(scenario: &Scenario<'_>, arguments: &[&str]) -> String {
    helm(scenario, &binaries::helm(4).expect("helm"), arguments)
}

/// Creates a token for a service account in the namespace of the scenario.
pub(crate) fn token(scenario: &Scenario<'_>, account: &str) -> String {
    let path = scenario.path("/api/v1", &format!("serviceaccounts/{account}/token"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = scenario.cluster().create(&path, &request).expect("a token");
    answer["status"]["token"].as_str().expect("a token").to_owned()
}

/// The objects of a rendered chart, each with the path that creates it (see [`path_of`]).
pub(crate) fn documents(text: &str) -> Vec<(String, Value)> {
    let parse =
        |(lines, text)| sidecar_injector::manifest::template_files::manifest("chart", lines, text).expect("YAML");
    let objects = sidecar_injector::manifest::template_files::split(text).into_iter().map(parse);
    objects.filter_map(|object| Some((path_of(&object)?, object))).collect()
}

/// The path that creates objects of this kind, with `{namespace}` if they are namespaced.
fn path_of(object: &Value) -> Option<String> {
    let (version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    let group = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let kinds = kind.to_lowercase();
    let plural = match kinds.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => kinds + "s",
    };
    let global =
        ["Namespace", "CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    let is_global = kind.starts_with("Cluster") || kind.ends_with("WebhookConfiguration") || global.contains(&kind);
    Some(if is_global { format!("{group}/{plural}") } else { format!("{group}/namespaces/{{namespace}}/{plural}") })
}
