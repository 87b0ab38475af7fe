//! The canary: creates a pod that requests a template, as a dry run, and checks that the template is injected.
//!
//! It tests the whole path from the API server to the webhook. It does not decide on the pod itself; it reads the
//! webhook's answer.

use serde_json::{Value, json};

use crate::commands::common::api::{Api, ApiError};
use crate::commands::doctor::check::DoctorCheck;
use crate::commands::doctor::installation::Installation;
use crate::inject::authoring::dry_run::pod_kind::restricted_pod;
use crate::inject::settings::keys::Keys;

/// Maximum number of templates to try. Some need parameters, others allow only some namespaces.
const TRIES: usize = 10;

/// The canary of an installation, in a namespace.
pub(super) struct Canary<'c> {
    pub(super) api: &'c Api,
    pub(super) namespace: &'c str,
    pub(super) installation: &'c Installation,
}

/// The result for one pod.
enum CanaryOutcome {
    /// The template was injected. The pod has its containers.
    Injected(Value),
    /// The webhook did not inject the template; this is its reason.
    Decided(String),
    /// The pod is unchanged, and the webhook has not answered.
    Missed,
    /// The API server or another webhook rejected the pod.
    Rejected(ApiError),
}

impl Canary<'_> {
    /// Runs the canary with the named template, or without a name with each template until one is injected.
    pub(super) async fn check(&self, named: Option<&str>) -> DoctorCheck {
        let named = named.map(|name| vec![name.to_owned()]);
        let templates = named.as_ref().unwrap_or(&self.installation.templates);
        let namespace = self.namespace;
        let mut reason = None;
        for template in templates.iter().take(TRIES) {
            match self.request(template).await {
                CanaryOutcome::Injected(pod) => return self.report_injected(&pod, template),
                CanaryOutcome::Decided(why) => reason = reason.or(Some(format!("its answer for {template}:\n{why}"))),
                CanaryOutcome::Missed => return self.report_missed(),
                CanaryOutcome::Rejected(error) => return self.report_rejected(&error),
            }
        }
        match (reason, named) {
            (Some(reason), Some(_)) => DoctorCheck::failed(
                "canary",
                format!("the webhook answers, but does not inject the template into a pod in {namespace}; {reason}"),
            ),
            (Some(reason), None) => DoctorCheck::warning(
                "canary",
                format!("the webhook answers, but injects no template into a plain pod in {namespace}; {reason}"),
            ),
            (None, _) => self.without_template().await,
        }
    }

    /// Creates a pod that requests a template.
    async fn request(&self, template: &str) -> CanaryOutcome {
        match self.create(template, false).await {
            Ok(pod) if has_template(&pod, template, &self.installation.keys) => CanaryOutcome::Injected(pod),
            Ok(_) => self.reason(template).await,
            // The chart's own policy rejected a pod without the template.
            Err(error) if error.message.contains("-required-templates.") => self.reason(template).await,
            Err(error) if is_decision(&error) => CanaryOutcome::Decided(error.message),
            Err(error) => CanaryOutcome::Rejected(error),
        }
    }

    /// Finds out why a pod does not have the template: the webhook answers a request for a trace with its reasons.
    async fn reason(&self, template: &str) -> CanaryOutcome {
        match self.create(template, true).await {
            Err(error) if is_decision(&error) => CanaryOutcome::Decided(error.message),
            _ => CanaryOutcome::Missed,
        }
    }

    /// Without templates, checks that the webhook answers a request for a trace.
    async fn without_template(&self) -> DoctorCheck {
        match self.create("true", true).await {
            Err(error) if is_decision(&error) => {
                let text =
                    format!("the webhook answers for pods in {}; there is no template to inject", self.namespace);
                DoctorCheck::warning("canary", text)
            }
            Err(error) => self.report_rejected(&error),
            Ok(_) => self.report_missed(),
        }
    }

    /// Reports a pod that is unchanged although it requests a template.
    fn report_missed(&self) -> DoctorCheck {
        let namespace = self.namespace;
        if self.installation.observes {
            let text = format!(
                "a pod in {namespace} is unchanged: the webhook only observes, so this check cannot distinguish it from a webhook that is not called"
            );
            return DoctorCheck::warning("canary", text)
                .remedy("check that the metric admission_requests_total of the webhook increases");
        }
        let text = format!(
            "a pod in {namespace} is unchanged: the API server did not call the webhook, or could not reach it"
        );
        DoctorCheck::failed("canary", text).remedy(format!(
            "check that the namespaceSelector of the webhook matches {namespace}, then the checks above, then network policies and firewalls between the control plane and the port of the pods"
        ))
    }

    /// Reports a pod that the API server or another webhook rejected.
    fn report_rejected(&self, error: &ApiError) -> DoctorCheck {
        let namespace = self.namespace;
        if error.code == 403 && error.message.contains("cannot create resource \"pods\"") {
            return DoctorCheck::unknown("canary", error);
        }
        let check = DoctorCheck::failed("canary", format!("a pod in {namespace} is rejected: {error}"));
        if error.message.contains("failed calling webhook") {
            return check
                .remedy("see the checks above; failurePolicy Fail rejects pods while the webhook cannot be called");
        }
        check.remedy(format!(
            "the webhook does not reject plain pods in {namespace}; choose another namespace (--namespace)"
        ))
    }

    /// Reports a pod with the template.
    fn report_injected(&self, pod: &Value, template: &str) -> DoctorCheck {
        let status = status(pod, &self.installation.keys);
        let by = status["injector"].as_str().unwrap_or_default();
        DoctorCheck::ok(
            "canary",
            format!("a pod in {} that requests {template} gets it (webhook {by})", self.namespace),
        )
    }

    /// Creates a pod with a request annotation, as a dry run; with `trace`, it requests the trace of the decision too.
    async fn create(&self, request: &str, trace: bool) -> Result<Value, ApiError> {
        let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", self.namespace);
        self.api.create(&path, &pod(request, trace, &self.installation.keys)).await
    }
}

/// Returns true if the error is a decision of our webhook. The API server writes the name of the webhook before each
/// denial.
fn is_decision(error: &ApiError) -> bool {
    error.code == 403
        && [" webhook \"inject.sidecar.io\" denied", " webhook \"policy.sidecar.io\" denied"]
            .iter()
            .any(|part| error.message.contains(part))
}

/// Returns a pod that usual clusters accept. `request` is the value of the request annotation.
fn pod(request: &str, trace: bool, keys: &Keys) -> Value {
    let mut annotations = json!({&keys.request: request});
    if trace {
        annotations[&keys.trace] = "true".into();
    }
    let mut pod = restricted_pod();
    pod["metadata"] = json!({"generateName": "sidecar-injector-canary-", "annotations": annotations});
    pod
}

/// Returns the status annotation of a pod; null if it has none.
fn status(pod: &Value, keys: &Keys) -> Value {
    let text = pod["metadata"]["annotations"][&keys.status].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Returns true if the status of the pod lists the template as added. `template` is `NAME` or `NAME@VERSION`.
fn has_template(pod: &Value, template: &str, keys: &Keys) -> bool {
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
        assert!(has_template(&entry(json!({"name": "a", "version": "2", "added": {}})), "a@2", &keys));
        assert!(!has_template(&entry(json!({"name": "a", "skipped": {"reason": "Conflict"}})), "a", &keys));
        assert!(!has_template(&entry(json!({"name": "b", "added": {}})), "a", &keys));
        assert!(!has_template(&json!({"metadata": {}}), "a", &keys));
    }

    #[test]
    fn only_our_own_denials_prove_that_the_webhook_answers() {
        let error = |code, message: &str| ApiError { code, message: message.to_owned() };
        assert!(is_decision(&error(403, "admission webhook \"inject.sidecar.io\" denied the request: x")));
        assert!(!is_decision(&error(403, "pods is forbidden: exceeded quota")));
        assert!(!is_decision(&error(500, "failed calling webhook \"inject.sidecar.io\": x")));
    }
}
