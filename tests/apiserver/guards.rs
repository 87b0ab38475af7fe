//! Tests the ValidatingAdmissionPolicies of the chart with a real API server. No webhook runs.

use std::fs;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::Entry;
use crate::objects::pod;
use crate::release::{documents, helm_4, token};
use crate::scenario::Scenario;
use crate::support::cluster::{ApiError, Cluster};
use crate::support::credentials::Credentials;
use crate::support::wait;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("required_templates_hold_while_the_webhook_is_down", required),
    ("required_templates_of_namespaces_hold_too", required_by_namespace),
    ("a_misplaced_annotation_causes_a_warning", misplaced),
    ("only_template_authors_write_templates", authors),
    ("the_webhook_may_change_nothing_but_its_bundle", configuration),
];

/// Creates the objects of one policy of the chart.
fn install(scenario: &Scenario<'_>, policy: &str, namespace: &str, values: &Value) {
    let file = scenario.folder.join("values.yaml");
    // Other scenarios use the same API server.
    let mut values = values.clone();
    values["fullnameOverride"] = scenario.namespace.as_str().into();
    values["webhook"]["excludedNamespaces"] = json!([]);
    values["webhook"]["namespaceSelector"] =
        json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": [scenario.namespace]}]);
    fs::write(&file, values.to_string()).unwrap();
    let (release, file) = (scenario.namespace.as_str(), file.to_str().unwrap());
    let show = ["template", release, "charts/sidecar-injector", "--namespace", namespace, "--values", file];
    let rendered = helm_4(scenario, &[&show[..], &["--show-only", "templates/policies.yaml"]].concat());
    let mut count = 0;
    for (path, object) in documents(&rendered) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        // The namespace is named after the scenario, so it can contain the name of a policy.
        let suffix = name.strip_prefix(release).unwrap_or(name);
        if suffix.contains(policy) || object["kind"] == "ClusterRole" {
            scenario.create_claimed(&path, &object);
            count += 1;
        }
    }
    assert!(count >= 2, "{rendered}");
}

/// Waits until a policy is looked at, and roles that came before it count: the error that says `text`.
fn until_denied(text: &str, answer: impl Fn() -> Result<Value, ApiError>) -> ApiError {
    let error = || match answer() {
        Err(error) if error.message.contains(text) => Ok(error),
        other => Err(format!("{other:?}")),
    };
    wait::until("the policy to take effect", error).0
}

fn dry_run(scenario: &Scenario<'_>, object: &Value) -> Result<Value, ApiError> {
    scenario.cluster().create(&format!("{}?dryRun=All", scenario.path("/api/v1", "pods")), object)
}

fn required(scenario: &Scenario<'_>) {
    let values = json!({
        "settings": {"defaultTemplates": ["vault-agent@2"], "requestAnnotations": ["example.com/inject"]},
        "admissionPolicies": {"requiredTemplates": ["vault-agent", {"name": "audit", "containers": ["audit-log", "audit-ship"]}]},
    });
    install(scenario, "required-templates", "elsewhere", &values);
    let error = until_denied("does not have its containers", || dry_run(scenario, &pod("asking", Some("vault-agent"))));
    assert!(
        error.code == 403
            && error.message.contains("requests the template \"vault-agent\" but does not have its containers"),
        "{error}"
    );
    let with = |request: &str, containers: &[&str]| {
        let mut pod = pod("asking", Some(request));
        pod["spec"]["initContainers"] =
            containers.iter().map(|name| json!({"name": name, "image": "i", "restartPolicy": "Always"})).collect();
        pod
    };
    for denied in ["vault-agent@2", " a , vault-agent @2", "true", "audit"] {
        assert!(dry_run(scenario, &pod("asking", Some(denied))).is_err(), "{denied}");
    }
    assert!(dry_run(scenario, &with("audit", &["audit-log"])).is_err(), "one of two");
    let other = json!({"metadata": {"name": "other", "annotations": {"example.com/inject": "vault-agent:2"}}, "spec": pod("x", None)["spec"]});
    assert!(dry_run(scenario, &other).is_err(), "another system's annotation");
    // Of several annotations, the first applies, as in the webhook.
    for first in ["false", "fluent-bit", ""] {
        let mut both = other.clone();
        both["metadata"]["annotations"]["sidecar.io/inject"] = first.into();
        let outcome = dry_run(scenario, &both);
        assert!(outcome.is_ok(), "{first}: {outcome:?}");
    }
    for (request, containers) in [
        ("vault-agent@2", &["vault-agent"][..]),
        ("audit", &["audit-log", "audit-ship"]),
        ("fluent-bit", &[]),
        ("false", &[]),
        ("vault-agentx", &[]),
        ("", &[]),
    ] {
        let outcome = dry_run(scenario, &with(request, containers));
        assert!(outcome.is_ok(), "{request}: {outcome:?}");
    }
    dry_run(scenario, &pod("silent", None)).expect("it does not request a template");
}

/// If a namespace has default templates, the value `true` selects them.
fn required_by_namespace(scenario: &Scenario<'_>) {
    let values = json!({
        "policy": {"enabled": true},
        "settings": {"defaultTemplates": ["audit"]},
        "admissionPolicies": {"requiredTemplates": ["vault-agent", "audit"]},
    });
    install(scenario, "required-templates", "elsewhere", &values);
    let asks = || dry_run(scenario, &pod("asking", Some("true")));
    let error = until_denied("does not have its containers", asks);
    assert!(error.message.contains("\"audit\""), "the default of the installation: {error}");
    let annotate = |value: &str| {
        let change = json!({"metadata": {"annotations": {"sidecar.io/inject": value}}});
        scenario.cluster().patch(&format!("/api/v1/namespaces/{}", scenario.namespace), &change).expect("annotate");
    };
    annotate("vault-agent@3");
    until_denied("\"vault-agent\"", asks);
    annotate("false");
    wait::until("a namespace without defaults", || asks().map_err(|error| error.to_string()));
    // A malformed value is ignored, as in the webhook.
    annotate("proxy@");
    until_denied("\"audit\"", asks);
    annotate("fluent-bit, true");
    until_denied("\"audit\"", asks);
}

fn misplaced(scenario: &Scenario<'_>) {
    install(scenario, "misplaced-annotation", "elsewhere", &json!({}));
    let template = |annotations: Value| json!({"metadata": {"labels": {"a": "b"}, "annotations": annotations}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let asks = || json!({"sidecar.io/inject": "fluent-bit"});
    let object = |kind: &str, annotations: Value, spec: Value| json!({"apiVersion": if kind == "CronJob" { "batch/v1" } else { "apps/v1" }, "kind": kind, "metadata": {"name": "x", "annotations": annotations}, "spec": spec});
    let deployment = |own: Value, pods: Value| {
        object("Deployment", own, json!({"selector": {"matchLabels": {"a": "b"}}, "template": template(pods)}))
    };
    let job = |pods: Value| {
        let mut template = template(pods);
        template["spec"]["restartPolicy"] = "Never".into();
        json!({"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}})
    };
    let warnings = |group: &str, kinds: &str, object: &Value| {
        let path = format!("{}?dryRun=All", scenario.path(group, kinds));
        scenario.cluster().warnings(&path, object).expect("accepted").join("\n")
    };
    let misplaced = deployment(asks(), json!({}));
    wait::until("a warning", || match warnings("/apis/apps/v1", "deployments", &misplaced) {
        text if text.contains("Write it on the pod template: spec.template.metadata.annotations") => Ok(()),
        text => Err(text),
    });
    let cron = |own: Value, pods: Value| object("CronJob", own, job(pods));
    assert!(warnings("/apis/batch/v1", "cronjobs", &cron(asks(), json!({}))).contains("jobTemplate"), "a CronJob");
    let mut inner = cron(json!({}), json!({}));
    inner["spec"]["jobTemplate"]["metadata"] = json!({"annotations": asks()});
    assert!(warnings("/apis/batch/v1", "cronjobs", &inner).contains("jobTemplate"), "a CronJob's Job");
    for quiet in [deployment(asks(), asks()), deployment(json!({}), asks()), deployment(json!({"a": "b"}), json!({}))] {
        assert_eq!(warnings("/apis/apps/v1", "deployments", &quiet), "", "{quiet}");
    }
    assert_eq!(warnings("/apis/batch/v1", "cronjobs", &cron(asks(), asks())), "");
}

/// Creates a service account with only these permissions. Returns a client with its token.
fn account(scenario: &Scenario<'_>, name: &str, role: &str, rules: &Value) -> Cluster {
    let namespace = &scenario.namespace;
    let metadata = json!({"name": name, "namespace": namespace});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    scenario.cluster().create(&scenario.path("/api/v1", "serviceaccounts"), &account).expect("an account");
    let global = format!("{namespace}-{role}");
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": global}, "rules": rules});
    scenario.create_claimed("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role);
    bind(scenario, &global, name);
    scenario.cluster_as(&token(scenario, name))
}

fn bind(scenario: &Scenario<'_>, role: &str, account: &str) {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": scenario.namespace}],
    });
    scenario.create_claimed("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding);
}

fn authors(scenario: &Scenario<'_>) {
    install(scenario, "template-label", "elsewhere", &json!({"admissionPolicies": {"guardTemplateLabel": true}}));
    let rules =
        json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update", "patch", "delete"]}]);
    let author = account(scenario, "author", "configmaps", &rules);
    let maps = scenario.path("/api/v1", "configmaps");
    let map = |label: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map", "labels": {label: "true"}}});
    let error = until_denied("templates.sidecar.io", || {
        author.create(&format!("{maps}?dryRun=All"), &map("sidecar.io/template"))
    });
    assert!(
        error.code == 403 && error.message.contains(&format!("templates.sidecar.io in {}", scenario.namespace)),
        "{error}"
    );
    assert!(author.create(&maps, &map("sidecar.io/values")).is_err(), "values are guarded, too");
    author.create(&maps, &map("example.com/other")).expect("other ConfigMaps are not guarded");
    let one = format!("{maps}/map");
    assert!(author.replace(&one, &map("sidecar.io/template")).is_err(), "a label that is added");
    scenario.cluster().replace(&one, &map("sidecar.io/template")).expect("an administrator");
    assert!(author.replace(&one, &map("example.com/other")).is_err(), "a label that is removed");
    let patch = |change: Value| author.patch(&one, &change);
    for denied in [
        json!({"data": {"a.yaml": "x"}}),
        json!({"immutable": true}),
        json!({"metadata": {"finalizers": ["example.com/wait"]}}),
        json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "0"}]}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
    ] {
        assert!(patch(denied.clone()).is_err(), "{denied}");
    }
    // Foreground deletion adds a finalizer, which the garbage collector removes.
    let deleted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "deleted", "labels": {"sidecar.io/template": "true"}}});
    scenario.cluster().create(&maps, &deleted).expect("an administrator");
    author.delete(&format!("{maps}/deleted?propagationPolicy=Foreground")).expect("deletion is not guarded");
    wait::until("the garbage collector", || match scenario.cluster().get(&format!("{maps}/deleted")) {
        Err(error) if error.code == 404 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    bind(scenario, &format!("elsewhere:{}-template-author", scenario.namespace), "author");
    wait::until("the permission to take effect", || {
        author.replace(&one, &map("sidecar.io/template")).map_err(|error| error.to_string())
    });
    author.delete(&one).expect("deletion is not guarded, so that namespaces can be deleted");
}

fn configuration(scenario: &Scenario<'_>) {
    let hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let name = format!("{}-hooks", scenario.namespace);
    let hook = |name: &str| {
        json!({
            "name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "clientConfig": {"service": {"name": "none", "namespace": scenario.namespace}},
            "rules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["nothing"], "operations": ["CREATE"]}],
        })
    };
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name}, "webhooks": [hook("a.sidecar.io"), hook("b.sidecar.io")]});
    scenario.create_claimed(hooks, &object);
    let rules = json!([{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"], "resourceNames": [name], "verbs": ["get", "patch"]}]);
    let webhook = account(scenario, "injector", "hooks", &rules);
    install(scenario, "webhook-configuration", &scenario.namespace, &json!({"serviceAccount": {"name": "injector"}}));
    let path = format!("{hooks}/{name}");
    let change = |change: Value| webhook.patch(&path, &change);
    // A dry run, because a change that takes effect could not be tried again.
    let first = json!({"webhooks": [{"name": "a.sidecar.io", "timeoutSeconds": 3}]});
    let error = until_denied("nothing but caBundle", || webhook.patch(&format!("{path}?dryRun=All"), &first));
    assert_eq!(error.code, 403, "{error}");
    let one = |field: Value| {
        let mut hook = field;
        hook["name"] = "a.sidecar.io".into();
        json!({"webhooks": [hook]})
    };
    for denied in [
        one(
            json!({"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["CREATE"]}]}),
        ),
        one(json!({"failurePolicy": "Fail"})),
        one(json!({"clientConfig": {"service": {"name": "evil", "namespace": "evil"}}})),
        one(json!({"clientConfig": {"service": null, "url": "https://example.com/mutate"}})),
        one(json!({"namespaceSelector": {"matchLabels": {"a": "b"}}})),
        one(json!({"objectSelector": {"matchLabels": {"a": "b"}}})),
        one(json!({"matchConditions": [{"name": "never", "expression": "false"}]})),
        one(json!({"reinvocationPolicy": "IfNeeded"})),
        json!({"webhooks": [{"$patch": "delete", "name": "b.sidecar.io"}]}),
        json!({"webhooks": [hook("c.sidecar.io")]}),
        json!({"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "evil/evil"}}}),
        json!({"metadata": {"finalizers": ["example.com/stay"]}}),
    ] {
        let error = change(denied.clone()).expect_err(&denied.to_string());
        assert!(error.message.contains("nothing but caBundle"), "{denied}: {error}");
    }
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority());
    for name in ["a.sidecar.io", "b.sidecar.io"] {
        change(json!({"webhooks": [{"name": name, "clientConfig": {"caBundle": bundle}}]})).expect("a bundle");
    }
    scenario.cluster().patch(&path, &one(json!({"timeoutSeconds": 3}))).expect("an administrator");
    scenario.cluster().delete(&path).expect("an administrator");
}

/// The certificate of an authority (PEM).
fn authority() -> String {
    Credentials::for_loopback().expect("credentials").authority
}
