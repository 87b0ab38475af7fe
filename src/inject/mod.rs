//! The core: from the bytes of a review to a decision and the bytes of its answer. Pure: no clock, no
//! environment, no async, no Kubernetes client. Server and command line call it, never the reverse.
//!
//! `bytes -> review::Request -> pod::Pod (borrowed view) -> select -> catalog -> plan -> patch -> bytes`

pub mod authoring;
pub mod catalog;
pub mod decision;
pub mod diagnostic;
pub mod document;
pub(crate) mod evaluate;
pub(crate) mod expr;
pub mod kube;
pub(crate) mod plan;
pub(crate) mod resolve;
pub mod review;
pub mod select;
pub mod settings;
pub mod status;
pub mod template;

use std::cell::RefCell;

use crate::inject::catalog::Catalog;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::{Recorder, Trace};
use crate::inject::decision::{Decision, Verdict};
use crate::inject::resolve::{Case, Place};
use crate::inject::review::pod::{Spec, Text};
use crate::inject::review::{Request, ReviewError, Target, Version, fast_path};
use crate::inject::select::{Chooser, request};
use crate::inject::settings::keys::Keys;

/// What does not depend on the request.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The keys of annotations.
    pub keys: Keys,
    /// Namespaces whose pods are never touched.
    pub excluded_namespaces: Vec<String>,
    /// What `true` in a request stands for: requests of their own, e.g. `fluent-bit, vault-agent@2`.
    pub default_templates: Vec<String>,
    /// Other systems' annotations that count as a request too.
    pub request_annotations: Vec<String>,
    /// Whether a request for an unknown template leaves it out instead of refusing the pod.
    pub skip_unknown: bool,
    /// Names of containers that other injectors add: no glob of `appContainers` is about them.
    pub foreign_sidecars: Vec<String>,
    /// Whether answers neither change nor refuse anything, whatever is decided.
    pub observe: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let foreign_sidecars = FOREIGN_SIDECARS.iter().map(ToString::to_string).collect();
        Self {
            keys: Keys::default(),
            excluded_namespaces: Vec::new(),
            default_templates: Vec::new(),
            request_annotations: Vec::new(),
            skip_unknown: false,
            foreign_sidecars,
            observe: false,
        }
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

/// Which webhook a request came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// For pods that ask: requests only.
    #[default]
    Requests,
    /// For namespaces with policies: their defaults and `autoInject` reach pods that say nothing, too.
    Policy,
}

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

/// Why a review is not answered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The body is no review: there is nothing that could be answered but HTTP 400.
    #[error(transparent)]
    NoReview(#[from] ReviewError),
    /// The namespace has not been seen yet, and templates depend on it: the API server may come again.
    #[error("the namespace {0} is not known yet")]
    NamespacePending(String),
}

/// Answers the review in `body`.
///
/// # Errors
/// See [`Refused`].
pub fn answer<'a>(body: &'a [u8], entry: Entry, catalog: &Catalog, settings: &Settings) -> Result<Answer<'a>, Refused> {
    if entry == Entry::Requests
        && let Some(front) = fast_path::not_requested(body, settings)
        && !settings.excludes(front.namespace.as_str())
    {
        let decision = Decision::unchanged(Reason::NotRequested);
        let body = review::response(Version::V1, front.uid.as_str(), &decision);
        return Ok(Answer { body, decision, request: None });
    }
    let request = Request::parse(body)?;
    let namespace = request.namespace.as_str();
    if catalog.needs_namespaces(entry) && catalog.namespaces().is_pending(namespace) && request.target.is_pod_create() {
        return Err(Refused::NamespacePending(diagnostic::shown(namespace, 63)));
    }
    let decision = if asks_for_trace(&request, settings) {
        let (decided, trace) = trace(&request, entry, catalog, settings, &Embedding::default());
        let message = trace.message(&decided);
        Decision { verdict: Verdict::Denied, message, ..Decision::unchanged(Reason::Trace) }
    } else {
        decide(&request, entry, catalog, settings, &Embedding::default())
    };
    let observed = settings.observe.then(|| Decision::unchanged(decision.reason));
    let body = review::response(request.version, request.uid.as_str(), observed.as_ref().unwrap_or(&decision));
    Ok(Answer { body, decision, request: Some(request) })
}

/// A dry run that only wants to know: this is how people ask who may create pods and nothing else.
fn asks_for_trace(request: &Request<'_>, settings: &Settings) -> bool {
    let metadata = request.pod.as_ref().and_then(|pod| pod.metadata.as_ref().ok());
    request.dry_run
        && request.target.is_pod_create()
        && metadata.is_some_and(|metadata| metadata.annotation(&settings.keys.trace) == Some("true"))
}

impl Settings {
    /// The annotations that can hold a request, the injector's own first.
    fn request_keys(&self) -> impl Iterator<Item = &str> {
        [&self.keys.request].into_iter().chain(&self.request_annotations).map(String::as_str)
    }

    fn excludes(&self, namespace: &str) -> bool {
        self.excluded_namespaces.iter().any(|excluded| excluded == namespace)
    }
}

/// Decides one request.
#[must_use]
pub fn decide(
    request: &Request<'_>,
    entry: Entry,
    catalog: &Catalog,
    settings: &Settings,
    embedding: &Embedding,
) -> Decision {
    recorded(request, entry, catalog, settings, embedding, Recorder::default())
}

/// Decides one request, and tells everything that was looked at.
#[must_use]
pub fn trace(
    request: &Request<'_>,
    entry: Entry,
    catalog: &Catalog,
    settings: &Settings,
    embedding: &Embedding,
) -> (Decision, Trace) {
    let trace = RefCell::default();
    let decision = recorded(request, entry, catalog, settings, embedding, Recorder::into(&trace));
    (decision, trace.into_inner())
}

fn recorded(
    request: &Request<'_>,
    entry: Entry,
    catalog: &Catalog,
    settings: &Settings,
    embedding: &Embedding,
    recorder: Recorder<'_>,
) -> Decision {
    let mut decision = judge(request, entry, catalog, settings, embedding, recorder);
    let metadata = request.pod.as_ref().and_then(|pod| pod.metadata.as_ref().ok());
    let is_first = metadata.is_none_or(|metadata| metadata.annotation(&settings.keys.status).is_none());
    decision.audited = is_first && (decision.patch.is_some() || decision.verdict == Verdict::Denied);
    decision
}

/// Phase 1: whether the pod is to be touched at all.
fn judge(
    request: &Request<'_>,
    entry: Entry,
    catalog: &Catalog,
    settings: &Settings,
    embedding: &Embedding,
    recorder: Recorder<'_>,
) -> Decision {
    let target = || {
        let Target { operation, group, resource, subresource } = &request.target;
        let path = [group, resource, subresource].map(Text::as_str).into_iter().filter(|part| !part.is_empty());
        format!("{} of {}", operation.as_str(), diagnostic::shown(&path.collect::<Vec<_>>().join("/"), 120))
    };
    if recorder.holds(Reason::NotAPodCreate, !request.target.is_pod_create(), target) {
        return Decision::unchanged(Reason::NotAPodCreate);
    }
    let Some(pod) = &request.pod else {
        return Decision::denied(Reason::InvalidPod, "The review holds no object, so there is no pod to look at.");
    };
    let metadata = match &pod.metadata {
        Ok(metadata) => metadata,
        Err(why) => {
            recorder.holds(Reason::InvalidPod, true, || why.clone());
            return invalid_pod(why);
        }
    };
    recorder.holds(Reason::InvalidPod, false, || "its metadata are sound".to_owned());
    let is_mirror = metadata.annotation(request::MIRROR).is_some();
    if recorder.holds(Reason::MirrorPod, is_mirror, || {
        format!("annotation {}: {}", request::MIRROR, if is_mirror { "there" } else { "absent" })
    }) {
        return Decision::unchanged(Reason::MirrorPod);
    }
    let view = catalog.view(request.namespace.as_str());
    let chooser = Chooser { request, metadata, catalog: view, settings, entry };
    let namespace = request.namespace.as_str();
    let is_excluded = settings.excludes(namespace);
    if recorder.holds(Reason::ExcludedNamespace, is_excluded, || format!("the namespace {namespace}")) {
        let mut decision = Decision::unchanged(Reason::ExcludedNamespace);
        let text = "the injector leaves pods of this namespace alone";
        let asked = chooser.request().is_some();
        decision.warnings.extend(asked.then(|| decision::warning(text, Reason::ExcludedNamespace)));
        return decision;
    }
    let place = Place { metadata, embedding };
    let choices = match chooser.choose() {
        Err(why) => {
            recorder.holds(Reason::InvalidRequest, true, || why.clone());
            return Decision::denied(Reason::InvalidRequest, &format!("{why} {}", place.change()));
        }
        Ok((choices, nothing)) => {
            recorder.rows(|| chooser.rows(&choices, nothing));
            match nothing {
                Some(nothing) => return Decision { warnings: choices.warnings, ..Decision::unchanged(nothing) },
                None => choices,
            }
        }
    };
    let why = match &pod.spec {
        Err(why) => why.as_str(),
        Ok(Spec { containers: None, .. }) => "the pod's spec: it has no containers",
        Ok(spec) => {
            recorder.holds(Reason::InvalidPod, false, || {
                format!("containers, init containers among them: {}", spec.all_containers().count())
            });
            return Case { request, metadata, spec, catalog: view, settings, place, recorder }.decide(choices);
        }
    };
    recorder.holds(Reason::InvalidPod, true, || why.to_owned());
    invalid_pod(why)
}

fn invalid_pod(why: &str) -> Decision {
    let why = diagnostic::shown(why, 400);
    Decision::denied(Reason::InvalidPod, &format!("This is not a valid pod, so nothing can be added to it: {why}."))
}
