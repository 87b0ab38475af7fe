//! Tests certificates that the webhook manages itself: three processes share one Secret without leader election.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Entry;
use crate::catalog::least_privilege;
use crate::objects::{names, pod};
use crate::scenario::{Hook, Scenario};
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[("certificates_are_issued_renewed_and_trusted", self_managed)];

/// Scenarios that take minutes, for `make e2e-full`.
pub(crate) const FULL: &[Entry] = &[("authorities_are_renewed", authorities)];

const SECRET: &str = "sidecar-injector-tls";

fn start(scenario: &Scenario<'_>, kubeconfig: &Path, name: &str) -> Webhook {
    let templates = scenario.folder.join("templates");
    fs::create_dir_all(&templates).unwrap();
    fs::write(templates.join("fluent-bit.yaml"), crate::templates::FLUENT_BIT).unwrap();
    Webhook::start_with(&scenario.folder, name, |command| {
        command.args([
            "--shutdown-delay",
            "0",
            "--tls-secret",
            SECRET,
            "--tls-host",
            "127.0.0.1",
            "--tls-lifetime",
            &format!("{}s", LIFETIME.as_secs()),
        ]);
        command.args(["--tls-secret-namespace", &scenario.namespace, "--webhook-configuration", &scenario.namespace]);
        command.arg("--templates").arg(&templates).env("KUBECONFIG", kubeconfig);
    })
}

/// The lifetime of certificates. A certificate is renewed after two thirds of its lifetime. Within the last third,
/// every process must start to use the new certificate, even on a busy machine.
const LIFETIME: Duration = Duration::from_secs(30);

/// Starts three processes that share a Secret. The API server calls all of them for every pod.
fn start_three(scenario: &Scenario<'_>) -> Vec<Webhook> {
    let kubeconfig = least_privilege(scenario);
    allow_certificate_management(scenario);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}});
    scenario.cluster().create(&scenario.path("/api/v1", "secrets"), &secret).expect("create the empty Secret");
    // At first, the configuration has no CA bundle.
    let hook = |name: &str, url: &str| Hook::new(name, url, "").with("clientConfig", json!({"url": url}));
    scenario.register(&[hook("inject-0.sidecar.io", "https://127.0.0.1:1/mutate")]);
    let webhooks: Vec<Webhook> =
        ["one", "two", "three"].iter().map(|name| start(scenario, &kubeconfig, name)).collect();
    let hooks = webhooks.iter().enumerate();
    let hooks: Vec<Hook> =
        hooks.map(|(at, webhook)| hook(&format!("inject-{at}.sidecar.io"), &webhook.url())).collect();
    scenario.register(&hooks);
    scenario.until_injected();
    webhooks
}

/// Creates up to twenty pods per second while `goes_on` returns true. Every pod must be injected.
fn create_pods_while(scenario: &Scenario<'_>, goes_on: impl Fn(Instant) -> bool) {
    let (start, mut created, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    while goes_on(start) {
        let started = Instant::now();
        let pod =
            scenario.dry_run(&pod("asking", Some("fluent-bit"))).expect("no call fails while certificates change");
        assert!(names(&pod, "initContainers").contains(&"fluent-bit"));
        slowest = slowest.max(started.elapsed());
        created += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{created} pods, the slowest took {slowest:?}");
}

/// The lifetime of an authority is twelve times that of a certificate. It is renewed after two thirds, too.
fn authorities(scenario: &Scenario<'_>) {
    let webhooks = start_three(scenario);
    let authority = || secret_value(scenario, "ca.crt");
    let first = authority();
    // The renewal is due after two thirds of the lifetime.
    let bound = 12 * LIFETIME + wait::BOUND;
    create_pods_while(scenario, |start| {
        assert!(start.elapsed() < bound, "the authority is not renewed");
        authority() == first
    });
    println!("the authority was renewed");
    // Waits until every process uses a certificate that the new authority has signed.
    let uses = || webhooks.iter().map(uses).min().unwrap_or_default();
    let until = uses() + 2;
    create_pods_while(scenario, |start| {
        assert!(start.elapsed() < 2 * LIFETIME + wait::BOUND, "certificates are not renewed");
        uses() < until
    });
    for bundle in bundles(scenario) {
        let bundle = String::from_utf8(STANDARD.decode(bundle).expect("base64")).expect("PEM");
        assert!(bundle.matches("BEGIN CERTIFICATE").count() <= 3, "old authorities are removed: {bundle}");
    }
}

/// The number of certificates that a process has used so far.
fn uses(webhook: &Webhook) -> usize {
    webhook.log().matches("certificate taken into use").count()
}

fn self_managed(scenario: &Scenario<'_>) {
    let started = Instant::now();
    let webhooks = start_three(scenario);
    let first = served(scenario);
    // Continues until each of the three processes uses a renewed certificate.
    create_pods_while(scenario, |start| {
        let uses: Vec<usize> = webhooks.iter().map(uses).collect();
        assert!(start.elapsed() < LIFETIME + wait::BOUND, "not every replica uses a renewed certificate: {uses:?}");
        uses.iter().any(|uses| *uses < 2) || served(scenario) == first
    });
    let renewals: usize = webhooks.iter().map(|webhook| webhook.log().matches("certificates written").count()).sum();
    // One certificate at the start, and one for each two thirds of a lifetime. If each process renewed independently,
    // there would be three times as many.
    let due = 2 + started.elapsed().as_secs() / (LIFETIME.as_secs() * 3 / 5);
    println!("{renewals} certificates written by three processes, at most {due} were due");
    assert!(renewals as u64 <= due, "only one process renews: {renewals} renewals, {due} were due");

    // Another client replaces the CA bundle.
    let garbage = STANDARD.encode(crate::support::credentials::Credentials::for_loopback().expect("one").authority);
    let webhooks = json!([{"name": "inject-1.sidecar.io", "clientConfig": {"caBundle": garbage}}]);
    scenario.cluster().patch(&configuration(scenario), &json!({"webhooks": webhooks})).expect("reset the bundle");
    let ((), took) = wait::until("the bundle to be repaired", || {
        let repaired = bundles(scenario).iter().all(|bundle| *bundle != garbage);
        if repaired { Ok(()) } else { Err("garbage".to_owned()) }
    });
    println!("repaired after {took:?}");
    scenario.until_injected();

    // The key is deleted from the Secret.
    let path = format!("{}/{SECRET}", scenario.path("/api/v1", "secrets"));
    let before = served(scenario);
    scenario.cluster().patch(&path, &json!({"data": {"tls.key": null}})).expect("break the Secret");
    wait::until("new certificates", || {
        if served(scenario) == before { Err("the old certificate".to_owned()) } else { Ok(()) }
    });
    scenario.until_injected();
}

/// The certificate in the Secret.
fn served(scenario: &Scenario<'_>) -> String {
    secret_value(scenario, "tls.crt")
}

/// The value of a key in the Secret.
fn secret_value(scenario: &Scenario<'_>, key: &str) -> String {
    let path = format!("{}/{SECRET}", scenario.path("/api/v1", "secrets"));
    let secret = scenario.cluster().get(&path).expect("the Secret");
    secret["data"][key].as_str().unwrap_or_default().to_owned()
}

fn configuration(scenario: &Scenario<'_>) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}", scenario.namespace)
}

fn bundles(scenario: &Scenario<'_>) -> Vec<String> {
    let found = scenario.cluster().get(&configuration(scenario)).expect("the configuration");
    let webhooks: &Vec<Value> = found["webhooks"].as_array().expect("webhooks");
    webhooks.iter().map(|w| w["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Grants the same permissions as the chart, limited by resource names.
fn allow_certificate_management(scenario: &Scenario<'_>) {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let create = |path: String, object: &Value| drop(scenario.cluster().create(&path, object).expect("create"));
    let subjects = json!([{"kind": "ServiceAccount", "name": "sidecar-injector", "namespace": scenario.namespace}]);
    let verbs = json!(["get", "list", "watch", "update"]);
    let of = |kind: &str, name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules});
    let bind = |kind: &str, name: &str, role: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name}, "subjects": subjects});
    let secrets = json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": verbs}]);
    create(scenario.path(rbac, "roles"), &of("Role", "tls", secrets));
    create(scenario.path(rbac, "rolebindings"), &bind("RoleBinding", "tls", "Role"));
    let kinds = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
    let verbs = json!(["get", "list", "watch", "patch"]);
    let hooks = json!([{"apiGroups": ["admissionregistration.k8s.io"], "resources": kinds, "resourceNames": [scenario.namespace], "verbs": verbs}]);
    scenario.create_claimed(&format!("{rbac}/clusterroles"), &of("ClusterRole", &scenario.namespace, hooks));
    let binding = bind("ClusterRoleBinding", &scenario.namespace, "ClusterRole");
    scenario.create_claimed(&format!("{rbac}/clusterrolebindings"), &binding);
}
