//! A borrowed view of the pod in a review: names, annotations and what the decision needs, and nothing
//! else. The pod itself stays the bytes it came as; fields that are not listed here are skipped, so
//! fields newer than this program cannot be lost. It must not know templates or patches.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// JsonStr borrowed from the review unless it contains escapes. Null is empty, as in Go's decoder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonStr<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonStr<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonStrVisitor;
        impl<'de> Visitor<'de> for JsonStrVisitor {
            type Value = JsonStr<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonStr(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(JsonStr::default())
            }
        }
        deserializer.deserialize_any(JsonStrVisitor)
    }
}

/// Derived structs would also read a list as their members in order. This makes them read objects alone:
/// beside `#[serde(remote = "Self")]`, which derives the reading under the type's own name.
macro_rules! objects_only {
    ($($name:ident),+) => {$(
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ObjectVisitor<'a>(std::marker::PhantomData<&'a ()>);
                impl<'de: 'a, 'a> Visitor<'de> for ObjectVisitor<'a> {
                    type Value = $name<'a>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                        <$name<'a>>::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }
                deserializer.deserialize_map(ObjectVisitor(std::marker::PhantomData))
            }
        }
    )+};
}

objects_only!(Metadata, OwnerReference, Spec, Container, ContainerPort, NamedObject, SoundPod);

impl JsonStr<'_> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A string map (labels or annotations) in the order it was written.
#[derive(Clone, Debug, Default)]
pub struct StringMap<'a>(Vec<(JsonStr<'a>, JsonStr<'a>)>);

impl StringMap<'_> {
    /// The value of `key`. Of repeated keys the last counts, as in Go's decoder.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name.as_str() == key).map(|(_, value)| value.as_str())
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for StringMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringMapVisitor;
        impl<'de> Visitor<'de> for StringMapVisitor {
            type Value = StringMap<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                // Few pods carry more; growing from one would allocate five times.
                let mut entries = Vec::with_capacity(16);
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(StringMap(entries))
            }
        }
        deserializer.deserialize_map(StringMapVisitor)
    }
}

/// The pod's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct Metadata<'a> {
    /// Empty for pods that a controller creates from `generateName`.
    #[serde(borrow, default)]
    pub name: Option<JsonStr<'a>>,
    /// Prefix of the name the API server will generate.
    #[serde(borrow, default)]
    pub generate_name: Option<JsonStr<'a>>,
    /// Absent and null are the same to the API server.
    #[serde(borrow, default)]
    pub labels: Option<StringMap<'a>>,
    /// Absent and null are the same to the API server.
    #[serde(borrow, default)]
    pub annotations: Option<StringMap<'a>>,
    /// Who created the pod; the controller in most cases.
    #[serde(borrow, default)]
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
    /// Only its size matters: the API server drops it where an object is too large.
    #[serde(borrow, default)]
    pub managed_fields: Option<&'a RawValue>,
}

impl Metadata<'_> {
    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key)
    }

    /// Whether a Job made the pod.
    #[must_use]
    pub fn is_of_job(&self) -> bool {
        self.owner_references.iter().flatten().any(|owner| owner.kind.as_str() == "Job")
    }

    /// The name to call the pod by: its own, or the prefix of the one it will get.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let name = self.name.as_ref().filter(|name| !name.as_str().is_empty());
        name.or(self.generate_name.as_ref()).map_or("", JsonStr::as_str)
    }
}

/// One owner.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct OwnerReference<'a> {
    /// E.g. `apps/v1`.
    #[serde(borrow, default)]
    pub api_version: JsonStr<'a>,
    /// The owner's uid.
    #[serde(borrow, default)]
    pub uid: JsonStr<'a>,
    /// E.g. `ReplicaSet`.
    #[serde(borrow, default)]
    pub kind: JsonStr<'a>,
    /// The owner's name.
    #[serde(borrow, default)]
    pub name: JsonStr<'a>,
}

/// What the decision needs of the pod's spec.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct Spec<'a> {
    /// Required by the API.
    #[serde(borrow, default)]
    pub containers: Option<Vec<Container<'a>>>,
    /// Ordinary init containers and native sidecars.
    #[serde(borrow, default)]
    pub init_containers: Option<Vec<Container<'a>>>,
    /// Volumes by name.
    #[serde(borrow, default)]
    pub volumes: Option<Vec<NamedObject<'a>>>,
    /// Pull secrets by name.
    #[serde(borrow, default)]
    pub image_pull_secrets: Option<Vec<NamedObject<'a>>>,
    /// Whether the pod shares the node's network.
    #[serde(default)]
    pub host_network: Option<bool>,
    /// Whether the pod shares the node's processes.
    #[serde(default, rename = "hostPID")]
    pub host_pid: Option<bool>,
    /// Read only where a template has a field of that name, like those that follow.
    #[serde(borrow, default)]
    pub security_context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    dns_config: Option<&'a RawValue>,
    #[serde(borrow, default)]
    node_selector: Option<&'a RawValue>,
    #[serde(borrow, default)]
    share_process_namespace: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tolerations: Option<&'a RawValue>,
    #[serde(borrow, default)]
    host_aliases: Option<&'a RawValue>,
    #[serde(borrow, default)]
    readiness_gates: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_account_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    termination_grace_period_seconds: Option<&'a RawValue>,
    /// Requests and limits of the pod as a whole (KEP-2837).
    #[serde(borrow, default)]
    pub resources: Option<&'a RawValue>,
    /// The operating system the pod says it needs.
    #[serde(borrow, default)]
    pub os: Option<NamedObject<'a>>,
}

impl<'a> Spec<'a> {
    /// The containers, then the init containers.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container<'a>> {
        self.containers.iter().chain(&self.init_containers).flatten()
    }

    /// The container or init container of that name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container<'a>> {
        self.all_containers().find(|container| container.name.as_str() == name)
    }

    /// The JSON of a pod-level field that templates can add to.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let raw = match name {
            "securityContext" => self.security_context,
            "dnsConfig" => self.dns_config,
            "nodeSelector" => self.node_selector,
            "shareProcessNamespace" => self.share_process_namespace,
            "tolerations" => self.tolerations,
            "hostAliases" => self.host_aliases,
            "readinessGates" => self.readiness_gates,
            "serviceAccountName" => self.service_account_name,
            "terminationGracePeriodSeconds" => self.termination_grace_period_seconds,
            _ => None,
        };
        raw.map(RawValue::get)
    }

    /// Whether the pod declares to run on Windows.
    #[must_use]
    pub fn is_windows(&self) -> bool {
        self.os.as_ref().is_some_and(|os| os.name.as_str() == "windows")
    }
}

/// One container of the pod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct Container<'a> {
    /// Unique in the pod, over all lists of containers.
    #[serde(borrow, default)]
    pub name: JsonStr<'a>,
    /// Declared ports.
    #[serde(borrow, default)]
    pub ports: Option<Vec<ContainerPort<'a>>>,
    /// Read only where a template changes the container, like those that follow.
    #[serde(borrow, default)]
    pub env: Option<&'a RawValue>,
    /// See `env`.
    #[serde(borrow, default)]
    pub env_from: Option<&'a RawValue>,
    /// See `env`.
    #[serde(borrow, default)]
    pub volume_mounts: Option<&'a RawValue>,
    /// See `env`.
    #[serde(borrow, default)]
    pub volume_devices: Option<&'a RawValue>,
}

/// A declared port of a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct ContainerPort<'a> {
    /// What Services and probes call it.
    #[serde(borrow, default)]
    pub name: Option<JsonStr<'a>>,
    /// The port of the container.
    #[serde(default)]
    pub container_port: Option<u16>,
    /// The port on the node, if any; on host-network pods the API server sets it.
    #[serde(default)]
    pub host_port: Option<u16>,
    /// The node's address it is bound to; empty means every address.
    #[serde(borrow, default, rename = "hostIP")]
    pub host_ip: Option<JsonStr<'a>>,
    /// `TCP` if absent.
    #[serde(borrow, default)]
    pub protocol: Option<JsonStr<'a>>,
}

/// Anything of which only the name matters.
#[derive(Debug, Deserialize)]
#[serde(remote = "Self")]
pub struct NamedObject<'a> {
    /// The name.
    #[serde(borrow, default)]
    pub name: JsonStr<'a>,
}

/// A pod as far as it could be read. What is wrong with one part must not hide the other: a pod that
/// asks for nothing is let through whatever its spec looks like.
#[derive(Debug)]
pub struct Pod<'a> {
    /// The metadata, or why they are none.
    pub metadata: Result<Metadata<'a>, String>,
    /// The spec, or why it is none.
    pub spec: Result<Spec<'a>, String>,
}

/// The parts of a pod whose shape is sound.
#[derive(Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct SoundPod<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    spec: Spec<'a>,
}

impl<'a> From<SoundPod<'a>> for Pod<'a> {
    fn from(pod: SoundPod<'a>) -> Self {
        Self { metadata: Ok(pod.metadata), spec: Ok(pod.spec) }
    }
}

impl<'a> Pod<'a> {
    /// Reads the pod that `json` holds, in one pass if it is sound.
    #[must_use]
    pub fn parse(json: &'a str) -> Self {
        match serde_json::from_str::<SoundPod<'a>>(json) {
            Ok(pod) => pod.into(),
            Err(_) => Self::parse_parts(json),
        }
    }

    /// Reads metadata and spec apart, to tell which of them is wrong and how.
    fn parse_parts(json: &'a str) -> Self {
        #[derive(Deserialize)]
        struct Parts<'a> {
            #[serde(borrow, default)]
            metadata: Option<&'a RawValue>,
            #[serde(borrow, default)]
            spec: Option<&'a RawValue>,
        }
        match serde_json::from_str::<Parts<'a>>(json) {
            Ok(parts) => Self { metadata: part("metadata", parts.metadata), spec: part("spec", parts.spec) },
            Err(error) => {
                let why = format!("the object is no pod: {}", without_position(&error));
                Self { metadata: Err(why.clone()), spec: Err(why) }
            }
        }
    }
}

fn part<'a, T: Deserialize<'a>>(name: &str, json: Option<&'a RawValue>) -> Result<T, String> {
    let json = json.ok_or_else(|| format!("the pod has no {name}"))?;
    serde_json::from_str(json.get()).map_err(|error| format!("the pod's {name}: {}", without_position(&error)))
}

/// The error without line and column: reviews are one line and nobody sees them.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    crate::inject::diagnostic::shown(text.split(" at line ").next().unwrap_or(&text), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_spec_does_not_hide_the_metadata() {
        let pod = Pod::parse(r#"{"metadata":{"name":"a"},"spec":{"containers":"none"}}"#);
        assert_eq!(pod.metadata.expect("sound").display_name(), "a");
        let why = pod.spec.expect_err("broken");
        assert_eq!(why, "the pod's spec: invalid type: string \"none\", expected a sequence");
    }

    #[test]
    fn names_are_borrowed_and_escapes_are_read() {
        let pod = Pod::parse(
            r#"{"metadata":{"annotations":{"a\u002fb":"x","c":"y\n"}},"spec":{"containers":[{"name":"app"}]}}"#,
        );
        let metadata = pod.metadata.expect("sound");
        assert_eq!(metadata.annotation("a/b"), Some("x"));
        assert_eq!(metadata.annotation("c"), Some("y\n"));
        let containers = pod.spec.expect("sound").containers.expect("given");
        assert!(matches!(containers[0].name.0, Cow::Borrowed("app")));
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let pod =
            Pod::parse(r#"{"metadata":{"labels":null,"annotations":null},"spec":{"containers":[],"volumes":null}}"#);
        assert!(pod.metadata.expect("sound").annotations.is_none());
        assert!(pod.spec.expect("sound").volumes.is_none());
    }

    #[test]
    fn what_is_missing_is_said() {
        let pod = Pod::parse("{}");
        assert_eq!(pod.metadata.expect_err("none"), "the pod has no metadata");
        assert_eq!(pod.spec.expect_err("none"), "the pod has no spec");
        assert!(Pod::parse("7").metadata.expect_err("none").starts_with("the object is no pod"));
    }
}
