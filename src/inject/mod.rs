//! The core: turns the bytes of a review into a decision and the bytes of its response.
//!
//! It does not depend on a clock, the environment, async code or a Kubernetes client. The server and the command line
//! call it; it calls neither. The steps of a decision are its modules, in this order:
//!
//! `bytes -> review -> select -> resolve (evaluate -> plan -> verdict, status, patch) -> bytes`
//!
//! Each module uses only those below it in the table of `docs/architecture.md`.

pub mod authoring;
pub mod catalog;
pub mod cluster_version;
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
use crate::inject::catalog::view::View;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::{Recorder, Trace};
use crate::inject::decision::{Decision, Verdict};
use crate::inject::diagnostic::shown;
use crate::inject::resolve::case::{Case, RequestOrigin};
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::review::{MIRROR, Request, ReviewError, Version, fast_path};
use crate::inject::select::Chooser;
use crate::inject::settings::{Embedding, EntryPoint, Settings};

/// Makes decisions on pods with the templates of one catalog.
///
/// ```
/// use sidecar_injector::inject::Engine;
/// use sidecar_injector::inject::catalog::Catalog;
/// use sidecar_injector::inject::decision::Verdict;
/// use sidecar_injector::inject::diagnostic::Source;
/// use sidecar_injector::inject::settings::{EntryPoint, Settings};
/// use sidecar_injector::inject::template::Template;
///
/// let settings = Settings::default();
/// let text = "sidecars: [{name: logs, image: 'logs:1'}]";
/// let loaded = Template::load(&Source::new("logs.yaml", text), "logs", &settings.keys).unwrap();
/// let catalog = Catalog::new([loaded.template.into()], Default::default());
/// let engine = Engine::new(&catalog, &settings, EntryPoint::Requests);
/// let review = br#"{
///     "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
///     "request": {
///         "uid": "1", "operation": "CREATE", "namespace": "shop",
///         "resource": {"group": "", "version": "v1", "resource": "pods"},
///         "object": {
///             "metadata": {"name": "app", "annotations": {"sidecar.io/inject": "logs"}},
///             "spec": {"containers": [{"name": "app", "image": "app:1"}]}
///         }
///     }
/// }"#;
/// let answer = engine.answer(review).unwrap();
/// assert_eq!(answer.decision.verdict, Verdict::Injected);
/// assert!(String::from_utf8(answer.body).unwrap().contains(r#""patchType":"JSONPatch""#));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Engine<'e> {
    catalog: &'e Catalog,
    settings: &'e Settings,
    entry_point: EntryPoint,
}

/// A decision and the bytes that answer the review.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The AdmissionReview with the response, as JSON.
    pub body: Vec<u8>,
    /// The decision. In observe mode the response ignores its verdict.
    pub decision: Decision,
    /// The request. `None` if the beginning of the review was enough for the decision.
    pub request: Option<Request<'a>>,
}

/// The error if a review is not answered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The body is not a valid AdmissionReview. The only possible answer is HTTP 400.
    #[error(transparent)]
    NoReview(#[from] ReviewError),
    /// The namespace has not been seen yet, and templates depend on it. The API server can retry.
    #[error("the namespace {0} is not known yet")]
    NamespacePending(String),
}

impl<'e> Engine<'e> {
    /// Creates an engine that answers the reviews of `entry_point`.
    #[must_use]
    pub fn new(catalog: &'e Catalog, settings: &'e Settings, entry_point: EntryPoint) -> Self {
        Self { catalog, settings, entry_point }
    }

    /// Answers the review in `body`, an AdmissionReview as JSON.
    ///
    /// # Errors
    /// If `body` is not a valid AdmissionReview, or if the pod's namespace is not known yet; see [`Refused`].
    pub fn answer<'a>(&self, body: &'a [u8]) -> Result<Answer<'a>, Refused> {
        if self.entry_point == EntryPoint::Requests
            && let Some(front) = fast_path::not_requested(body, self.settings)
            && !self.settings.excludes(front.namespace.as_str())
        {
            let decision = Decision::unchanged(Reason::NotRequested);
            let body = review::response(Version::V1, front.uid.as_str(), &decision);
            return Ok(Answer { body, decision, request: None });
        }
        let request = Request::parse(body)?;
        let namespace = request.namespace.as_str();
        let is_pending = self.catalog.namespaces().is_pending(namespace);
        if is_pending && self.catalog.needs_namespaces(self.entry_point) && request.subject.is_pod_create() {
            return Err(Refused::NamespacePending(shown(namespace, 63)));
        }
        let decision = if self.asks_for_trace(&request) {
            let (decided, trace) = self.trace(&request, &Embedding::default());
            let message = trace.message(&decided);
            Decision { verdict: Verdict::Denied, message, ..Decision::unchanged(Reason::Trace) }
        } else {
            self.decide(&request, &Embedding::default())
        };
        let observed = self.settings.observe.then(|| Decision::unchanged(decision.reason));
        let body = review::response(request.version, request.uid.as_str(), observed.as_ref().unwrap_or(&decision));
        Ok(Answer { body, decision, request: Some(request) })
    }

    /// Decides on one request. `embedding` is the place of the pod in the document that is patched.
    #[must_use]
    pub fn decide(&self, request: &Request<'_>, embedding: &Embedding) -> Decision {
        self.recorded(request, embedding, Recorder::default())
    }

    /// Like [`decide`](Self::decide), but also returns every check with its evidence.
    #[must_use]
    pub fn trace(&self, request: &Request<'_>, embedding: &Embedding) -> (Decision, Trace) {
        let trace = RefCell::default();
        let decision = self.recorded(request, embedding, Recorder::into(&trace));
        (decision, trace.into_inner())
    }

    /// Returns true for a server-side dry run that requests the trace. Thus, users who can only create pods can read
    /// the trace.
    fn asks_for_trace(&self, request: &Request<'_>) -> bool {
        let asks = |metadata: &Metadata<'_>| metadata.annotation(&self.settings.keys.trace) == Some("true");
        request.dry_run && request.subject.is_pod_create() && metadata_of(request).is_some_and(asks)
    }

    fn recorded(&self, request: &Request<'_>, embedding: &Embedding, recorder: Recorder<'_>) -> Decision {
        let mut decision = self.judge(request, embedding, recorder);
        let has_status = |metadata: &Metadata<'_>| metadata.annotation(&self.settings.keys.status).is_some();
        let is_first_round = !metadata_of(request).is_some_and(has_status);
        decision.audited = is_first_round && (decision.patch.is_some() || decision.verdict == Verdict::Denied);
        decision
    }

    /// Phase 1: decides if templates are resolved for the pod at all.
    fn judge(&self, request: &Request<'_>, embedding: &Embedding, recorder: Recorder<'_>) -> Decision {
        let (subject, settings) = (&request.subject, self.settings);
        if recorder.holds(Reason::NotAPodCreate, !subject.is_pod_create(), || subject.to_string()) {
            return Decision::unchanged(Reason::NotAPodCreate);
        }
        let Some(pod) = &request.pod else {
            return Decision::denied(Reason::InvalidPod, "The review has no object, so there is no pod to check.");
        };
        let metadata = match &pod.metadata {
            Ok(metadata) => metadata,
            Err(why) => {
                recorder.holds(Reason::InvalidPod, true, || why.clone());
                return invalid_pod(why);
            }
        };
        recorder.holds(Reason::InvalidPod, false, || "metadata is valid".to_owned());
        let is_mirror = metadata.annotation(MIRROR).is_some();
        let evidence = || format!("annotation {MIRROR}: {}", if is_mirror { "present" } else { "absent" });
        if recorder.holds(Reason::MirrorPod, is_mirror, evidence) {
            return Decision::unchanged(Reason::MirrorPod);
        }
        let namespace = request.namespace.as_str();
        let catalog = View::of(self.catalog, namespace);
        let chooser = Chooser { request, metadata, catalog, settings, entry_point: self.entry_point };
        let is_excluded = settings.excludes(namespace);
        if recorder.holds(Reason::ExcludedNamespace, is_excluded, || format!("the namespace {namespace}")) {
            let mut decision = Decision::unchanged(Reason::ExcludedNamespace);
            let text = "the injector ignores pods of this namespace";
            let asks = chooser.request().is_some();
            decision.warnings.extend(asks.then(|| decision::warning(text, Reason::ExcludedNamespace)));
            return decision;
        }
        let origin = RequestOrigin { metadata, embedding };
        let choices = match chooser.choose() {
            Err(why) => {
                recorder.holds(Reason::InvalidRequest, true, || why.clone());
                return Decision::denied(Reason::InvalidRequest, &format!("{why} {}", origin.fix()));
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
            Ok(Spec { containers: None, .. }) => "the pod's spec has no containers",
            Ok(spec) => {
                recorder.holds(Reason::InvalidPod, false, || {
                    format!("containers and init containers: {}", spec.all_containers().count())
                });
                let case = Case { request, metadata, spec, catalog, settings, origin };
                return resolve::decide(&case, choices, recorder);
            }
        };
        recorder.holds(Reason::InvalidPod, true, || why.to_owned());
        invalid_pod(why)
    }
}

fn metadata_of<'r, 'p>(request: &'r Request<'p>) -> Option<&'r Metadata<'p>> {
    request.pod.as_ref().and_then(|pod| pod.metadata.as_ref().ok())
}

fn invalid_pod(why: &str) -> Decision {
    let why = shown(why, 400);
    Decision::denied(Reason::InvalidPod, &format!("This is not a valid pod, so nothing can be added to it: {why}."))
}
