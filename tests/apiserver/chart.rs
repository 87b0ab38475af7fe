//! The chart on a real API server: what it renders is accepted, its rights are enough for our real process, which gets its
//! certificate trusted and is called through the Service; upgrades take nothing back, and nothing is left behind.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{names, pod};
use crate::scenario::Scenario;
use crate::support::binaries;
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("the_chart_installs_upgrades_and_uninstalls", life),
    ("manifests_are_what_the_chart_renders_and_are_accepted", manifests),
];

const NAME: &str = "r-sidecar-injector";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

struct Helm<'s> {
    scenario: &'s Scenario<'s>,
    binary: PathBuf,
    values: PathBuf,
}

impl Helm<'_> {
    /// Runs a command on the release; what it printed.
    fn run(&self, arguments: &[&str]) -> String {
        let folder = &self.scenario.folder;
        let output = Command::new(&self.binary)
            .args(arguments)
            .args(["--namespace", &self.scenario.namespace])
            .env("KUBECONFIG", folder.join("admin.kubeconfig"))
            .env("HELM_CACHE_HOME", folder.join("cache"))
            .env("HELM_CONFIG_HOME", folder.join("config"))
            .env("HELM_DATA_HOME", folder.join("data"))
            .output()
            .expect("run helm");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {arguments:?}: {text}");
        text
    }

    fn apply(&self, command: &str, more: &[&str]) -> String {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sidecar-injector");
        let values = self.values.to_str().expect("text");
        self.run(&[&[command, "r", chart, "-f", values], more].concat())
    }
}

fn life(scenario: &Scenario<'_>) {
    let apps = format!("{}-app", &scenario.namespace[..scenario.namespace.len().min(40)]);
    scenario.cluster().create_namespace(&apps);
    let admin = scenario.bed.control_plane.kubeconfig.to_json().to_string();
    fs::write(scenario.folder.join("admin.kubeconfig"), admin).unwrap();
    let values = scenario.folder.join("values.yaml");
    let template =
        "sidecars:\n- {name: fluent-bit, image: \"f:1\", args: [\"${values.REGION}\", \"{{ not rendered }}\"]}\n";
    // Other scenarios run on this API server too.
    let only = json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [apps]}]);
    let given = json!({"templates": {"fluent-bit": template}, "values": {"REGION": "north"}, "webhook": {"namespaceSelector": only, "failurePolicy": "Fail"}});
    fs::write(&values, given.to_string()).unwrap();
    let helm = Helm { scenario, binary: binaries::helm().expect("helm"), values };
    let notes = helm.apply("install", &[]);
    assert!(notes.contains("sidecar.io/inject: fluent-bit"), "{notes}");

    let webhook = start(scenario);
    route(scenario, &webhook);
    let create = |pod: &Value| {
        let path = format!("/api/v1/namespaces/{apps}/pods?dryRun=All");
        scenario.cluster().create(&path, pod).map_err(|refusal| refusal.to_string())
    };
    let injected = |by: &str| {
        let (found, took) = wait::until("pods to be injected through the Service", || {
            let found = create(&pod("asking", Some("fluent-bit")))?;
            if names(&found, "initContainers") == ["fluent-bit"] { Ok(found) } else { Err(found.to_string()) }
        });
        println!("{by}: injected after {took:?}");
        found
    };
    let found = injected("installed");
    assert_eq!(found["spec"]["initContainers"][0]["args"], json!(["north", "{{ not rendered }}"]));
    assert!(names(&create(&pod("silent", None)).expect("not asked about"), "initContainers").is_empty());
    let bad = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "labels": {"sidecar.io/template": "true"}}, "data": {"bad.yaml": "sidecar: []"}});
    let maps = scenario.path("/api/v1", "configmaps");
    wait::until("broken templates to be refused", || {
        match scenario.cluster().create(&format!("{maps}?dryRun=All"), &bad) {
            Err(refusal) if refusal.message.contains("did you mean \"sidecars\"?") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    // What the webhook wrote is not Helm's to take back.
    let bundle = bundles(scenario);
    assert!(bundle.iter().all(|bundle| !bundle.is_empty()));
    helm.apply("upgrade", &[]);
    assert_eq!(bundles(scenario), bundle, "an upgrade without a change changes nothing");
    injected("upgraded");
    helm.apply("upgrade", &["--set", "policy.enabled=true"]);
    wait::until("the new webhook to be trusted", || {
        let bundles = bundles(scenario);
        if bundles.len() == 2 && bundles[0] == bundles[1] { Ok(()) } else { Err(format!("{bundles:?}")) }
    });
    injected("with policies");
    helm.run(&["rollback", "r", "1"]);
    wait::until("the policy webhook to go", || match bundles(scenario).len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
    injected("rolled back");

    helm.run(&["uninstall", "r"]);
    for path in [
        format!("{HOOKS}/mutatingwebhookconfigurations/{NAME}"),
        format!("{HOOKS}/validatingwebhookconfigurations/{NAME}"),
        scenario.path("/apis/apps/v1", &format!("deployments/{NAME}")),
        scenario.path("/api/v1", &format!("secrets/{NAME}-tls")),
        scenario.path("/api/v1", &format!("configmaps/{NAME}-template-fluent-bit")),
        format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{}:{NAME}", scenario.namespace),
    ] {
        assert_eq!(scenario.cluster().get(&path).expect_err(&path).code, 404, "{path}");
    }
}

/// `manifests/` is current, and the API server takes every object of it (cert-manager's kinds are not installed here).
fn manifests(scenario: &Scenario<'_>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let helm = binaries::helm().expect("helm");
    let admin = scenario.bed.control_plane.kubeconfig.to_json().to_string();
    fs::write(scenario.folder.join("admin.kubeconfig"), admin).unwrap();
    for (variant, set) in [("base", ""), ("cert-manager", "tls.mode=cert-manager"), ("policy", "policy.enabled=true")] {
        let mut command = Command::new(&helm);
        command.args(["template", "sidecar-injector", "charts/sidecar-injector", "--namespace", "sidecar-injector"]);
        command.args((!set.is_empty()).then_some(["--set", set]).into_iter().flatten()).current_dir(root);
        command.env("HELM_CACHE_HOME", scenario.folder.join("cache")).env("HELM_CONFIG_HOME", &scenario.folder);
        let rendered = String::from_utf8(command.output().expect("run helm").stdout).expect("text");
        let file = root.join("manifests").join(variant).join("sidecar-injector.yaml");
        let known = fs::read_to_string(&file).expect("a file of manifests/");
        assert_eq!(rendered, known, "make manifests writes {} anew", file.display());
        let documents = sidecar_injector::templates::split(&known).into_iter();
        for (lines, text) in documents {
            let mut object = sidecar_injector::templates::manifest("manifests", lines, text).expect("YAML");
            let Some(path) = path_of(&object) else { continue };
            if path.contains("cert-manager.io") {
                continue;
            }
            if path.contains("{namespace}") {
                object["metadata"]["namespace"] = scenario.namespace.as_str().into();
            }
            let path = path.replace("{namespace}", &scenario.namespace) + "?dryRun=All&fieldValidation=Strict";
            let created = scenario.cluster().create(&path, &object);
            assert!(created.is_ok(), "{variant} {path}: {created:?}");
        }
    }
}

/// Where objects of this kind are created.
fn path_of(object: &Value) -> Option<String> {
    let (version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    let group = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let kinds = kind.to_lowercase();
    let plural = if kinds.ends_with("policy") { kinds.replace("policy", "policies") } else { kinds + "s" };
    let is_global = kind.starts_with("Cluster") || kind.ends_with("WebhookConfiguration");
    Some(if is_global { format!("{group}/{plural}") } else { format!("{group}/namespaces/{{namespace}}/{plural}") })
}

/// Our process as the chart's Deployment would run it, with the rights of its service account.
fn start(scenario: &Scenario<'_>) -> Webhook {
    let account = scenario.path("/api/v1", &format!("serviceaccounts/{NAME}/token"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = scenario.cluster().create(&account, &request).expect("a token");
    let token = answer["status"]["token"].as_str().expect("a token");
    let kubeconfig = scenario.folder.join("account.kubeconfig");
    fs::write(&kubeconfig, scenario.bed.control_plane.kubeconfig.with_token(token).to_json().to_string()).unwrap();
    let deployment = scenario.cluster().get(&scenario.path("/apis/apps/v1", &format!("deployments/{NAME}")));
    let deployment = deployment.expect("the deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let args: Vec<&str> = container["args"].as_array().expect("args").iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args[0], "serve");
    let ours =
        |arg: &&&str| ["--listen", "--admin-listen", "--shutdown-delay"].iter().all(|flag| !arg.starts_with(flag));
    Webhook::start_on("0.0.0.0:0", &scenario.folder, "chart", |command| {
        command.args(args[1..].iter().filter(ours)).args(["--shutdown-delay", "0"]);
        command.args(["--tls-secret-namespace", &scenario.namespace]).env("KUBECONFIG", kubeconfig);
    })
}

/// Lets the Service lead to the process: no kubelet runs its pods here. Loopback is refused in endpoints.
fn route(scenario: &Scenario<'_>, webhook: &Webhook) {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent: it only chooses an address.
    socket.connect("198.51.100.1:9").expect("an address of this machine");
    let address = socket.local_addr().expect("an address").ip().to_string();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "process", "labels": {"kubernetes.io/service-name": NAME}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "webhook", "port": webhook.listen().port(), "protocol": "TCP"}],
    });
    scenario.cluster().create(&scenario.path("/apis/discovery.k8s.io/v1", "endpointslices"), &slice).expect("route");
}

/// What the mutating configuration trusts.
fn bundles(scenario: &Scenario<'_>) -> Vec<String> {
    let path = format!("{HOOKS}/mutatingwebhookconfigurations/{NAME}");
    let found = scenario.cluster().get(&path).expect("the configuration");
    let webhooks = found["webhooks"].as_array().cloned().unwrap_or_default();
    webhooks.iter().map(|hook| hook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()).collect()
}
