//! A borrowed view of the pod in a review, with exactly the fields that decisions need. The pod itself stays the bytes
//! that were received. Fields that are not listed here are skipped, so fields newer than this program cannot be lost.
//! This module does not depend on templates or patches.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON string, borrowed from the review unless it contains escapes. Null is the empty string, as in Go's decoder.
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

/// Implements `Deserialize` for structs so that only objects are accepted. A derived implementation also accepts a list
/// of the members in order. With `#[serde(remote = "Self")]`, serde derives an inherent function, which is called here.
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

/// A map of strings (labels or annotations), in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct StringMap<'a>(Vec<(JsonStr<'a>, JsonStr<'a>)>);

impl StringMap<'_> {
    /// The value of `key`. If the key is repeated, the last value counts, as in Go's decoder.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name.as_str() == key).map(|(_, value)| value.as_str())
    }

    /// All entries, each a key and its value.
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
                // Few pods have more entries. Growing from one entry would allocate five times.
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
    /// The name; absent or empty for pods that a controller creates with `generateName`.
    #[serde(borrow, default)]
    pub name: Option<JsonStr<'a>>,
    /// The prefix of the name that the API server will generate.
    #[serde(borrow, default)]
    pub generate_name: Option<JsonStr<'a>>,
    /// The labels. To the API server, absent and null are the same.
    #[serde(borrow, default)]
    pub labels: Option<StringMap<'a>>,
    /// The annotations. To the API server, absent and null are the same.
    #[serde(borrow, default)]
    pub annotations: Option<StringMap<'a>>,
    /// The owners of the pod; in most cases one controller.
    #[serde(borrow, default)]
    pub owner_references: Option<Vec<OwnerReference<'a>>>,
    /// The managed fields. Only their size is used: the API server drops them if an object is too large.
    #[serde(borrow, default)]
    pub managed_fields: Option<&'a RawValue>,
}

impl Metadata<'_> {
    /// The value of the annotation `key`.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key)
    }

    /// Returns true if an owner of the pod is a Job.
    #[must_use]
    pub fn is_of_job(&self) -> bool {
        self.owner_references.iter().flatten().any(|owner| owner.kind.as_str() == "Job")
    }

    /// The name to show: the pod's name, or the prefix of its generated name; empty if it has neither.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let name = self.name.as_ref().filter(|name| !name.as_str().is_empty());
        name.or(self.generate_name.as_ref()).map_or("", JsonStr::as_str)
    }
}

/// One owner of the pod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct OwnerReference<'a> {
    /// The owner's API version, e.g. `apps/v1`.
    #[serde(borrow, default)]
    pub api_version: JsonStr<'a>,
    /// The owner's uid.
    #[serde(borrow, default)]
    pub uid: JsonStr<'a>,
    /// The owner's kind, e.g. `ReplicaSet`.
    #[serde(borrow, default)]
    pub kind: JsonStr<'a>,
    /// The owner's name.
    #[serde(borrow, default)]
    pub name: JsonStr<'a>,
}

/// The fields of the pod's spec that decisions need.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct Spec<'a> {
    /// The containers. The API requires them.
    #[serde(borrow, default)]
    pub containers: Option<Vec<Container<'a>>>,
    /// The init containers, including native sidecars.
    #[serde(borrow, default)]
    pub init_containers: Option<Vec<Container<'a>>>,
    /// The names of the volumes.
    #[serde(borrow, default)]
    pub volumes: Option<Vec<NamedObject<'a>>>,
    /// The names of the pull secrets.
    #[serde(borrow, default)]
    pub image_pull_secrets: Option<Vec<NamedObject<'a>>>,
    /// True if the pod uses the network of the node.
    #[serde(default)]
    pub host_network: Option<bool>,
    /// True if the pod uses the process namespace of the node.
    #[serde(default, rename = "hostPID")]
    pub host_pid: Option<bool>,
    /// Parsed only if a template has a field of that name, like the fields that follow.
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
    /// The requests and limits of the pod as a whole (KEP-2837).
    #[serde(borrow, default)]
    pub resources: Option<&'a RawValue>,
    /// The operating system that the pod declares.
    #[serde(borrow, default)]
    pub os: Option<NamedObject<'a>>,
}

impl<'a> Spec<'a> {
    /// The containers, then the init containers.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container<'a>> {
        self.containers.iter().chain(&self.init_containers).flatten()
    }

    /// The container or init container with this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container<'a>> {
        self.all_containers().find(|container| container.name.as_str() == name)
    }

    /// The JSON text of field `name`, e.g. `securityContext`. `None` if it is absent, or if templates cannot set it.
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

    /// Returns true if the pod declares Windows as its operating system.
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
    /// The name; unique in the pod, across all lists of containers.
    #[serde(borrow, default)]
    pub name: JsonStr<'a>,
    /// The declared ports.
    #[serde(borrow, default)]
    pub ports: Option<Vec<ContainerPort<'a>>>,
    /// Parsed only if a template changes the container, like the fields that follow.
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

/// A port that a container declares.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(remote = "Self")]
pub struct ContainerPort<'a> {
    /// The name, which Services and probes can refer to.
    #[serde(borrow, default)]
    pub name: Option<JsonStr<'a>>,
    /// The port of the container.
    #[serde(default)]
    pub container_port: Option<u16>,
    /// The port of the node, if any. On pods with `hostNetwork`, the API server sets it to the container's port.
    #[serde(default)]
    pub host_port: Option<u16>,
    /// The address of the node that the port is bound to; empty for all addresses.
    #[serde(borrow, default, rename = "hostIP")]
    pub host_ip: Option<JsonStr<'a>>,
    /// The protocol; `TCP` if absent.
    #[serde(borrow, default)]
    pub protocol: Option<JsonStr<'a>>,
}

/// An object of which only the name is used.
#[derive(Debug, Deserialize)]
#[serde(remote = "Self")]
pub struct NamedObject<'a> {
    /// The name.
    #[serde(borrow, default)]
    pub name: JsonStr<'a>,
}

/// A pod, or the errors in it. An error in one part must not hide the other: a pod that requests no templates is
/// allowed even if its spec is invalid.
#[derive(Debug)]
pub struct Pod<'a> {
    /// The metadata, or the error in it.
    pub metadata: Result<Metadata<'a>, String>,
    /// The spec, or the error in it.
    pub spec: Result<Spec<'a>, String>,
}

/// A pod with valid metadata and a valid spec.
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
    /// Reads a pod from JSON text, in one pass if it is valid.
    #[must_use]
    pub fn parse(json: &'a str) -> Self {
        match serde_json::from_str::<SoundPod<'a>>(json) {
            Ok(pod) => pod.into(),
            Err(_) => Self::parse_parts(json),
        }
    }

    /// Reads metadata and spec separately, to find the errors of each.
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
                let why = format!("the object is not a pod: {}", without_position(&error));
                Self { metadata: Err(why.clone()), spec: Err(why) }
            }
        }
    }
}

fn part<'a, T: Deserialize<'a>>(name: &str, json: Option<&'a RawValue>) -> Result<T, String> {
    let json = json.ok_or_else(|| format!("the pod has no {name}"))?;
    serde_json::from_str(json.get()).map_err(|error| format!("the pod's {name}: {}", without_position(&error)))
}

/// The error without line and column, which do not help: users do not see the review.
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
        assert_eq!(pod.metadata.expect("valid").display_name(), "a");
        let why = pod.spec.expect_err("invalid");
        assert_eq!(why, "the pod's spec: invalid type: string \"none\", expected a sequence");
    }

    #[test]
    fn names_are_borrowed_and_escapes_are_read() {
        let pod = Pod::parse(
            r#"{"metadata":{"annotations":{"a\u002fb":"x","c":"y\n"}},"spec":{"containers":[{"name":"app"}]}}"#,
        );
        let metadata = pod.metadata.expect("valid");
        assert_eq!(metadata.annotation("a/b"), Some("x"));
        assert_eq!(metadata.annotation("c"), Some("y\n"));
        let containers = pod.spec.expect("valid").containers.expect("given");
        assert!(matches!(containers[0].name.0, Cow::Borrowed("app")));
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let pod =
            Pod::parse(r#"{"metadata":{"labels":null,"annotations":null},"spec":{"containers":[],"volumes":null}}"#);
        assert!(pod.metadata.expect("valid").annotations.is_none());
        assert!(pod.spec.expect("valid").volumes.is_none());
    }

    #[test]
    fn missing_fields_are_reported() {
        let pod = Pod::parse("{}");
        assert_eq!(pod.metadata.expect_err("none"), "the pod has no metadata");
        assert_eq!(pod.spec.expect_err("none"), "the pod has no spec");
        assert!(Pod::parse("7").metadata.expect_err("none").starts_with("the object is not a pod"));
    }
}
