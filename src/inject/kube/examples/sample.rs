//! Objects with no more members than they need.

use serde_json::{Map, Value as Json, json};

use crate::inject::kube::rules::{FieldRule, Relation};
use crate::inject::kube::types::{Field, Kind, ObjectType};

/// Objects that refer to other parts of the pod, or that need more than their required members.
const SAMPLES: [(&str, &str); 16] = [
    ("PodSpec", r#"{"serviceAccountName":"default"}"#),
    ("ObjectFieldSelector", r#"{"fieldPath":"metadata.name"}"#),
    ("LabelSelectorRequirement", r#"{"key":"a","operator":"In","values":["x"]}"#),
    ("AppArmorProfile", r#"{"type":"RuntimeDefault"}"#),
    ("SeccompProfile", r#"{"type":"RuntimeDefault"}"#),
    ("Volume", r#"{"name":"t","emptyDir":{}}"#),
    ("VolumeMount", r#"{"name":"v","mountPath":"/x"}"#),
    ("VolumeDevice", r#"{"name":"d","devicePath":"/dev/x"}"#),
    ("FileKeySelector", r#"{"volumeName":"v","path":"e","key":"K"}"#),
    ("ResourceClaim", r#"{"name":"c"}"#),
    ("ResourceFieldSelector", r#"{"resource":"limits.cpu","containerName":"app"}"#),
    ("PersistentVolumeClaimSpec", r#"{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}}}"#),
    ("Toleration", r#"{"key":"k","operator":"Exists"}"#),
    ("TypedLocalObjectReference", r#"{"apiGroup":"x.io","kind":"PersistentVolumeClaim","name":"a"}"#),
    ("TypedObjectReference", r#"{"apiGroup":"x.io","kind":"PersistentVolumeClaim","name":"a"}"#),
    ("AzureDiskVolumeSource", r#"{"diskName":"d","diskURI":"https://d"}"#),
];

/// Members that another one needs: the member, its value, and what it needs. An empty value stands for each.
const COMPANIONS: [(&str, &str, (&str, &str)); 10] = [
    ("restartPolicyRules", "", ("restartPolicy", "\"Always\"")),
    ("localhostProfile", "", ("type", "\"Localhost\"")),
    ("type", "Localhost", ("localhostProfile", "\"a\"")),
    ("kind", "Managed", ("diskURI", "\"/subscriptions/d\"")),
    ("recursiveReadOnly", "IfPossible", ("readOnly", "true")),
    ("recursiveReadOnly", "Enabled", ("readOnly", "true")),
    ("operator", "Exists", ("values", "[]")),
    ("operator", "DoesNotExist", ("values", "[]")),
    ("keyPath", "", ("credentialBundlePath", "\"c\"")),
    ("certificateChainPath", "", ("credentialBundlePath", "\"c\"")),
];

/// Adds what the member `field` of `whole` needs if it has its value.
pub(super) fn accompany(whole: &mut Map<String, Json>, field: &str) {
    let word = whole.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
    for (name, value, (other, text)) in COMPANIONS {
        if name == field && (value.is_empty() || value == word) {
            whole.insert(other.to_owned(), serde_json::from_str(text).unwrap_or_default());
        }
    }
}

/// An object of the type with no more members than it needs.
pub(super) fn sample(object: &ObjectType) -> Map<String, Json> {
    let written = SAMPLES.iter().find(|(name, _)| *name == object.name).map(|(_, text)| *text);
    if let Some(Ok(whole)) = written.map(serde_json::from_str) {
        return whole;
    }
    let required = object.fields.iter().filter(|field| field.required && object.name != "PodSpec");
    let mut whole = required.map(|field| (field.name.clone(), accepted(field))).collect();
    complete(object, &mut whole);
    object.fields.iter().filter(|field| field.required).for_each(|field| accompany(&mut whole, &field.name));
    whole
}

/// Like [`sample`], without members that exclude `field`.
pub(super) fn sample_with(object: &ObjectType, field: &str) -> Map<String, Json> {
    let mut whole = sample(object);
    for relation in &object.relations {
        match relation {
            Relation::Exactly(fields) | Relation::AtMost(fields) if fields.contains(&field) => {
                whole.retain(|name, _| !fields.contains(&name.as_str()));
            }
            Relation::OneBeside(name) if field != *name => whole.retain(|other, _| other == name),
            _ => {}
        }
    }
    whole
}

/// A value that the field accepts.
pub(super) fn accepted(field: &Field) -> Json {
    if let Some(word) = field.words.iter().find(|word| !word.is_empty()) {
        return (*word).into();
    }
    let of_rule = field.rules.iter().find_map(|rule| match rule {
        FieldRule::Is(format) => Some(Json::from(format.accepted)),
        FieldRule::Range(least, _) => Some(Json::from(*least)),
        FieldRule::Each(FieldRule::OneOf(words)) => Some(json!([words[0]])),
        FieldRule::Each(FieldRule::Is(format)) => Some(json!([format.accepted])),
        _ => None,
    });
    let mut value = of_rule.unwrap_or_else(|| sample_of(&field.kind));
    for rule in field.rules {
        if let FieldRule::Member(name, rules) = rule {
            let format = rules
                .iter()
                .find_map(|rule| if let FieldRule::Is(format) = rule { Some(format.accepted) } else { None });
            let needed = rules.iter().any(|rule| matches!(rule, FieldRule::Required)).then_some("x");
            if let (Json::Object(whole), Some(text)) = (&mut value, format.or(needed)) {
                whole.insert((*name).to_owned(), text.into());
            }
        }
    }
    value
}

/// A value of this kind that the API server accepts.
pub(super) fn sample_of(kind: &Kind) -> Json {
    match kind {
        Kind::String | Kind::Any => "x".into(),
        Kind::Boolean => true.into(),
        Kind::Int32 | Kind::Int64 => 1.into(),
        Kind::IntOrString => 80.into(),
        Kind::Quantity => "1".into(),
        Kind::Time => "2026-01-01T00:00:00Z".into(),
        Kind::List(item) => Json::Array(vec![sample_of(item)]),
        Kind::Map(_) => Json::Object(Map::new()),
        Kind::Object(_) => kind.object().map_or(Json::Null, |object| Json::Object(sample(object))),
    }
}

/// Adds the first of `fields` to `whole` if it has none of them.
fn complete(object: &ObjectType, whole: &mut Map<String, Json>) {
    for relation in &object.relations {
        let (Relation::Exactly(fields) | Relation::AtLeast(fields)) = relation else { continue };
        if !fields.iter().any(|field| whole.contains_key(*field))
            && let Some(field) = object.field(fields[0])
        {
            whole.insert(field.name.clone(), accepted(field));
        }
    }
}
