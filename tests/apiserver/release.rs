//! A Helm release of our chart on the real API server, and our real process in the place of its pods, which nobody runs here.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::objects::{names, pod};
use crate::scenario::{PATIENCE, Scenario};
use crate::support::webhook::Webhook;
use crate::support::{self, binaries, wait};

const CHART: &str = "sidecar-injector";
pub(crate) const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

/// What the chart calls its objects in a release without overrides: `sidecar-injector.fullname` of its `_helpers.tpl`.
fn full_name(release: &str) -> String {
    let name = if release.contains(CHART) { release.to_owned() } else { format!("{release}-{CHART}") };
    let mut name = name.replace('.', "-");
    name.truncate(63);
    name.strip_suffix('-').map(str::to_owned).unwrap_or(name)
}

/// A release in the scenario's namespace, and of the same name: the chart's cluster-scoped objects are named after it.
/// It serves only pods of a namespace of its own: other scenarios run on this API server too.
pub(crate) struct Release<'s> {
    pub(crate) scenario: &'s Scenario<'s>,
    /// The release's name.
    pub(crate) name: &'s str,
    /// What the chart calls its objects.
    pub(crate) full_name: String,
    /// Where pods ask.
    pub(crate) apps: String,
    helm: PathBuf,
    values: PathBuf,
}

impl<'s> Release<'s> {
    /// Writes the values down; nothing is installed yet.
    pub(crate) fn prepare(scenario: &'s Scenario<'s>, helm: PathBuf, mut values: Value) -> Self {
        let apps = format!("{}-app", scenario.namespace);
        scenario.create_namespace(&apps);
        values["webhook"]["namespaceSelector"] =
            json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [apps]}]);
        values["webhook"]["timeoutSeconds"] = PATIENCE.into();
        let file = scenario.folder.join("values.yaml");
        fs::write(&file, values.to_string()).unwrap();
        let name = &scenario.namespace;
        Self { scenario, name, full_name: full_name(name), apps, helm, values: file }
    }

    /// Runs a command on the release; what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        helm(self.scenario, &self.helm, &[arguments, &["--namespace", &self.scenario.namespace]].concat())
    }

    /// `install` or `upgrade`.
    pub(crate) fn apply(&self, command: &str, more: &[&str]) -> String {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sidecar-injector");
        let values = self.values.to_str().expect("text");
        self.run(&[&[command, self.name, chart, "-f", values], more].concat())
    }

    /// Our process as the chart's Deployment would run it, with the rights of its service account.
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

    /// Lets the Service lead to the process. Loopback is refused in endpoints.
    pub(crate) fn route(&self, webhook: &Webhook) {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        // Nothing is sent: it only chooses an address.
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

    /// What becomes of a pod that asks for `request`.
    pub(crate) fn create(&self, name: &str, request: Option<&str>) -> Result<Value, String> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.apps);
        self.scenario.cluster().create(&path, &pod(name, request)).map_err(|refusal| refusal.to_string())
    }

    /// Waits until pods that ask get their sidecar.
    pub(crate) fn injected(&self, by: &str) -> Value {
        let (found, took) = wait::until("pods to be injected through the Service", || {
            let found = self.create("asking", Some("fluent-bit"))?;
            if names(&found, "initContainers") == ["fluent-bit"] { Ok(found) } else { Err(found.to_string()) }
        });
        println!("{by}: injected after {took:?}");
        found
    }

    /// What the mutating configuration trusts.
    pub(crate) fn bundles(&self) -> Vec<String> {
        let path = format!("{HOOKS}/mutatingwebhookconfigurations/{}", self.full_name);
        let found = self.scenario.cluster().get(&path).expect("the configuration");
        let webhooks = found["webhooks"].as_array().cloned().unwrap_or_default();
        webhooks.iter().map(|hook| hook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Runs `doctor` with an administrator's rights: exit code and what it printed.
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

/// Runs Helm as an administrator, with files of its own in the scenario's folder; what it printed.
pub(crate) fn helm(scenario: &Scenario<'_>, binary: &Path, arguments: &[&str]) -> String {
    try_helm(scenario, binary, arguments).unwrap_or_else(|why| panic!("helm {arguments:?}: {why}"))
}

/// The same where Helm may refuse; why it does. Helm does not write through the scenario's client: before it installs or
/// upgrades, the scenario claims the cluster-scoped names among what it renders.
pub(crate) fn try_helm(scenario: &Scenario<'_>, binary: &Path, arguments: &[&str]) -> Result<String, String> {
    let run =
        |arguments: &[&str]| support::helm::run(binary, &scenario.bed.administrator(), &scenario.folder, arguments);
    if let ["install" | "upgrade", rest @ ..] = arguments {
        scenario.claim_all(&documents(&run(&[&["template"], rest].concat())?));
    }
    run(arguments)
}

/// Helm 4 where nothing is asked of a release; what it printed.
pub(crate) fn helm_4(scenario: &Scenario<'_>, arguments: &[&str]) -> String {
    helm(scenario, &binaries::helm(4).expect("helm"), arguments)
}

/// A token of a service account of the scenario's namespace.
pub(crate) fn token(scenario: &Scenario<'_>, account: &str) -> String {
    let path = scenario.path("/api/v1", &format!("serviceaccounts/{account}/token"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = scenario.cluster().create(&path, &request).expect("a token");
    answer["status"]["token"].as_str().expect("a token").to_owned()
}

/// The objects of a rendered chart, each with the path that it is created at (see [`path_of`]).
pub(crate) fn documents(text: &str) -> Vec<(String, Value)> {
    let parse =
        |(lines, text)| sidecar_injector::manifest::template_files::manifest("chart", lines, text).expect("YAML");
    let objects = sidecar_injector::manifest::template_files::split(text).into_iter().map(parse);
    objects.filter_map(|object| Some((path_of(&object)?, object))).collect()
}

/// Where objects of this kind are created, with `{namespace}` where they belong to one.
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
