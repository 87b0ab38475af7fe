//! Reviews of three sizes, in the key order of the API server and with the managed fields that it sends, and the
//! conventional way to answer them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::template::Template;

/// One sidecar, one init container, one volume.
const TEMPLATE: &str = "
name: fluent-bit
version: '4.1'
initContainers:
- name: prepare-logs
  image: busybox:1.37
  command: [sh, -c, mkdir -p /logs/app]
  volumeMounts: [{name: app-logs, mountPath: /logs}]
sidecars:
- name: fluent-bit
  image: fluent/fluent-bit:4.1.0
  env: [{name: LOG_DIR, value: /logs}, {name: LEVEL, value: info}]
  resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 64Mi}}
  volumeMounts: [{name: app-logs, mountPath: /logs, readOnly: true}]
volumes:
- {name: app-logs, emptyDir: {}}
";

/// Returns a catalog with one template.
pub fn catalog() -> Catalog {
    let loaded = Template::load(&Source::new("bench", TEMPLATE), "fluent-bit", &Keys::default()).expect("a template");
    Catalog::new([Arc::new(loaded.template)], BTreeMap::new())
}

/// A review with its name; `body` is an AdmissionReview as JSON.
pub struct Case {
    pub name: &'static str,
    pub body: Vec<u8>,
}

/// Returns all reviews.
pub fn cases() -> Vec<Case> {
    let case = |name, pod: Value| Case { name, body: review(&pod).to_string().into_bytes() };
    let typical = || pod(2, 26, Some("fluent-bit"));
    vec![
        case("small", pod(1, 0, Some("fluent-bit"))),
        case("typical", typical()),
        case("huge", pod(1, 2_000, Some("fluent-bit"))),
        case("skip typical", pod(2, 26, None)),
        case("skip huge", pod(1, 2_000, None)),
        case("already injected", conventional(&typical())),
    ]
}

fn pod(containers: usize, env: usize, request: Option<&str>) -> Value {
    let container = |index: usize| {
        let env: Vec<Value> = (0..env)
            .map(|at| json!({"name": format!("SETTING_NUMBER_{at}"), "value": format!("https://service-{at}.shop.svc.cluster.local:8443/v1/api")}))
            .collect();
        let probe = json!({"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
        json!({
            "name": format!("app-{index}"), "image": "registry.example.com/team/app:1.2.3",
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}], "env": env,
            "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
            "volumeMounts": [{"name": "kube-api-access-x7k2p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            "livenessProbe": probe, "readinessProbe": probe, "startupProbe": probe,
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
        })
    };
    let managed: serde_json::Map<String, Value> = (0..containers)
        .map(|index| {
            let env: serde_json::Map<String, Value> = (0..env)
                .map(|at| (format!("k:{{\"name\":\"SETTING_NUMBER_{at}\"}}"), json!({".": {}, "f:name": {}, "f:value": {}})))
                .collect();
            let probe = json!({".": {}, "f:failureThreshold": {}, "f:httpGet": {".": {}, "f:path": {}, "f:port": {}, "f:scheme": {}}, "f:periodSeconds": {}, "f:successThreshold": {}, "f:timeoutSeconds": {}});
            (format!("k:{{\"name\":\"app-{index}\"}}"), json!({".": {}, "f:env": env, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:livenessProbe": probe, "f:readinessProbe": probe, "f:startupProbe": probe}))
        })
        .collect();
    let mut annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "8080"});
    if let Some(request) = request {
        annotations["sidecar.io/inject"] = request.into();
    }
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "generateName": "app-6d5f7c9b8d-", "namespace": "shop", "creationTimestamp": null,
            "labels": {"app.kubernetes.io/name": "app", "app.kubernetes.io/instance": "app", "app.kubernetes.io/version": "1.2.3", "team": "shop", "pod-template-hash": "6d5f7c9b8d"},
            "annotations": annotations,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-6d5f7c9b8d", "uid": "3d9b7a3c-6a5e-4f5e-9a58-1f3f0d6f3a11", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": "2026-11-21T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:prometheus.io/scrape": {}}, "f:generateName": {}, "f:labels": {".": {}, "f:team": {}}}, "f:spec": {"f:containers": managed}}}],
        },
        "spec": {
            "volumes": [{"name": "kube-api-access-x7k2p", "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}], "defaultMode": 420}}],
            "containers": (0..containers).map(container).collect::<Vec<_>>(),
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "serviceAccountName": "default",
            "serviceAccount": "default", "securityContext": {}, "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "priority": 0, "enableServiceLinks": true, "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    })
}

fn review(pod: &Value) -> Value {
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let resource = json!({"group": "", "version": "v1", "resource": "pods"});
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "0b4ad54f-5b9f-4d0c-a5d9-6b1f1d3d9a3c", "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "namespace": "shop", "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["system:serviceaccounts", "system:authenticated"]},
            "object": pod, "oldObject": null, "dryRun": false, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// Makes the same additions in a JSON tree.
fn conventional(pod: &Value) -> Value {
    let mut after = pod.clone();
    let container = |name: &str| json!({"name": name, "image": "fluent/fluent-bit:4.1.0", "env": [{"name": "LOG_DIR", "value": "/logs"}], "volumeMounts": [{"name": "app-logs", "mountPath": "/logs"}]});
    after["spec"]["initContainers"] = json!([container("prepare-logs"), container("fluent-bit")]);
    if let Some(volumes) = after["spec"]["volumes"].as_array_mut() {
        volumes.push(json!({"name": "app-logs", "emptyDir": {}}));
    }
    after["metadata"]["annotations"]["sidecar.io/status"] = r#"{"injector":"0.1.0","templates":[{"name":"fluent-bit","version":"4.1","hash":"0","mode":"native","added":{"initContainers":["prepare-logs","fluent-bit"],"volumes":["app-logs"]}}]}"#.into();
    after
}

/// Answers a review in the conventional way: parse it into a tree, clone, change, compute the difference, serialize.
/// Returns the length of the response in bytes.
pub fn answer_conventionally(body: &[u8]) -> usize {
    let review: Value = serde_json::from_slice(body).expect("JSON");
    let pod = &review["request"]["object"];
    let patch = json_patch::diff(pod, &conventional(pod));
    let patch = serde_json::to_vec(&patch).expect("JSON");
    let patch = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, patch);
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}}).to_string().len()
}
