//! The AdmissionReview, `admission.k8s.io/v1` and `v1beta1`: reads requests and writes responses, with exactly the
//! fields that are used.
//!
//! This module has its own types because those of kube-rs write the patch as an array of numbers instead of base64
//! (kube-rs/kube#1781), and read the pod into a tree. The API server validates responses in
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go`. This module does not depend on
//! templates: the response contains a [`Decision`] that another module makes.

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
    /// The version of the review. The response has the same version.
    pub version: Version,
    /// The ID of the call, not empty. The response repeats it unchanged.
    pub uid: JsonStr<'a>,
    /// The operation and its resource.
    pub subject: Subject<'a>,
    /// The namespace of the request. Do not use `metadata.namespace` of the object, which the client sets.
    pub namespace: JsonStr<'a>,
    /// True for a dry run: the API server stores nothing.
    pub dry_run: bool,
    /// The `object` of the request, read as a pod. `None` if the request has no object.
    pub pod: Option<Pod<'a>>,
    /// The JSON text that contains the object.
    pub document: &'a str,
    /// The path of keys to the object in `document`.
    pub at: &'static [&'static str],
}

/// A version of the review. Both have the same fields. `admissionReviewVersions` in the webhook configuration selects
/// the version that the API server sends.
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

    /// The `apiVersion` of the review.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The operation and its resource.
#[derive(Debug, Default)]
pub struct Subject<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: JsonStr<'a>,
    /// The API group; empty for pods.
    pub group: JsonStr<'a>,
    /// The resource in plural, e.g. `pods`.
    pub resource: JsonStr<'a>,
    /// The subresource, e.g. `ephemeralcontainers`; empty for the resource itself.
    pub subresource: JsonStr<'a>,
}

impl Subject<'_> {
    /// Returns true if the request creates a pod. The injector ignores all other requests, because containers cannot be
    /// added later.
    #[must_use]
    pub fn is_pod_create(&self) -> bool {
        self.operation.as_str() == "CREATE"
            && self.group.as_str().is_empty()
            && self.resource.as_str() == "pods"
            && self.subresource.as_str().is_empty()
    }
}

/// The error if a body is not a valid AdmissionReview. The server answers it with HTTP 400.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReviewError {
    /// The body is not valid JSON, is incomplete or is not UTF-8.
    #[error("the body is not valid JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but a field has the wrong type.
    #[error("the body is not an AdmissionReview: {0}")]
    NotAReview(String),
    /// The kind or the version is not supported.
    #[error(
        "expected kind AdmissionReview of admission.k8s.io/v1 or v1beta1, got kind {kind:?} of {api_version:?}; list v1 in admissionReviewVersions"
    )]
    WrongVersion {
        /// The `apiVersion` in the body.
        api_version: String,
        /// The `kind` in the body.
        kind: String,
    },
    /// The review has no request; it can be a response.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// The request has no uid, or an empty one. A response without a uid is not valid.
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

// serde's `default` without a function would require `O: Default`.
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

/// The object as JSON text, for objects that are not valid pods.
#[derive(Deserialize)]
#[serde(transparent)]
struct Raw<'a>(#[serde(borrow)] &'a RawValue);

impl<'a> Request<'a> {
    /// Reads the review in `body`, an AdmissionReview as JSON. An invalid pod in it is not an error here; see [`Pod`].
    ///
    /// # Errors
    /// If the body is not an AdmissionReview that can be answered.
    pub fn parse(body: &'a [u8]) -> Result<Self, ReviewError> {
        let text = std::str::from_utf8(body).map_err(|error| ReviewError::NotJson(error.to_string()))?;
        if !text.trim_ascii_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            return Err(ReviewError::NotAReview("it is not an object".to_owned()));
        }
        // A valid pod, by far the most frequent object, is read in one pass. Anything else is read again, with the
        // object as text.
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

/// Maximum number of warnings in a response. Clients print each of them, and the API server cuts their text to 4096
/// characters in total.
const MAX_WARNINGS: usize = 20;

/// Returns an AdmissionReview with the response, as JSON.
#[must_use]
pub fn response(version: Version, uid: &str, decision: &Decision) -> Vec<u8> {
    let patch = decision.patch.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(384 + patch.len() * 4 / 3 + decision.message.len());
    out.extend_from_slice(br#"{"apiVersion":""#);
    out.extend_from_slice(version.as_str().as_bytes());
    out.extend_from_slice(br#"","kind":"AdmissionReview","response":{"uid":"#);
    push_string(&mut out, uid);
    if decision.verdict == Verdict::Denied {
        // The API server returns the message and the code; programs read the reason.
        out.extend_from_slice(
            br#","allowed":false,"status":{"status":"Failure","code":403,"reason":"Forbidden","message":"#,
        );
        push_string(&mut out, &decision.message);
        out.push(b'}');
    } else {
        out.extend_from_slice(br#","allowed":true"#);
        // The API server rejects a patch without `patchType`, `patchType` without a patch, and an empty patch.
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

/// Appends the audit annotations. The API server prefixes their keys with the name of the webhook.
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

/// The annotation that the kubelet sets on mirror pods. The kubelet deletes a mirror pod whose spec was changed.
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
    fn bodies_that_are_not_reviews_are_rejected() {
        let parse = |body: &str| Request::parse(body.as_bytes()).expect_err("not a review");
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
    fn deep_nesting_is_rejected_only_in_fields_that_are_read() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let inside = REVIEW.replace("\"dryRun\"", &format!("\"options\":{deep},\"dryRun\""));
        assert!(Request::parse(inside.as_bytes()).is_ok());
        let read = REVIEW.replace("[]", &deep);
        let request = Request::parse(read.as_bytes()).expect("a review");
        assert!(request.pod.expect("an object").spec.is_err());
    }

    #[test]
    fn an_invalid_pod_does_not_make_the_review_invalid() {
        let request = REVIEW.replace(r#"{"containers":[]}"#, "7");
        let request = Request::parse(request.as_bytes()).expect("a review");
        assert!(request.pod.expect("an object").spec.is_err());
        let null = REVIEW.replace(r#"{"metadata":{"name":"a"},"spec":{"containers":[]}}"#, "null");
        assert!(Request::parse(null.as_bytes()).expect("a review").pod.is_none());
    }
}
