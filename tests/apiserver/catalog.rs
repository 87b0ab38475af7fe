//! Tests templates that are created, changed and deleted while the webhook runs, and invalid templates.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::{item, names, pod};
use crate::scenario::{Hook, Scenario};
use crate::support::cluster::ApiError;
use crate::support::webhook::{Source, Webhook};
use crate::support::{files, wait};
use crate::templates::{BROKEN, FLUENT_BIT, fluent_bit_with_image};

pub(crate) const SCENARIOS: &[Entry] = &[
    ("config_maps_take_effect_while_the_webhook_runs", config_maps),
    ("template_files_take_effect_while_the_webhook_runs", template_files),
    ("broken_template_at_start_leaves_the_others_serving", broken_at_start),
];

/// Creates, changes, breaks, repairs, renames and deletes a template.
fn config_maps(scenario: &Scenario<'_>) {
    let kubeconfig = least_privilege(scenario);
    let source = Source::Cluster { kubeconfig, namespace: scenario.namespace.clone() };
    let webhook = Webhook::start(&source, &scenario.folder, "webhook");
    scenario.register(&[Hook::ours(&webhook)]);
    wait::until("the empty catalog to deny the pod", || denied(scenario, "fluent-bit"));

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

    // An invalid change has no effect on pods. The watch receives all changes in order. When a later template serves,
    // the webhook has read the invalid one.
    write("logs", "fluent-bit.yaml", BROKEN);
    write("later", "later.yaml", &template("later:1"));
    report(
        "created after an invalid change",
        wait::until("the later template", || image(scenario, "later", "later:1")).1,
    );
    image(scenario, "fluent-bit", "fluent-bit:2").expect("the last valid version still serves");

    write("logs", "fluent-bit.yaml", &template("fluent-bit:3"));
    report("repaired", wait::until("the repaired template", || image(scenario, "fluent-bit", "fluent-bit:3")).1);
    write("logs", "shipper.yaml", &template("fluent-bit:4"));
    report("renamed", wait::until("the renamed template", || image(scenario, "shipper", "fluent-bit:4")).1);
    wait::until("the old name to be deleted", || denied(scenario, "fluent-bit"));
    scenario.cluster().delete(&format!("{maps}/logs")).expect("delete a ConfigMap");
    report("deleted", wait::until("the deleted template to be unknown", || denied(scenario, "shipper")).1);
    image(scenario, "later", "later:1").expect("the other template still serves");
}

/// Changes, breaks and deletes template files.
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
    image(scenario, "fluent-bit", "fluent-bit:2").expect("the last valid version still serves");
    fs::remove_file(folder.join("fluent-bit.yaml")).expect("delete a file");
    report(
        "file deleted",
        wait::until("the template of the deleted file to be unknown", || denied(scenario, "fluent-bit")).1,
    );
}

fn broken_at_start(scenario: &Scenario<'_>) {
    let webhook = scenario.serve("webhook", &[("fluent-bit.yaml", FLUENT_BIT), ("mistake.yaml", BROKEN)]);
    scenario.register(&[Hook::ours(&webhook)]);
    scenario.until_injected();
    assert!(webhook.log().contains("mistake.yaml"), "the log names the invalid template:\n{}", webhook.log());
    denied(scenario, "mistake").expect("a pod that requests the invalid template is denied");
}

/// `Ok` if a pod that requests the template has a `fluent-bit` container of that image.
fn image(scenario: &Scenario<'_>, template: &str, image: &str) -> Result<(), String> {
    let pod = scenario.dry_run(&pod("probe", Some(template))).map_err(|error| error.to_string())?;
    if !names(&pod, "initContainers").contains(&"fluent-bit") {
        return Err("not injected".to_owned());
    }
    let seen = &item(&pod, "initContainers", "fluent-bit")["image"];
    if seen == image { Ok(()) } else { Err(seen.to_string()) }
}

/// `Ok` if a pod that requests the template is denied because the template does not exist.
fn denied(scenario: &Scenario<'_>, template: &str) -> Result<(), String> {
    match scenario.dry_run(&pod("probe", Some(template))) {
        Err(ApiError { code: 403, message }) if message.contains("[UnknownTemplate]") => Ok(()),
        Err(other) => Err(other.to_string()),
        Ok(_) => Err("admitted".to_owned()),
    }
}

/// Prints a time. Tests do not assert times, because a busy machine can be slow.
fn report(what: &str, delay: Duration) {
    eprintln!("template {what}: took effect after {:.1} ms", delay.as_secs_f64() * 1000.0);
}

/// Returns a kubeconfig of an account that can only read the `ConfigMap`s of this namespace. A test fails if the
/// webhook needs other permissions.
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
