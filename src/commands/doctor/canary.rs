//! The proof: a pod that asks for a template, created as a dry run, must come back with it.

use serde_json::{Value, json};

use crate::commands::doctor::api::{Api, ApiError};
use crate::commands::doctor::check::DoctorCheck;
use crate::commands::doctor::installation::Installation;
use crate::inject::settings::keys::Keys;

/// How many templates are tried: some need parameters, others allow only some namespaces.
const TRIES: usize = 10;

/// Where a pod asks, and for what there is to ask.
pub(super) struct Canary<'c> {
    pub(super) api: &'c Api,
    pub(super) namespace: &'c str,
    pub(super) found: &'c Installation,
}

/// What became of one pod.
enum CanaryOutcome {
    /// It came back with the template.
    Injected(Value),
    /// The webhook decided otherwise, and said why.
    Decided(String),
    /// It came back as it was, and the webhook has not said so.
    Missed,
    /// Somebody else refused it.
    Refused(ApiError),
}

impl Canary<'_> {
    /// Has a pod injected with the template of that name, or with the first that can be.
    pub(super) async fn check(&self, named: Option<&str>) -> DoctorCheck {
        let named = named.map(|name| vec![name.to_owned()]);
        let templates = named.as_ref().unwrap_or(&self.found.templates);
        let namespace = self.namespace;
        let mut reason = None;
        for template in templates.iter().take(TRIES) {
            match self.ask(template).await {
                CanaryOutcome::Injected(pod) => return self.injected(&pod, template),
                CanaryOutcome::Decided(why) => reason = reason.or(Some(format!("for {template} it says:\n{why}"))),
                CanaryOutcome::Missed => return self.missed(),
                CanaryOutcome::Refused(refusal) => return self.refused(&refusal),
            }
        }
        match (reason, named) {
            (Some(reason), Some(_)) => DoctorCheck::failed(
                "canary",
                format!("the webhook answers, but a pod in {namespace} does not get it; {reason}"),
            ),
            (Some(reason), None) => DoctorCheck::warning(
                "canary",
                format!("the webhook answers, but no template is for a plain pod in {namespace}; {reason}"),
            ),
            (None, _) => self.without_template().await,
        }
    }

    async fn ask(&self, template: &str) -> CanaryOutcome {
        match self.create(template, false).await {
            Ok(pod) if carries(&pod, template, &self.found.keys) => CanaryOutcome::Injected(pod),
            Ok(_) => self.why(template).await,
            // The chart's own policy found it missing.
            Err(refusal) if refusal.message.contains("-required-templates.") => self.why(template).await,
            Err(refusal) if is_decision(&refusal) => CanaryOutcome::Decided(refusal.message),
            Err(refusal) => CanaryOutcome::Refused(refusal),
        }
    }

    /// Why a pod came back without the template: the webhook tells who asks for its trace.
    async fn why(&self, template: &str) -> CanaryOutcome {
        match self.create(template, true).await {
            Err(refusal) if is_decision(&refusal) => CanaryOutcome::Decided(refusal.message),
            _ => CanaryOutcome::Missed,
        }
    }

    /// Without a template the webhook can still be asked what it would decide.
    async fn without_template(&self) -> DoctorCheck {
        match self.create("true", true).await {
            Err(refusal) if is_decision(&refusal) => {
                let text =
                    format!("the webhook answers for pods in {}; there is no template to inject", self.namespace);
                DoctorCheck::warning("canary", text)
            }
            Err(refusal) => self.refused(&refusal),
            Ok(_) => self.missed(),
        }
    }

    fn missed(&self) -> DoctorCheck {
        let namespace = self.namespace;
        if self.found.observes {
            let text = format!(
                "a pod in {namespace} comes back as it was: the webhook observes, which looks like one that is never called"
            );
            return DoctorCheck::warning("canary", text)
                .remedy("see whether admission_requests_total of its metrics rises");
        }
        let text = format!(
            "a pod in {namespace} comes back as it was: the API server did not call the webhook, or could not reach it"
        );
        DoctorCheck::failed("canary", text).remedy(format!(
            "is {namespace} excluded (namespaceSelector)? Then: the checks above, and network policies and firewalls between the control plane and the pods' port"
        ))
    }

    /// What the API server or another webhook said.
    fn refused(&self, refusal: &ApiError) -> DoctorCheck {
        let namespace = self.namespace;
        if refusal.code == 403 && refusal.message.contains("cannot create resource \"pods\"") {
            return DoctorCheck::unknown("canary", refusal);
        }
        let check = DoctorCheck::failed("canary", format!("a pod in {namespace} is refused: {refusal}"));
        if refusal.message.contains("failed calling webhook") {
            return check
                .remedy("the checks above; failurePolicy Fail refuses pods while the webhook cannot be called");
        }
        check.remedy(format!(
            "what refuses plain pods in {namespace} is not the webhook; choose another namespace (--namespace)"
        ))
    }

    fn injected(&self, pod: &Value, template: &str) -> DoctorCheck {
        let status = status(pod, &self.found.keys);
        let by = status["injector"].as_str().unwrap_or_default();
        DoctorCheck::ok(
            "canary",
            format!("a pod in {} that asks for {template} gets it (webhook {by})", self.namespace),
        )
    }

    async fn create(&self, request: &str, trace: bool) -> Result<Value, ApiError> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.namespace);
        self.api.create(&path, &pod(request, trace, &self.found.keys)).await
    }
}

/// Whether the answer is a decision of this program's webhook (its name stands in front of every denial).
fn is_decision(refusal: &ApiError) -> bool {
    refusal.code == 403
        && [" webhook \"inject.sidecar.io\" denied", " webhook \"policy.sidecar.io\" denied"]
            .iter()
            .any(|part| refusal.message.contains(part))
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
        let refusal = |code, message: &str| ApiError { code, message: message.to_owned() };
        assert!(is_decision(&refusal(403, "admission webhook \"inject.sidecar.io\" denied the request: x")));
        assert!(!is_decision(&refusal(403, "pods is forbidden: exceeded quota")));
        assert!(!is_decision(&refusal(500, "failed calling webhook \"inject.sidecar.io\": x")));
    }
}
