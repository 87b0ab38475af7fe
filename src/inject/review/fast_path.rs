//! Recognizes from the beginning of a review that its pod requests no templates, without reading the rest. The API
//! server writes annotations before managed fields and spec, so the first two kilobytes are enough for a pod of any
//! size. Anything unusual (another order, escapes, a pod with a request) is left undecided, and
//! [`Request::parse`](super::review::Request::parse) reads the complete review.
//!
//! Both must agree on every review that is decided here; a property test checks this. The text after the annotations
//! is not checked: a pod that requests nothing is allowed even if a complete reading would find a wrong type, a
//! repeated member or invalid JSON later in the text.

use crate::inject::review::MIRROR;
use crate::inject::review::pod::JsonStr;
use crate::inject::settings::Settings;
use std::fmt;

use memchr::memmem;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// A pod create review whose pod carries no request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnrequestedPod<'a> {
    pub(crate) uid: JsonStr<'a>,
    pub(crate) namespace: JsonStr<'a>,
}

/// Returns the pod in `body`, an AdmissionReview as JSON, if it certainly requests no templates. `None` means
/// undecided.
pub(crate) fn not_requested<'a>(body: &'a [u8], settings: &'a Settings) -> Option<UnrequestedPod<'a>> {
    let mut front = Front::new(settings);
    // An error stops the reading. The results are in `front`.
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let _ = LevelReader(&mut FrontEnvelope(&mut front)).deserialize(&mut deserializer);
    let certain = match front.annotations {
        FrontAnnotations::Undecided => false,
        FrontAnnotations::None => nowhere_annotations(body),
        FrontAnnotations::WithoutRequest => true,
    };
    let pod_create = front.is_review == [true; 2] && front.is_pod_create == [true; 3];
    let uid = front.uid.filter(|uid| !uid.as_str().is_empty());
    (certain && pod_create).then_some(())?;
    Some(UnrequestedPod { uid: uid?, namespace: front.namespace? })
}

/// Returns true if no key in `body` can be `annotations`, not even one that is written with escapes.
fn nowhere_annotations(body: &[u8]) -> bool {
    memmem::find(body, br#""annotations""#).is_none() && memmem::find(body, br"\u").is_none()
}

/// The values that have been read so far.
struct Front<'a> {
    settings: &'a Settings,
    /// True for the expected kind, and for the expected apiVersion.
    is_review: [bool; 2],
    /// True for pods of the core group, for the operation `CREATE`, and if no subresource precedes the operation.
    is_pod_create: [bool; 3],
    uid: Option<JsonStr<'a>>,
    namespace: Option<JsonStr<'a>>,
    annotations: FrontAnnotations,
}

impl<'a> Front<'a> {
    fn new(settings: &'a Settings) -> Self {
        let annotations = FrontAnnotations::default();
        Self { settings, is_review: [false; 2], is_pod_create: [false; 3], uid: None, namespace: None, annotations }
    }
}

#[derive(Default)]
enum FrontAnnotations {
    #[default]
    Undecided,
    /// There are none before the place where the API server writes them.
    None,
    /// They were read: all values are strings, and no key can change the decision.
    WithoutRequest,
}

/// One level of the document: reads the value of each key. An error stops the reading.
trait ObjectLevel<'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
    fn end(&mut self) {}
}

/// Reads a map with an [`ObjectLevel`].
struct LevelReader<'l, L>(&'l mut L);

impl<'de, L: ObjectLevel<'de>> DeserializeSeed<'de> for LevelReader<'_, L> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, L: ObjectLevel<'de>> Visitor<'de> for LevelReader<'_, L> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<JsonStr<'de>>()? {
            self.0.field(key.as_str(), &mut map)?;
        }
        self.0.end();
        Ok(())
    }
}

fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

fn stop<T, E: Error>() -> Result<T, E> {
    Err(E::custom(""))
}

struct FrontEnvelope<'f, 'a>(&'f mut Front<'a>);

impl<'de> ObjectLevel<'de> for FrontEnvelope<'_, 'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kind" => self.0.is_review[0] = map.next_value::<JsonStr<'de>>()?.as_str() == "AdmissionReview",
            "apiVersion" => self.0.is_review[1] = map.next_value::<JsonStr<'de>>()?.as_str() == "admission.k8s.io/v1",
            "request" => {
                map.next_value_seed(LevelReader(&mut FrontRequest(self.0)))?;
                return stop();
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct FrontRequest<'f, 'a>(&'f mut Front<'a>);

impl<'de> ObjectLevel<'de> for FrontRequest<'_, 'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "uid" => self.0.uid = Some(map.next_value()?),
            "namespace" => self.0.namespace = Some(map.next_value()?),
            "operation" => {
                self.0.is_pod_create[1] = map.next_value::<JsonStr<'de>>()?.as_str() == "CREATE";
                self.0.is_pod_create[2] = true;
            }
            "subResource" => return stop(),
            "resource" => {
                let mut resource = FrontResource::default();
                map.next_value_seed(LevelReader(&mut resource))?;
                self.0.is_pod_create[0] = resource.core && resource.pods;
            }
            "object" => {
                map.next_value_seed(LevelReader(&mut FrontObject(self.0)))?;
                return stop();
            }
            _ => skip(map)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct FrontResource {
    core: bool,
    pods: bool,
}

impl<'de> ObjectLevel<'de> for FrontResource {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "group" => self.core = map.next_value::<JsonStr<'de>>()?.as_str().is_empty(),
            "resource" => self.pods = map.next_value::<JsonStr<'de>>()?.as_str() == "pods",
            _ => skip(map)?,
        }
        Ok(())
    }
}

struct FrontObject<'f, 'a>(&'f mut Front<'a>);

impl<'de> ObjectLevel<'de> for FrontObject<'_, 'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "kind" | "apiVersion" => skip(map),
            "metadata" => {
                map.next_value_seed(LevelReader(&mut FrontMetadata(self.0)))?;
                stop()
            }
            _ => stop(),
        }
    }
}

struct FrontMetadata<'f, 'a>(&'f mut Front<'a>);

impl<'de> ObjectLevel<'de> for FrontMetadata<'_, 'de> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "annotations" => {
                let mut keys = FrontKeys { settings: self.0.settings, matter: false };
                map.next_value_seed(LevelReader(&mut keys))?;
                if !keys.matter {
                    self.0.annotations = FrontAnnotations::WithoutRequest;
                }
                stop()
            }
            // In the order of the API type, these keys follow `annotations`.
            "ownerReferences" | "finalizers" | "managedFields" => {
                self.0.annotations = FrontAnnotations::None;
                stop()
            }
            // Read completely, because a wrong type in them makes the pod invalid.
            "name" | "generateName" => map.next_value::<Option<JsonStr<'de>>>().map(|_| ()),
            "labels" => map.next_value_seed(LevelReader(&mut Strings)),
            _ => skip(map),
        }
    }

    fn end(&mut self) {
        self.0.annotations = FrontAnnotations::None;
    }
}

/// A map of strings that are ignored. Null, which is also a valid map, is left undecided.
struct Strings;

impl<'de> ObjectLevel<'de> for Strings {
    fn field<A: MapAccess<'de>>(&mut self, _: &str, map: &mut A) -> Result<(), A::Error> {
        map.next_value_seed(AnyString)
    }
}

struct FrontKeys<'f> {
    settings: &'f Settings,
    matter: bool,
}

impl<'de> ObjectLevel<'de> for FrontKeys<'_> {
    fn field<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        self.matter |= key == MIRROR
            || key == self.settings.keys.trace
            || self.settings.request_keys().any(|request| key == request);
        map.next_value_seed(AnyString)
    }
}

/// A string that is ignored. Another type is an error.
struct AnyString;

impl<'de> DeserializeSeed<'de> for AnyString {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for AnyString {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(metadata: &str) -> String {
        format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u1","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"ns","operation":"CREATE","object":{{"kind":"Pod","apiVersion":"v1","metadata":{metadata},"spec":{{"containers":[]}}}}}}}}"#
        )
    }

    fn decides(review: &str) -> bool {
        not_requested(review.as_bytes(), &Settings::default()).is_some()
    }

    #[test]
    fn decides_from_the_beginning_of_a_review() {
        let whole = review(r#"{"name":"a","labels":{"x":"y"},"annotations":{"b":"c"},"managedFields":[{}]}"#);
        let settings = Settings::default();
        let found = not_requested(whole.as_bytes(), &settings).expect("decided");
        assert_eq!((found.uid.as_str(), found.namespace.as_str()), ("u1", "ns"));
        let front = &whole[..whole.find("managedFields").expect("given")];
        assert!(decides(front), "the text after the annotations is not read");
    }

    #[test]
    fn does_not_decide_reviews_that_may_need_the_whole_body() {
        assert!(!decides(&review(r#"{"annotations":{"sidecar.io/inject":"x"}}"#)));
        assert!(!decides(&review(r#"{"annotations":{"sidecar.io/inj\u0065ct":"x"}}"#)));
        assert!(!decides(&review(r#"{"annotations":{"kubernetes.io/config.mirror":"x"}}"#)));
        assert!(!decides(&review(r#"{"annotations":{"a":1}}"#)));
        assert!(!decides(&review(r#"{"labels":{"a":1},"annotations":{}}"#)));
        assert!(!decides(&review(r#"{"managedFields":[],"annotations":{"a":"b"}}"#)));
        assert!(!decides(&review(r#"{"managedFields":[],"annotation\u0073":{"sidecar.io/inject":"b"}}"#)));
        assert!(!decides(&review("{}").replace("\"CREATE\"", "\"DELETE\"")));
        assert!(!decides(&review("{}").replace("\"pods\"", "\"services\"")));
        assert!(!decides(&review("{}").replace("\"namespace\"", "\"subResource\":\"status\",\"namespace\"")));
        assert!(!decides(&review("{}").replace("k8s.io/v1", "k8s.io/v1beta1")));
        assert!(!decides(&review("[]")));
        assert!(!decides("{}"));
        assert!(!decides(""));
    }

    #[test]
    fn every_annotation_that_can_request_a_template_is_checked() {
        let mut settings = Settings::default();
        settings.request_annotations.push("other.io/inject".into());
        let pod = review(r#"{"annotations":{"other.io/inject":"x"}}"#);
        assert!(decides(&pod));
        assert!(not_requested(pod.as_bytes(), &settings).is_none());
        assert!(not_requested(review(r#"{"annotations":{"a":"x"}}"#).as_bytes(), &settings).is_some());
    }

    #[test]
    fn pods_without_annotations_are_decided_too() {
        assert!(decides(&review("{}")));
        assert!(decides(&review(r#"{"name":"a","managedFields":[{"fieldsV1":{"f:metadata":{"f:annotations":{}}}}]}"#)));
    }
}
