//! The core: from the bytes of a review to a decision and the bytes of its answer. Pure: no clock, no
//! environment, no async, no Kubernetes client. Server and command line call it, never the reverse.
//!
//! `bytes -> review::Request -> pod::Pod (borrowed view) -> select -> catalog -> plan -> patch -> bytes`

pub mod app_containers;
mod arrangement;
mod blueprint;
mod compile;
mod decision;
mod evaluate;
mod expr;
mod front;
mod item;
mod patch;
mod paths;
mod plan;
mod pod_level;
mod pod_resources;
mod pod_types;
mod resolve;

pub mod catalog;
pub mod diagnostic;
pub mod parameter;
pub mod pod;
pub mod quantity;
pub mod reason;
pub mod review;
pub mod select;
pub mod sources;
pub mod status;
pub mod syntax;
pub mod template;
pub mod yaml;

pub use blueprint::Additions;
pub use decision::{Decision, Outcome, Verdict};
pub use item::{Item, Port};

use catalog::Catalog;
use pod::Spec;
use reason::Reason;
use resolve::{Case, Place};
use review::{Request, ReviewError};
use select::Selection;

/// What does not depend on the request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces whose pods are never touched.
    pub excluded_namespaces: Vec<String>,
    /// Names of containers that other injectors add: no glob of `appContainers` is about them.
    pub foreign_sidecars: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let foreign_sidecars = FOREIGN_SIDECARS.iter().map(ToString::to_string).collect();
        Self { excluded_namespaces: Vec::new(), foreign_sidecars }
    }
}

/// What the usual injectors call their containers.
pub const FOREIGN_SIDECARS: [&str; 14] = [
    "istio-proxy",
    "istio-init",
    "istio-validation",
    "linkerd-proxy",
    "linkerd-init",
    "linkerd-network-validator",
    "daprd",
    "vault-agent",
    "vault-agent-init",
    "consul-dataplane",
    "consul-connect-inject-init",
    "kuma-sidecar",
    "kuma-init",
    "gke-gcsfuse-sidecar",
];

/// Where the pod stands in the document that is patched. The default is the pod itself.
#[derive(Clone, Debug, Default)]
pub struct Embedding {
    /// JSON pointer of the pod template, e.g. `/spec/template`; empty for a pod.
    pub pointer: String,
    /// Whether the pod is one of a Job.
    pub of_job: bool,
    /// Names of volumes that the workload adds to its pods (a `StatefulSet`'s claim templates).
    pub claims: Vec<String>,
}

/// A decision and the bytes that answer the review.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The AdmissionReview with the response.
    pub body: Vec<u8>,
    /// What was decided.
    pub decision: Decision,
    /// The request, unless the front of the review decided it.
    pub request: Option<Request<'a>>,
}

/// Answers the review in `body`.
///
/// # Errors
/// When the body is no review: then there is nothing that could be answered but HTTP 400.
pub fn answer<'a>(body: &'a [u8], catalog: &Catalog, settings: &Settings) -> Result<Answer<'a>, ReviewError> {
    if let Some(front) = front::not_requested(body)
        && !settings.excludes(front.namespace.as_str())
    {
        let decision = Decision::unchanged(Reason::NotRequested);
        return Ok(Answer { body: review::response(front.uid.as_str(), &decision), decision, request: None });
    }
    let request = Request::parse(body)?;
    let decision = decide(&request, catalog, settings, &Embedding::default());
    Ok(Answer { body: review::response(request.uid.as_str(), &decision), decision, request: Some(request) })
}

impl Settings {
    fn excludes(&self, namespace: &str) -> bool {
        self.excluded_namespaces.iter().any(|excluded| excluded == namespace)
    }
}

/// Decides one request: phase 1, whether the pod is to be touched at all.
#[must_use]
pub fn decide(request: &Request<'_>, catalog: &Catalog, settings: &Settings, embedding: &Embedding) -> Decision {
    if !request.target.is_pod_create() {
        return Decision::unchanged(Reason::NotAPodCreate);
    }
    let Some(pod) = &request.pod else {
        return Decision::denied(Reason::InvalidPod, "The review holds no object, so there is no pod to look at.");
    };
    let metadata = match &pod.metadata {
        Ok(metadata) => metadata,
        Err(why) => return invalid_pod(why),
    };
    if metadata.annotation(select::MIRROR).is_some() {
        return Decision::unchanged(Reason::MirrorPod);
    }
    let value = metadata.annotation(select::REQUEST);
    if settings.excludes(request.namespace.as_str()) {
        let mut decision = Decision::unchanged(Reason::ExcludedNamespace);
        let text = "the injector leaves pods of this namespace alone";
        decision.warnings.extend(value.map(|_| decision::warning(text, Reason::ExcludedNamespace)));
        return decision;
    }
    let Some(value) = value else { return Decision::unchanged(Reason::NotRequested) };
    let place = Place { metadata, embedding };
    let refs = match select::parse(value) {
        Err(why) => return Decision::denied(Reason::InvalidRequest, &format!("{why} {}", place.change())),
        Ok(Selection::OptedOut) => return Decision::unchanged(Reason::OptedOut),
        Ok(Selection::Empty) => {
            let mut decision = Decision::unchanged(Reason::NotRequested);
            let text = format!("{} is empty and asks for nothing", select::REQUEST);
            decision.warnings.push(decision::warning(&text, Reason::NotRequested));
            return decision;
        }
        Ok(Selection::Templates(refs)) => refs,
    };
    match &pod.spec {
        Err(why) => invalid_pod(why),
        Ok(Spec { containers: None, .. }) => invalid_pod("the pod's spec: it has no containers"),
        Ok(spec) => Case { request, metadata, spec, catalog, settings, place }.decide(&refs),
    }
}

fn invalid_pod(why: &str) -> Decision {
    let why = diagnostic::shown(why, 400);
    Decision::denied(Reason::InvalidPod, &format!("This is not a valid pod, so nothing can be added to it: {why}."))
}
