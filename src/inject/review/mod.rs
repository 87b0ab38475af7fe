//! The AdmissionReview envelope, `admission.k8s.io/v1` and `v1beta1`, in and out: exactly the fields that are used.
//!
//! Our own because the usual types write the patch as an array of numbers where the contract is base64
//! (kube-rs/kube#1781), and read the pod into a tree. What must hold for an answer is checked by the
//! API server in `k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go`.
//! It must not know templates: the answer is a [`Decision`] made elsewhere.

pub(crate) mod fast_path;
pub mod pod;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::inject::decision::reason::Reason;
use crate::inject::decision::{Decision, TemplateOutcome, Verdict};
use crate::inject::diagnostic::shown;
use crate::inject::review::pod::{JsonStr, Pod, SoundPod};

/// The request of a review, borrowed from its bytes.
#[derive(Debug)]
pub struct Request<'a> {
    /// The version of the review, which the answer has too.
    pub version: Version,
    /// Identifies the call; echoed byte for byte.
    pub uid: JsonStr<'a>,
    /// What is being done.
    pub subject: Subject<'a>,
    /// The namespace of the object; the one inside the object is not to be trusted.
    pub namespace: JsonStr<'a>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The pod; absent where the request is not about the creation of one.
    pub pod: Option<Pod<'a>>,
    /// The text that holds the pod.
    pub document: &'a str,
    /// The keys that lead to it there.
    pub at: &'static [&'static str],
}

/// A version of the review. Both look the same; which the API server sends is chosen by `admissionReviewVersions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// `admission.k8s.io/v1`.
    #[default]
    V1,
    /// `admission.k8s.io/v1beta1`.
    V1beta1,
}

impl Version {
    const ALL: [Self; 2] = [Self::V1, Self::V1beta1];

    /// The review's `apiVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The operation and the resource it is on.
#[derive(Debug, Default)]
pub struct Subject<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: JsonStr<'a>,
    /// API group, empty for pods.
    pub group: JsonStr<'a>,
    /// E.g. `pods`.
    pub resource: JsonStr<'a>,
    /// E.g. `ephemeralcontainers`; empty for the resource itself.
    pub subresource: JsonStr<'a>,
}

impl Subject<'_> {
    /// Whether this is the creation of a pod, the only thing the injector acts on: containers cannot
    /// be added later.
    #[must_use]
    pub fn is_pod_create(&self) -> bool {
        self.operation.as_str() == "CREATE"
            && self.group.as_str().is_empty()
            && self.resource.as_str() == "pods"
            && self.subresource.as_str().is_empty()
    }
}

/// Why a body is no review. The server answers these with HTTP 400.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReviewError {
    /// Not JSON, cut short, or not UTF-8.
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    /// JSON, but of another shape.
    #[error("the body is not an AdmissionReview: {0}")]
    NotAReview(String),
    /// Another kind or version.
    #[error(
        "expected kind AdmissionReview of admission.k8s.io/v1 or v1beta1, got kind {kind:?} of {api_version:?}; list v1 in admissionReviewVersions"
    )]
    WrongVersion {
        /// The `apiVersion` given.
        api_version: String,
        /// The `kind` given.
        kind: String,
    },
    /// A review without request, e.g. an answer.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// Without uid no answer is valid.
    #[error("the request has no uid")]
    NoUid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, O> {
    #[serde(borrow, default)]
    api_version: JsonStr<'a>,
    #[serde(borrow, default)]
    kind: JsonStr<'a>,
    #[serde(borrow, default = "none")]
    request: Option<EnvelopeRequest<'a, O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeRequest<'a, O> {
    #[serde(borrow, default)]
    uid: JsonStr<'a>,
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default)]
    sub_resource: Option<JsonStr<'a>>,
    #[serde(borrow, default)]
    namespace: Option<JsonStr<'a>>,
    #[serde(borrow, default)]
    operation: JsonStr<'a>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default = "none")]
    object: Option<O>,
}

// serde's `default` on a generic field would demand `O: Default`.
fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    group: JsonStr<'a>,
    #[serde(borrow, default)]
    resource: JsonStr<'a>,
}

/// The object where it is not looked into, or is no sound pod.
#[derive(Deserialize)]
#[serde(transparent)]
struct Raw<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Request<'a> {
    /// Reads the review in `body`. A pod in it that is not sound is no error here, see [`Pod`].
    ///
    /// # Errors
    /// When the body is no review that could be answered.
    pub fn parse(body: &'a [u8]) -> Result<Self, ReviewError> {
        let text = std::str::from_utf8(body).map_err(|error| ReviewError::NotJson(error.to_string()))?;
        if !text.trim_ascii_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            return Err(ReviewError::NotAReview("it is no object".to_owned()));
        }
        // One pass for the sound pod, by far the most frequent. Anything else is read again, with the
        // object set aside.
        if let Ok(envelope) = serde_json::from_str::<Envelope<'a, SoundPod<'a>>>(text) {
            return Self::from_envelope(envelope, text, Pod::from);
        }
        let envelope: Envelope<'a, Raw<'a>> = serde_json::from_str(text).map_err(|error| {
            let why = shown(&error.to_string(), 200);
            if error.is_data() { ReviewError::NotAReview(why) } else { ReviewError::NotJson(why) }
        })?;
        Self::from_envelope(envelope, text, |Raw(json)| Pod::parse(json.get()))
    }

    fn from_envelope<O>(
        envelope: Envelope<'a, O>,
        document: &'a str,
        pod: impl FnOnce(O) -> Pod<'a>,
    ) -> Result<Self, ReviewError> {
        let known = Version::ALL.into_iter().find(|version| version.as_str() == envelope.api_version.as_str());
        let Some(version) = known.filter(|_| envelope.kind.as_str() == "AdmissionReview") else {
            return Err(ReviewError::WrongVersion {
                api_version: shown(envelope.api_version.as_str(), 60),
                kind: shown(envelope.kind.as_str(), 60),
            });
        };
        let body = envelope.request.ok_or(ReviewError::NoRequest)?;
        if body.uid.as_str().is_empty() {
            return Err(ReviewError::NoUid);
        }
        let (group, resource) = body.resource.map(|r| (r.group, r.resource)).unwrap_or_default();
        Ok(Self {
            version,
            uid: body.uid,
            subject: Subject {
                operation: body.operation,
                group,
                resource,
                subresource: body.sub_resource.unwrap_or_default(),
            },
            namespace: body.namespace.unwrap_or_default(),
            dry_run: body.dry_run.unwrap_or_default(),
            pod: body.object.map(pod),
            document,
            at: &["request", "object"],
        })
    }
}

/// Most warnings that are sent: clients print each, and the API server cuts what is more than 4096 characters in all.
const MAX_WARNINGS: usize = 20;

/// The answer's bytes: a review with a response.
#[must_use]
pub fn response(version: Version, uid: &str, decision: &Decision) -> Vec<u8> {
    let patch = decision.patch.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(384 + patch.len() * 4 / 3 + decision.message.len());
    out.extend_from_slice(br#"{"apiVersion":""#);
    out.extend_from_slice(version.as_str().as_bytes());
    out.extend_from_slice(br#"","kind":"AdmissionReview","response":{"uid":"#);
    push_string(&mut out, uid);
    if decision.verdict == Verdict::Denied {
        // The API server prints the message and reports the code; the reason is for machines.
        out.extend_from_slice(
            br#","allowed":false,"status":{"status":"Failure","code":403,"reason":"Forbidden","message":"#,
        );
        push_string(&mut out, &decision.message);
        out.push(b'}');
    } else {
        out.extend_from_slice(br#","allowed":true"#);
        // Both or neither, and never an empty patch: the API server refuses such answers.
        if !patch.is_empty() {
            out.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
            push_base64(&mut out, patch);
            out.push(b'"');
        }
    }
    if decision.audited {
        push_audit(&mut out, decision);
    }
    if !decision.warnings.is_empty() {
        out.extend_from_slice(br#","warnings":["#);
        let (shown, more) = decision.warnings.split_at(decision.warnings.len().min(MAX_WARNINGS));
        let more = (!more.is_empty()).then(|| format!("there are {} more warnings", more.len()));
        for (index, warning) in shown.iter().chain(&more).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_string(&mut out, warning);
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}}");
    out
}

/// What the audit log records, under the webhook's name.
fn push_audit(out: &mut Vec<u8>, decision: &Decision) {
    let added = decision.templates.iter().filter(|template| template.reason == Reason::Injected);
    let templates: Vec<String> = added.map(TemplateOutcome::display).collect();
    out.extend_from_slice(br#","auditAnnotations":{"decision":"#);
    push_string(out, decision.verdict.as_str());
    out.extend_from_slice(br#","reason":"#);
    push_string(out, decision.reason.as_str());
    if !templates.is_empty() {
        out.extend_from_slice(br#","templates":"#);
        push_string(out, &templates.join(","));
    }
    out.push(b'}');
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail, and strings always have a JSON form.
    let _ = serde_json::to_writer(out, text);
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[from..]).unwrap_or_default();
    out.truncate(from + written);
}

/// The kubelet's mark of a mirror pod; changing its spec makes the kubelet delete it.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

impl fmt::Display for Subject<'_> {
    /// `OPERATION of GROUP/RESOURCE/SUBRESOURCE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = [&self.group, &self.resource, &self.subresource].map(JsonStr::as_str);
        let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
        write!(f, "{} of {}", self.operation.as_str(), shown(&path.join("/"), 120))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVIEW: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u1",
        "resource":{"group":"","version":"v1","resource":"pods"},"namespace":"ns","operation":"CREATE",
        "object":{"metadata":{"name":"a"},"spec":{"containers":[]}},"dryRun":true}}"#;

    #[test]
    fn reads_a_review() {
        let request = Request::parse(REVIEW.as_bytes()).expect("a review");
        assert_eq!(request.uid.as_str(), "u1");
        assert!(request.subject.is_pod_create());
        assert!(request.dry_run);
        assert_eq!(request.namespace.as_str(), "ns");
    }

    #[test]
    fn bodies_that_are_no_review() {
        let parse = |body: &str| Request::parse(body.as_bytes()).expect_err("no review");
        assert!(matches!(parse(""), ReviewError::NotJson(_)));
        assert!(matches!(parse("hello"), ReviewError::NotJson(_)));
        assert!(matches!(parse(&REVIEW[..REVIEW.len() - 9]), ReviewError::NotJson(_)));
        assert!(matches!(parse("7"), ReviewError::NotAReview(_)));
        assert!(matches!(parse("{}"), ReviewError::WrongVersion { .. }));
        assert!(matches!(parse(&REVIEW.replace("k8s.io/v1", "k8s.io/v2")), ReviewError::WrongVersion { .. }));
        assert_eq!(parse(r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#), ReviewError::NoRequest);
        assert_eq!(parse(&REVIEW.replace("u1", "")), ReviewError::NoUid);
        assert!(matches!(Request::parse(b"{\"kind\":\"\xff\"}"), Err(ReviewError::NotJson(_))));
        assert!(matches!(parse(&"[".repeat(10_000)), ReviewError::NotAReview(_)));
        assert!(matches!(parse("[\"AdmissionReview\", \"admission.k8s.io/v1\"]"), ReviewError::NotAReview(_)));
    }

    #[test]
    fn deep_nesting_is_no_review_where_it_is_read_and_skipped_where_not() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let inside = REVIEW.replace("\"dryRun\"", &format!("\"options\":{deep},\"dryRun\""));
        assert!(Request::parse(inside.as_bytes()).is_ok());
        let read = REVIEW.replace("[]", &deep);
        let request = Request::parse(read.as_bytes()).expect("a review");
        assert!(request.pod.expect("an object").spec.is_err());
    }

    #[test]
    fn an_object_that_is_no_pod_is_told_apart_from_a_body_that_is_no_review() {
        let request = REVIEW.replace(r#"{"containers":[]}"#, "7");
        let request = Request::parse(request.as_bytes()).expect("a review");
        assert!(request.pod.expect("an object").spec.is_err());
        let null = REVIEW.replace(r#"{"metadata":{"name":"a"},"spec":{"containers":[]}}"#, "null");
        assert!(Request::parse(null.as_bytes()).expect("a review").pod.is_none());
    }
}
