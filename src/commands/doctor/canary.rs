//! The proof: a pod that asks for a template, created as a dry run, must come back with it.

use serde_json::{Value, json};

use super::Check;
use super::api::{Api, Refusal};
use crate::inject::keys::Keys;

/// How many templates are tried: some need parameters, others allow only some namespaces.
const TRIES: usize = 10;

/// Has a pod injected with the first of the templates that can be.
pub(super) async fn check(api: &Api, namespace: &str, templates: &[String], keys: &Keys) -> Check {
    let mut refused = None;
    for template in templates.iter().take(TRIES) {
        match create(api, namespace, template, false, keys).await {
            Ok(pod) if carries(&pod, template, keys) => return injected(&pod, namespace, template, keys),
            Ok(_) => return not_injected(api, namespace, template, keys).await,
            Err(refusal) if is_decision(&refusal) => refused = refused.or(Some((template, refusal))),
            Err(refusal) => {
                let text = format!("the pod in {namespace} that asks for {template} is refused: {refusal}");
                return Check::failed("canary", text);
            }
        }
    }
    match refused {
        Some((template, refusal)) => Check::failed(
            "canary",
            format!("the webhook answers, but refuses a pod in {namespace} that asks for {template}: {refusal}"),
        )
        .remedy("--template NAME asks for one that takes no parameters"),
        None => without_template(api, namespace, keys).await,
    }
}

/// Without a template the webhook can still be asked what it would decide.
async fn without_template(api: &Api, namespace: &str, keys: &Keys) -> Check {
    match create(api, namespace, "true", true, keys).await {
        Err(refusal) if is_decision(&refusal) => Check::warning(
            "canary",
            format!("the webhook answers for pods in {namespace}; there is no template to inject"),
        ),
        Err(refusal) => Check::failed("canary", format!("a pod in {namespace} is refused: {refusal}")),
        Ok(_) => not_called(namespace),
    }
}

/// Why a pod that asked came back as it was: the webhook is asked for its trace.
async fn not_injected(api: &Api, namespace: &str, template: &str, keys: &Keys) -> Check {
    match create(api, namespace, template, true, keys).await {
        Err(refusal) if is_decision(&refusal) => Check::failed(
            "canary",
            format!("a pod in {namespace} that asks for {template} does not get it; the webhook says:\n{refusal}"),
        ),
        _ => not_called(namespace),
    }
}

fn not_called(namespace: &str) -> Check {
    let text = format!(
        "a pod in {namespace} comes back as it was: the API server did not call the webhook, or could not reach it"
    );
    Check::failed("canary", text).remedy(format!(
        "is {namespace} excluded (namespaceSelector)? Then: the checks above, network policies and firewalls between the control plane and the pods' port, and --observe"
    ))
}

/// Whether the answer is a decision of this program's webhook (its name stands in front of every denial).
fn is_decision(refusal: &Refusal) -> bool {
    refusal.code == 403
        && [" webhook \"inject.sidecar.io\" denied", " webhook \"policy.sidecar.io\" denied"]
            .iter()
            .any(|part| refusal.message.contains(part))
}

async fn create(api: &Api, namespace: &str, request: &str, trace: bool, keys: &Keys) -> Result<Value, Refusal> {
    api.create(&format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"), &pod(request, trace, keys)).await
}

/// A pod that Pod Security levels and quotas let through.
fn pod(request: &str, trace: bool, keys: &Keys) -> Value {
    let mut annotations = json!({&keys.request: request});
    if trace {
        annotations[&keys.trace] = "true".into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "sidecar-injector-canary-", "annotations": annotations},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app",
                "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

fn status(pod: &Value, keys: &Keys) -> Value {
    let text = pod["metadata"]["annotations"][&keys.status].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Whether the status of the pod says that the template was added.
fn carries(pod: &Value, template: &str, keys: &Keys) -> bool {
    let name = template.split('@').next();
    let status = status(pod, keys);
    let mut templates = status["templates"].as_array().into_iter().flatten();
    templates.any(|entry| entry["name"].as_str() == name && entry["added"].is_object())
}

fn injected(pod: &Value, namespace: &str, template: &str, keys: &Keys) -> Check {
    let status = status(pod, keys);
    let by = status["injector"].as_str().unwrap_or_default();
    Check::ok("canary", format!("a pod in {namespace} that asks for {template} gets it (webhook {by})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_that_lists_additions_counts() {
        let keys = Keys::default();
        let pod = |status: Value| json!({"metadata": {"annotations": {"sidecar.io/status": status.to_string()}}});
        let entry = |entry: Value| pod(json!({"injector": "0.1.0", "templates": [entry]}));
        assert!(carries(&entry(json!({"name": "a", "version": "2", "added": {}})), "a@2", &keys));
        assert!(!carries(&entry(json!({"name": "a", "skipped": {"reason": "Conflict"}})), "a", &keys));
        assert!(!carries(&entry(json!({"name": "b", "added": {}})), "a", &keys));
        assert!(!carries(&json!({"metadata": {}}), "a", &keys));
    }

    #[test]
    fn only_our_own_denials_prove_that_the_webhook_answers() {
        let refusal = |code, message: &str| Refusal { code, message: message.to_owned() };
        assert!(is_decision(&refusal(403, "admission webhook \"inject.sidecar.io\" denied the request: x")));
        assert!(!is_decision(&refusal(403, "pods is forbidden: exceeded quota")));
        assert!(!is_decision(&refusal(500, "failed calling webhook \"inject.sidecar.io\": x")));
    }
}
