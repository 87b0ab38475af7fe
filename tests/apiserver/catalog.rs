//! Templates that come and go while the webhook runs, and templates that are broken.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{item, names, pod};
use crate::scenario::{Hook, Scenario};
use crate::support::cluster::Refusal;
use crate::support::webhook::{Source, Webhook};
use crate::support::{files, wait};
use crate::templates::{BROKEN, FLUENT_BIT, fluent_bit_with_image};

pub(crate) const SCENARIOS: &[Entry] = &[
    ("config_maps_take_effect_while_the_webhook_runs", config_maps),
    ("template_files_take_effect_while_the_webhook_runs", template_files),
    ("broken_template_at_start_leaves_the_others_serving", broken_at_start),
];

/// Created, changed, broken, mended, renamed, deleted.
fn config_maps(scenario: &Scenario<'_>) {
    let kubeconfig = least_privilege(scenario);
    let source = Source::Cluster { kubeconfig, namespace: scenario.namespace.clone() };
    let webhook = Webhook::start(&source, &scenario.folder, "webhook");
    scenario.register(&[Hook::ours(&webhook)]);
    wait::until("the empty catalog to refuse", || refused(scenario, "fluent-bit"));

    let maps = scenario.path("/api/v1", "configmaps");
    let write = |name: &str, key: &str, text: &str| {
        let path = format!("{maps}/{name}");
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": {"sidecar.io/template": "true"}},
            "data": {key: text},
        });
        match scenario.cluster().get(&path) {
            Ok(_) => scenario.cluster().replace(&path, &map).expect("replace a ConfigMap"),
            Err(_) => scenario.cluster().create(&maps, &map).expect("create a ConfigMap"),
        };
    };
    let template = |image: &str| fluent_bit_with_image(image, "data").replace("name: fluent-bit\nsidecars", "sidecars");

    write("logs", "fluent-bit.yaml", &template("fluent-bit:1"));
    report("created", wait::until("the created template", || image(scenario, "fluent-bit", "fluent-bit:1")).1);
    write("logs", "fluent-bit.yaml", &template("fluent-bit:2"));
    report("changed", wait::until("the changed template", || image(scenario, "fluent-bit", "fluent-bit:2")).1);

    // Broken: nothing changes for pods. One watch brings all ConfigMaps in order, so once a later
    // one is served the broken one has been looked at.
    write("logs", "fluent-bit.yaml", BROKEN);
    write("later", "later.yaml", &template("later:1"));
    report(
        "another one beside a broken one",
        wait::until("the later template", || image(scenario, "later", "later:1")).1,
    );
    image(scenario, "fluent-bit", "fluent-bit:2").expect("the last good version still serves");

    write("logs", "fluent-bit.yaml", &template("fluent-bit:3"));
    report("mended", wait::until("the mended template", || image(scenario, "fluent-bit", "fluent-bit:3")).1);
    write("logs", "shipper.yaml", &template("fluent-bit:4"));
    report("renamed", wait::until("the renamed template", || image(scenario, "shipper", "fluent-bit:4")).1);
    wait::until("the old name to be gone", || refused(scenario, "fluent-bit"));
    scenario.cluster().delete(&format!("{maps}/logs")).expect("delete a ConfigMap");
    report("deleted", wait::until("the deleted template to be refused", || refused(scenario, "shipper")).1);
    image(scenario, "later", "later:1").expect("the other template still serves");
}

/// The same with files.
fn template_files(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", FLUENT_BIT)]);
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    let folder = scenario.folder.join("webhook-templates");
    let template = |image: &str| fluent_bit_with_image(image, "data");
    let write = |file: &str, text: &str| files::write(&folder.join(file), text).expect("write a template");

    write("fluent-bit.yaml", &template("fluent-bit:2"));
    report("file changed", wait::until("the changed file", || image(scenario, "fluent-bit", "fluent-bit:2")).1);
    write("fluent-bit.yaml", BROKEN);
    write("later.yaml", &template("later:1").replacen("fluent-bit", "later", 1));
    report("file added", wait::until("the added file", || image(scenario, "later", "later:1")).1);
    image(scenario, "fluent-bit", "fluent-bit:2").expect("the last good version still serves");
    fs::remove_file(folder.join("fluent-bit.yaml")).expect("delete a file");
    report("file deleted", wait::until("the deleted file to be refused", || refused(scenario, "fluent-bit")).1);
}

fn broken_at_start(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", FLUENT_BIT), ("mistake.yaml", BROKEN)]);
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    assert!(webhook.log().contains("mistake.yaml"), "the log says which one is broken:\n{}", webhook.log());
    refused(scenario, "mistake").expect("a pod that asks for the broken one is refused");
}

/// `Ok` if a pod that asks for the template gets a `fluent-bit` container of that image.
fn image(scenario: &Scenario<'_>, template: &str, image: &str) -> Result<(), String> {
    let pod = scenario.dry_run(&pod("probe", Some(template))).map_err(|refusal| refusal.to_string())?;
    if !names(&pod, "initContainers").contains(&"fluent-bit") {
        return Err("not injected".to_owned());
    }
    let seen = &item(&pod, "initContainers", "fluent-bit")["image"];
    if seen == image { Ok(()) } else { Err(seen.to_string()) }
}

/// `Ok` if a pod that asks for the template is refused because there is none.
fn refused(scenario: &Scenario<'_>, template: &str) -> Result<(), String> {
    match scenario.dry_run(&pod("probe", Some(template))) {
        Err(Refusal { code: 403, message }) if message.contains("[UnknownTemplate]") => Ok(()),
        Err(other) => Err(other.to_string()),
        Ok(_) => Err("admitted".to_owned()),
    }
}

/// Times are printed. An assertion on them would fail on a busy machine.
fn report(what: &str, delay: Duration) {
    eprintln!("template {what}: took effect after {:.1} ms", delay.as_secs_f64() * 1000.0);
}

/// A kubeconfig of an account that may read `ConfigMap`s in this namespace and nothing else: whatever
/// the server needs beyond that shows here.
pub(crate) fn least_privilege(scenario: &Scenario<'_>) -> std::path::PathBuf {
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let create = |path: &str, object: &Value| scenario.cluster().create(path, object).expect("create");
    let name = json!({"name": "sidecar-injector"});
    create(
        &scenario.path("/api/v1", "serviceaccounts"),
        &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name}),
    );
    create(
        &scenario.path(rbac, "roles"),
        &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": name,
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}],
        }),
    );
    create(
        &scenario.path(rbac, "rolebindings"),
        &json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": name,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sidecar-injector"},
            "subjects": [{"kind": "ServiceAccount", "name": "sidecar-injector", "namespace": scenario.namespace}],
        }),
    );
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = create(&scenario.path("/api/v1", "serviceaccounts/sidecar-injector/token"), &request);
    let token = answer["status"]["token"].as_str().expect("a token");
    let kubeconfig = scenario.bed.control_plane.kubeconfig.with_token(token);
    let file = scenario.folder.join("kubeconfig");
    fs::write(&file, kubeconfig.to_json().to_string()).expect("write the kubeconfig");
    file
}
