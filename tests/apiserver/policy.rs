//! Tests namespace defaults, templates of namespaces, and the validation of templates with a real API server.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::Entry;
use crate::catalog::least_privilege;
use crate::objects::{names, pod};
use crate::scenario::{Hook, Scenario};
use crate::support::wait;
use crate::support::webhook::Webhook;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("namespace_defaults_and_auto_inject", namespace_defaults_and_auto_inject),
    ("bad_templates_are_denied_with_the_caret", bad_templates_are_denied),
    ("namespaces_have_templates_of_their_own", namespace_templates),
    ("limit_range_quota_and_restricted_namespace", limits),
];

fn config_map(name: &str, label: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {label: "true"}}, "data": data})
}

/// Starts the webhook with the ConfigMaps of the scenario. It watches namespaces.
fn start(scenario: &Scenario<'_>) -> Webhook {
    start_with(scenario, &scenario.namespace, &[])
}

/// Starts the webhook with the central templates in the namespace `home`, and with more arguments.
fn start_with(scenario: &Scenario<'_>, home: &str, more: &[&str]) -> Webhook {
    let kubeconfig = least_privilege(scenario);
    let (rbac, name) = ("/apis/rbac.authorization.k8s.io/v1", json!({"name": scenario.namespace}));
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": name,
        "rules": [{"apiGroups": [""], "resources": ["namespaces", "configmaps"], "verbs": ["get", "list", "watch"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": name,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": scenario.namespace},
        "subjects": [{"kind": "ServiceAccount", "name": "sidecar-injector", "namespace": scenario.namespace}],
    });
    scenario.create_claimed(&format!("{rbac}/clusterroles"), &role);
    scenario.create_claimed(&format!("{rbac}/clusterrolebindings"), &binding);
    Webhook::start_self_signed(&scenario.folder, "webhook", |command| {
        command.args(["--shutdown-delay", "0", "--watch-namespaces", "--namespace", home]);
        command.args(["--default-templates", "installation"]).args(more).env("KUBECONFIG", kubeconfig);
    })
}

fn namespace_defaults_and_auto_inject(scenario: &Scenario<'_>) {
    let maps = scenario.path("/api/v1", "configmaps");
    let templates = json!({
        "installation.yaml": "sidecars: [{name: installation, image: \"i:1\"}]",
        "own.yaml": "sidecars: [{name: own, image: \"${values.REGISTRY}/own:1\"}]",
        "auto.yaml": "autoInject: {namespaceSelector: {matchLabels: {team: payments}}}\nsidecars: [{name: auto, image: \"a:1\"}]",
    });
    scenario.cluster().create(&maps, &config_map("templates", "sidecar.io/template", &templates)).expect("created");
    let values = json!({"REGISTRY": "registry.example.com"});
    scenario.cluster().create(&maps, &config_map("values", "sidecar.io/values", &values)).expect("created");
    let webhook = start(scenario);
    scenario.register(&[Hook::new("inject.sidecar.io", &webhook.at("/mutate/policy"), &webhook.authority)]);
    let gets = |wanted: &[&str]| {
        let pod = scenario.dry_run(&pod("silent", None)).map_err(|error| error.to_string())?;
        let found = names(&pod, "initContainers");
        if found == wanted { Ok(pod) } else { Err(format!("{found:?}")) }
    };
    wait::until("the installation's default", || gets(&["installation"]));
    let namespace = format!("/api/v1/namespaces/{}", scenario.namespace);
    let change = |metadata: Value| {
        scenario.cluster().patch(&namespace, &json!({"metadata": metadata})).expect("change the namespace");
    };
    change(json!({"annotations": {"sidecar.io/inject": "own"}}));
    let (silent, _) = wait::until("the namespace's default", || gets(&["own"]));
    assert_eq!(silent["spec"]["initContainers"][0]["image"], "registry.example.com/own:1");
    change(json!({"labels": {"team": "payments"}}));
    wait::until("autoInject", || gets(&["own", "auto"]));
    let mut opted_out = pod("opted-out", Some("false"));
    opted_out["metadata"]["labels"] = json!({"a": "b"});
    assert!(names(&scenario.dry_run(&opted_out).expect("allowed"), "initContainers").is_empty());
    change(json!({"labels": {"team": "search"}, "annotations": {"sidecar.io/inject": "false"}}));
    wait::until("the namespace to have no defaults", || gets(&[]));
}

/// Registers the validating webhook for the namespace. Returns the path of its configuration.
pub(crate) fn register_validation(scenario: &Scenario<'_>, webhook: &Webhook) -> String {
    let configurations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": scenario.namespace},
        "webhooks": [{
            "name": "templates.sidecar.io", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": webhook.at("/validate/templates"), "caBundle": STANDARD.encode(&webhook.authority)},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}],
            "objectSelector": {"matchLabels": {"sidecar.io/template": "true"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scenario.namespace}},
        }],
    });
    scenario.create_claimed(configurations, &configuration);
    format!("{configurations}/{}", scenario.namespace)
}

fn bad_templates_are_denied(scenario: &Scenario<'_>) {
    let webhook = start(scenario);
    let configuration = register_validation(scenario, &webhook);
    let maps = scenario.path("/api/v1", "configmaps?dryRun=All");
    let bad = config_map("bad", "sidecar.io/template", &json!({"a.yaml": "sidecars:\n- name: x\n  imag: i\n"}));
    let (message, _) =
        wait::until("the invalid template to be denied", || match scenario.cluster().create(&maps, &bad) {
            Err(error) if error.message.contains("InvalidTemplate") => Ok(error.message),
            other => Err(format!("{other:?}")),
        });
    for part in ["templates.sidecar.io", "--> key a.yaml:2:3", "^", "has no image"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let good = config_map("good", "sidecar.io/template", &json!({"a.yaml": "sidecars: [{name: x, image: \"i:1\"}]"}));
    scenario.cluster().create(&maps, &good).expect("a valid template is accepted");
    scenario.cluster().delete(&configuration).expect("unregister");
}

/// Tests templates in namespaces: precedence over central templates with the same name, what they must not contain, and
/// their deletion.
fn namespace_templates(scenario: &Scenario<'_>) {
    let home = format!("{}-home", scenario.namespace);
    scenario.create_namespace(&home);
    let central = json!({
        "both.yaml": "sidecars: [{name: both, image: \"central:1\"}]",
        "kept.yaml": "required: true\nsidecars: [{name: kept, image: \"central:1\"}]",
    });
    let maps = format!("/api/v1/namespaces/{home}/configmaps");
    scenario.cluster().create(&maps, &config_map("central", "sidecar.io/template", &central)).expect("created");
    let own = json!({
        "both.yaml": "sidecars: [{name: both, image: \"own:1\"}]",
        "kept.yaml": "sidecars: [{name: kept, image: \"own:1\"}]",
        "only.yaml": "sidecars: [{name: only, image: \"own:1\"}]",
        "root.yaml": "sidecars: [{name: root, image: \"own:1\", securityContext: {privileged: true}}]",
        "bold.yaml": "required: true\nsidecars: [{name: bold, image: \"own:1\"}]",
    });
    let own_maps = scenario.path("/api/v1", "configmaps");
    scenario.cluster().create(&own_maps, &config_map("own", "sidecar.io/template", &own)).expect("created");
    let webhook = start_with(scenario, &home, &["--namespace-templates", "prefer"]);
    scenario.register(&[Hook::ours(&webhook)]);
    let image = |name: &str, wanted: &str| {
        let pod = scenario.dry_run(&pod("asks", Some(name))).map_err(|error| error.to_string())?;
        let image = pod["spec"]["initContainers"][0]["image"].as_str().unwrap_or("none").to_owned();
        if image == wanted { Ok(()) } else { Err(image) }
    };
    wait::until("the namespace's own template", || image("only", "own:1"));
    image("both", "own:1").expect("the template of the namespace takes precedence");
    image("kept", "central:1").expect("a required template takes precedence");
    let denied = |name: &str| scenario.dry_run(&pod("asks", Some(name))).expect_err("denied").message;
    let message = denied("root");
    assert!(message.contains("is privileged") && message.contains("[NotAllowed]"), "{message}");
    assert!(denied("bold").contains("are for central templates only"), "{}", denied("bold"));
    scenario.cluster().delete(&format!("{own_maps}/own")).expect("deleted");
    wait::until("the central template to serve again", || image("both", "central:1"));
    assert!(denied("only").contains("[UnknownTemplate]"));
}

/// The API server applies its policies after the webhook. It admits pods whose templates comply with them. A LimitRange
/// sets resources that a template does not set.
fn limits(scenario: &Scenario<'_>) {
    const HARD: &str = "{allowPrivilegeEscalation: false, runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}}";
    let sized = format!(
        "sidecars: [{{name: sized, image: 's:1', securityContext: {HARD}, resources: {{requests: {{cpu: 10m, memory: 8Mi}}, limits: {{cpu: 20m, memory: 16Mi}}}}}}]"
    );
    let bare = format!("sidecars: [{{name: bare, image: 'b:1', securityContext: {HARD}}}]");
    let root = "sidecars: [{name: root, image: 'r:1'}]";
    let webhook = scenario.serve("webhook", &[("sized.yaml", &sized), ("bare.yaml", &bare), ("root.yaml", root)]);
    scenario.register(&[Hook::ours(&webhook)]);
    let namespace = format!("/api/v1/namespaces/{}", scenario.namespace);
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    scenario.cluster().patch(&namespace, &label).expect("label the namespace");
    let hardened = |request: &str| {
        let mut pod = pod("hardened", Some(request));
        pod["spec"]["containers"][0]["securityContext"] = json!({
            "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"drop": ["ALL"]},
        });
        pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "100m", "memory": "64Mi"}});
        pod
    };
    let dry_run = |request: &str| scenario.dry_run(&hardened(request));
    wait::until("the webhook", || match dry_run("sized") {
        Ok(pod) if names(&pod, "initContainers") == ["sized"] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    wait::until("the namespace to be restricted", || match dry_run("root") {
        Err(error) if error.message.contains("PodSecurity") && error.message.contains("root") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
        "spec": {"hard": {"limits.memory": "1Gi", "requests.cpu": "1"}},
    });
    scenario.cluster().create(&scenario.path("/api/v1", "resourcequotas"), &quota).expect("create a quota");
    wait::until("the quota to require limits", || match dry_run("bare") {
        Err(error) if error.message.contains("limits.memory") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let ranges = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "50m", "memory": "32Mi"}, "defaultRequest": {"cpu": "5m", "memory": "4Mi"}}]},
    });
    scenario.cluster().create(&scenario.path("/api/v1", "limitranges"), &ranges).expect("create a LimitRange");
    let (with_defaults, _) =
        wait::until("the LimitRange to set limits", || dry_run("bare").map_err(|error| error.to_string()));
    assert_eq!(with_defaults["spec"]["initContainers"][0]["resources"]["limits"]["memory"], "32Mi");
    let sized = dry_run("sized").expect("accepted with its own limits");
    assert_eq!(sized["spec"]["initContainers"][0]["resources"]["limits"]["memory"], "16Mi");
}
