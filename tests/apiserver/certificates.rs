//! Certificates that the webhook looks after itself: three processes, one Secret, nobody leads.

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

pub(crate) const SCENARIOS: &[Entry] = &[("certificates_are_made_renewed_and_trusted_by_themselves", self_managed)];

/// What takes minutes, for `make e2e-full`.
pub(crate) const FULL: &[Entry] = &[("authorities_are_renewed_by_themselves", authorities)];

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

/// A third of it is left when a certificate is renewed. Every process must take the new one into use in that time, also
/// on a busy machine.
const LIFETIME: Duration = Duration::from_secs(30);

/// Three processes that share a Secret, all called for every pod.
fn start_three(scenario: &Scenario<'_>) -> Vec<Webhook> {
    let kubeconfig = least_privilege(scenario);
    may_look_after_certificates(scenario);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}});
    scenario.cluster().create(&scenario.path("/api/v1", "secrets"), &secret).expect("create the empty Secret");
    // The configuration is there first, trusting nobody.
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

/// Creates pods, twenty a second, for as long as `goes_on` says; none may be refused or missed.
fn keep_asking(scenario: &Scenario<'_>, goes_on: impl Fn(Instant) -> bool) {
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

/// Authorities live twelve times as long as what they sign, and are renewed in the same way.
fn authorities(scenario: &Scenario<'_>) {
    let webhooks = start_three(scenario);
    let authority = || held(scenario, "ca.crt");
    let first = authority();
    // Due after two thirds of its life.
    let bound = 12 * LIFETIME + wait::BOUND;
    keep_asking(scenario, |start| {
        assert!(start.elapsed() < bound, "the authority is not renewed");
        authority() == first
    });
    println!("the authority was renewed");
    // Until every process uses a certificate that the new one has signed.
    let uses = || webhooks.iter().map(uses).min().unwrap_or_default();
    let until = uses() + 2;
    keep_asking(scenario, |start| {
        assert!(start.elapsed() < 2 * LIFETIME + wait::BOUND, "certificates are not renewed");
        uses() < until
    });
    for bundle in bundles(scenario) {
        let bundle = String::from_utf8(STANDARD.decode(bundle).expect("base64")).expect("PEM");
        assert!(bundle.matches("BEGIN CERTIFICATE").count() <= 3, "authorities go, too: {bundle}");
    }
}

/// How many certificates a process has taken into use.
fn uses(webhook: &Webhook) -> usize {
    webhook.log().matches("certificate taken into use").count()
}

fn self_managed(scenario: &Scenario<'_>) {
    let started = Instant::now();
    let webhooks = start_three(scenario);
    let first = served(scenario);
    // Every pod asks all three, until each has taken a renewed certificate into use.
    keep_asking(scenario, |start| {
        let uses: Vec<usize> = webhooks.iter().map(uses).collect();
        assert!(start.elapsed() < LIFETIME + wait::BOUND, "not every replica takes new ones into use: {uses:?}");
        uses.iter().any(|uses| *uses < 2) || served(scenario) == first
    });
    let renewals: usize = webhooks.iter().map(|webhook| webhook.log().matches("certificates written").count()).sum();
    // The first, and one for each two thirds of a lifetime. If each process renewed on its own, there would be three
    // times as many.
    let due = 2 + started.elapsed().as_secs() / (LIFETIME.as_secs() * 3 / 5);
    println!("{renewals} certificates written by three processes, at most {due} were due");
    assert!(renewals as u64 <= due, "who comes second does not write again: {renewals}, {due} were due");

    // Somebody resets what the API server trusts.
    let garbage = STANDARD.encode(crate::support::credentials::Credentials::for_loopback().expect("one").authority);
    let webhooks = json!([{"name": "inject-1.sidecar.io", "clientConfig": {"caBundle": garbage}}]);
    scenario.cluster().patch(&configuration(scenario), &json!({"webhooks": webhooks})).expect("reset the bundle");
    let ((), took) = wait::until("the bundle to be repaired", || {
        let repaired = bundles(scenario).iter().all(|bundle| *bundle != garbage);
        if repaired { Ok(()) } else { Err("garbage".to_owned()) }
    });
    println!("repaired after {took:?}");
    scenario.until_injected();

    // Half of the Secret is gone.
    let path = format!("{}/{SECRET}", scenario.path("/api/v1", "secrets"));
    let before = served(scenario);
    scenario.cluster().patch(&path, &json!({"data": {"tls.key": null}})).expect("break the Secret");
    wait::until("new certificates", || if served(scenario) == before { Err("the old".to_owned()) } else { Ok(()) });
    scenario.until_injected();
}

/// The certificate in the Secret.
fn served(scenario: &Scenario<'_>) -> String {
    held(scenario, "tls.crt")
}

/// What the Secret holds under a key.
fn held(scenario: &Scenario<'_>, key: &str) -> String {
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

/// Rights by name alone, as the chart gives them.
fn may_look_after_certificates(scenario: &Scenario<'_>) {
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
