//! Tests `lint --dry-run=server`: it names what refuses the pods of a template, and does not report what the template
//! does not cause.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::Entry;
use crate::release::token;
use crate::scenario::{Hook, Scenario};
use crate::support::wait;
use crate::templates::FLUENT_BIT;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("lint_dry_run_names_what_refuses_a_template", refusals),
    ("lint_dry_run_needs_rights_and_a_namespace", rights),
    ("lint_dry_run_beside_webhooks", beside_webhooks),
];

/// A template that each of the namespaces refuses for another reason, or accepts.
const LOGS: &str = r#"
name: logs
version: "1"
parameters:
  memory: {type: quantity, default: 16Mi, maximum: 256Mi}
  path: {type: string, required: true, pattern: "^/[a-z/]+$"}
sidecars:
- name: logs
  image: logs:1
  args: ["${params.path}"]
  resources: {requests: {cpu: 10m, memory: "${params.memory}"}, limits: {memory: "${params.memory}"}}
"#;

/// A template that all namespaces accept.
const SOUND: &str = "
sidecars:
- name: sound
  image: registry.example.com/sound@sha256:0123456789012345678901234567890123456789012345678901234567890123
  resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 16Mi}}
  livenessProbe: {tcpSocket: {port: 80}}
  securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
";

/// The result of `lint --dry-run=server -o json`.
struct LintResult {
    code: Option<i32>,
    /// The findings of the dry run.
    refusals: Vec<Value>,
    stderr: String,
}

impl LintResult {
    fn messages(&self) -> Vec<&str> {
        self.refusals.iter().filter_map(|finding| finding["message"].as_str()).collect()
    }
}

/// An account that can only create pods, in the namespaces that grant it.
struct Author<'s> {
    scenario: &'s Scenario<'s>,
    kubeconfig: PathBuf,
}

impl<'s> Author<'s> {
    fn new(scenario: &'s Scenario<'s>) -> Self {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "author"}});
        scenario.cluster().create(&scenario.path("/api/v1", "serviceaccounts"), &account).expect("an account");
        let kubeconfig = scenario.folder.join("author.kubeconfig");
        let text = scenario.bed.control_plane.kubeconfig.with_token(&token(scenario, "author")).to_json().to_string();
        fs::write(&kubeconfig, text).expect("write the kubeconfig");
        Self { scenario, kubeconfig }
    }

    /// Lets the author create pods in the namespace of `elsewhere`.
    fn allow(&self, elsewhere: &Scenario<'_>) {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "author"},
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}],
        });
        elsewhere.cluster().create(&elsewhere.path(rbac, "roles"), &role).expect("a role");
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "author"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "author"},
            "subjects": [{"kind": "ServiceAccount", "name": "author", "namespace": self.scenario.namespace}],
        });
        elsewhere.cluster().create(&elsewhere.path(rbac, "rolebindings"), &binding).expect("a binding");
        wait::until("the permission to take effect", || {
            let result = self.lint(&elsewhere.namespace, &[("sound", SOUND)]);
            if result.stderr.contains("cannot create resource") { Err(result.stderr) } else { Ok(()) }
        });
    }

    /// Runs `lint` with the rights of the author.
    fn lint(&self, namespace: &str, templates: &[(&str, &str)]) -> LintResult {
        let folder = tempfile::tempdir_in(&self.scenario.folder).expect("a folder");
        for (name, text) in templates {
            fs::write(folder.path().join(format!("{name}.yaml")), text).expect("write a template");
        }
        let output = Command::new(env!("CARGO_BIN_EXE_sidecar-injector"))
            .args(["lint", "--dry-run=server", "-o", "json", "-n", namespace, "--templates", "."])
            .current_dir(folder.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .expect("run lint");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
        let refusals = findings.into_iter().filter(|finding| finding["rule"] == "refused-by-cluster").collect();
        LintResult { code: output.status.code(), refusals, stderr }
    }

    /// Lints the template that is refused and the one that is not. Returns the only refusal.
    fn refusal(&self, namespace: &str, refused: &str) -> (Value, String) {
        let result = self.lint(namespace, &[("logs", refused), ("sound", SOUND)]);
        assert_eq!((result.code, result.refusals.len()), (Some(1), 1), "{:#?}\n{}", result.refusals, result.stderr);
        let [refusal] = &result.refusals[..] else { panic!("{:#?}", result.refusals) };
        assert_eq!(refusal["template"], "logs", "{refusal:#}");
        (refusal.clone(), result.stderr)
    }
}

/// Creates a namespace in which the author can create pods.
fn namespace<'a>(scenario: &Scenario<'a>, author: &Author<'_>, name: &str) -> Scenario<'a> {
    let elsewhere = scenario.elsewhere(&format!("lint-dry-run-{name}"));
    author.allow(&elsewhere);
    elsewhere
}

fn contains(finding: &Value, field: &str, part: &str) {
    assert!(finding[field].as_str().is_some_and(|text| text.contains(part)), "{part}: {finding:#}");
}

fn refusals(scenario: &Scenario<'_>) {
    let author = Author::new(scenario);
    author.allow(scenario);
    let accepted = author.lint(&scenario.namespace, &[("logs", LOGS), ("sound", SOUND)]);
    assert_eq!((accepted.code, accepted.messages()), (Some(0), Vec::new()), "{}", accepted.stderr);
    assert!(scenario.stored().is_empty(), "nothing is stored");
    let unknown = LOGS.replace("  image: logs:1\n", "  image: logs:1\n  newerField: 1\n");
    let (refusal, _) = author.refusal(&scenario.namespace, &unknown);
    contains(&refusal, "message", "the validation of the API server refuses");
    contains(&refusal, "message", "unknown field \"spec.initContainers[0].newerField\"");
    assert_eq!(refusal["line"], 10, "{refusal:#}");
    for (name, restrict, by, help) in [
        (
            "security",
            pod_security as fn(&Scenario<'_>),
            "Pod Security (restricted:latest) refuses",
            "harden the container",
        ),
        ("limits", limit_range, "a LimitRange refuses", "logs.sidecar.io/memory: 256Mi"),
        ("quota", memory_quota, "the ResourceQuota compute refuses", "logs.sidecar.io/memory: 256Mi"),
        ("policy", policy, "the ValidatingAdmissionPolicy lint-dry-run-policy refuses", "the owner of the policy"),
    ] {
        let elsewhere = namespace(scenario, &author, name);
        restrict(&elsewhere);
        wait::until("the restriction to take effect", || {
            let result = author.lint(&elsewhere.namespace, &[("logs", LOGS)]);
            if result.refusals.is_empty() { Err(result.stderr) } else { Ok(()) }
        });
        let (refusal, stderr) = author.refusal(&elsewhere.namespace, LOGS);
        contains(&refusal, "message", by);
        contains(&refusal, "help", help);
        let skipped = "pods with hostNetwork: true are not tried";
        assert_eq!(stderr.contains(skipped), name == "security", "{stderr}");
        // The wording does not depend on the run.
        assert_eq!(author.refusal(&elsewhere.namespace, LOGS), (refusal, stderr));
    }
}

fn pod_security(elsewhere: &Scenario<'_>) {
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    elsewhere.cluster().patch(&format!("/api/v1/namespaces/{}", elsewhere.namespace), &labels).expect("a label");
}

fn limit_range(elsewhere: &Scenario<'_>) {
    let object = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]},
    });
    elsewhere.cluster().create(&elsewhere.path("/api/v1", "limitranges"), &object).expect("a LimitRange");
}

fn memory_quota(elsewhere: &Scenario<'_>) {
    quota(elsewhere, &json!({"hard": {"requests.memory": "128Mi"}}));
}

fn quota(elsewhere: &Scenario<'_>, spec: &Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "compute"},
        "spec": spec,
    });
    elsewhere.cluster().create(&elsewhere.path("/api/v1", "resourcequotas"), &object).expect("a ResourceQuota");
    wait::until("the status of the quota", || {
        let quota = elsewhere.cluster().get(&elsewhere.path("/api/v1", "resourcequotas/compute"));
        let quota = quota.map_err(|error| error.to_string())?;
        if quota["status"]["hard"].is_object() { Ok(()) } else { Err(quota.to_string()) }
    });
}

fn policy(elsewhere: &Scenario<'_>) {
    let api = "/apis/admissionregistration.k8s.io/v1";
    let name = &elsewhere.namespace;
    let expression = "!has(object.spec.initContainers) || object.spec.initContainers.all(c, c.image.contains('@'))";
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
            "validations": [{"expression": expression, "message": "images must have a digest"}],
        },
    });
    elsewhere.create_claimed(&format!("{api}/validatingadmissionpolicies"), &policy);
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
        },
    });
    elsewhere.create_claimed(&format!("{api}/validatingadmissionpolicybindings"), &binding);
}

/// An error of the run is not a finding of a template. It says what is missing.
fn rights(scenario: &Scenario<'_>) {
    let author = Author::new(scenario);
    let result = author.lint(&scenario.namespace, &[("logs", LOGS)]);
    assert_eq!((result.code, result.messages()), (Some(3), Vec::new()), "{}", result.stderr);
    let expected = format!("failed to create a pod in the namespace {} as a dry run: ", scenario.namespace);
    assert!(result.stderr.contains(&expected) && result.stderr.contains("--namespace"), "{}", result.stderr);
    author.allow(scenario);
    let object = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"},
        "spec": {"limits": [{"type": "Container", "min": {"memory": "32Mi"}}]},
    });
    scenario.cluster().create(&scenario.path("/api/v1", "limitranges"), &object).expect("a LimitRange");
    // The plain pod is tried without resources, and the template is not.
    let result = author.lint(&scenario.namespace, &[("logs", LOGS), ("sound", &SOUND.replace("16Mi", "32Mi"))]);
    assert_eq!(result.code, Some(1), "{}", result.stderr);
    let [refusal] = &result.refusals[..] else { panic!("{:#?}", result.refusals) };
    assert_eq!(refusal["template"], "logs", "{refusal:#}");
    contains(refusal, "message", "a LimitRange refuses");

    // With valid parameters, an expression must not fail.
    let fails = "parameters: {n: {type: integer, default: 1, minimum: 0}}\nsidecars: [{name: a, image: 'a:1', env: [{name: SHARE, value: '${100 / params.n}'}]}]";
    let result = author.lint(&scenario.namespace, &[("fails", fails)]);
    let [refusal] = &result.refusals[..] else { panic!("{:#?}\n{}", result.refusals, result.stderr) };
    contains(refusal, "message", "the injector refuses");
    contains(refusal, "message", "division by zero");

    let nothing = json!({"hard": {"pods": "0"}});
    quota(scenario, &nothing);
    let result = author.lint(&scenario.namespace, &[("logs", LOGS)]);
    assert_eq!((result.code, result.messages()), (Some(3), Vec::new()), "{}", result.stderr);
    let expected = "the ResourceQuota compute refuses even a plain pod without a template";
    assert!(result.stderr.contains(expected), "{}", result.stderr);
}

fn beside_webhooks(scenario: &Scenario<'_>) {
    let author = Author::new(scenario);
    author.allow(scenario);
    let webhook = scenario.injector();
    // The version of the cluster is known.
    let agent = "sidecars: [{name: agent, image: 'agent:${cluster.minor}'}]";
    let result = author.lint(&scenario.namespace, &[("fluent-bit", FLUENT_BIT), ("agent", agent)]);
    assert_eq!((result.code, result.messages()), (Some(0), Vec::new()), "{}", result.stderr);
    assert!(webhook.answered("reason=\"NotRequested\"") > 5, "the API server has called the webhook");
    let other = scenario.endpoint(|review| {
        let has_sidecars = review["request"]["object"]["spec"]["initContainers"].is_array();
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {
                "uid": review["request"]["uid"], "allowed": !has_sidecars,
                "status": {"code": 400, "message": "no sidecars here"},
            },
        })
    });
    scenario.register(&[Hook::ours(&webhook), Hook::other("check.example.com", &other)]);
    let refused = || author.lint(&scenario.namespace, &[("fluent-bit", FLUENT_BIT)]);
    let (refused, _) = wait::until("the other webhook", || {
        let result = refused();
        if result.refusals.is_empty() { Err(result.stderr) } else { Ok(result) }
    });
    contains(&refused.refusals[0], "message", "the webhook check.example.com refuses");
    contains(&refused.refusals[0], "message", "no sidecars here");
}
