//! The JSON Schema (draft 2020-12) of a template, generated from the tables of fields and words that loading uses. The
//! keys of nested maps and the patterns of names are written here. Editors use the schema for completion and validation.
//! Loading checks more: expressions, names, and fields that depend on each other.

use serde_json::{Map, Value as Json, json};

use crate::inject::authoring::lint::RULES;
use crate::inject::kube::types::{self, Kind, ObjectType};
use crate::inject::template::body::app_containers::SELECT_IN;
use crate::inject::template::body::pod_fields::POD_FIELDS;
use crate::inject::template::fields::{FIELDS, FieldKind, TemplateField, conflict_words, words_of};
use crate::inject::template::parameter::SCALARS;
use crate::inject::template::words::{OnConflict, POSITIONS};

/// The types of objects in the lists of a template.
const OBJECTS: [&str; 8] = [
    "Container",
    "Volume",
    "LocalObjectReference",
    "EnvVar",
    "EnvFromSource",
    "VolumeMount",
    "VolumeDevice",
    "LabelSelectorRequirement",
];

/// Returns the JSON Schema of a template, with definitions of the Pod types that it uses.
#[must_use]
pub fn template() -> Json {
    let mut definitions = Map::new();
    definitions.insert("expression".into(), json!({"type": "string", "pattern": "\\$\\{"}));
    let of_pod = POD_FIELDS.iter().filter_map(|field| innermost(&field.kind()?));
    let own = types::objects().iter().filter(|object| OBJECTS.contains(&object.name.as_str()));
    own.chain(of_pod).for_each(|object| define(object, &mut definitions));
    definitions.insert("selector".into(), selector());
    definitions.insert("position".into(), position());
    definitions.insert("parameter".into(), parameter());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://sidecar.io/schema/template-v1.json",
        "title": "SidecarTemplate",
        "description": "The additions of sidecar-injector to pods that request this template by name.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties(),
        "$defs": definitions,
    })
}

fn properties() -> Json {
    let property = |field: &TemplateField| {
        let mut schema = of_field(field.kind);
        if !matches!(field.kind, FieldKind::Constant(_)) {
            schema["description"] = field.documentation.into();
        }
        if let Some(default) = field.default {
            schema["default"] = default.into();
        }
        (field.key.to_owned(), schema)
    };
    Json::Object(FIELDS.iter().map(property).collect())
}

/// The schema of a field of a template.
fn of_field(kind: FieldKind) -> Json {
    let list = |item: Json| json!({"type": ["array", "null"], "items": item});
    match kind {
        FieldKind::Constant(text) => json!({"const": text}),
        FieldKind::Name => json!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}),
        FieldKind::Version => json!({"type": "string", "pattern": "^[A-Za-z0-9][-._A-Za-z0-9]{0,62}$"}),
        FieldKind::Text => json!({"type": "string"}),
        FieldKind::Boolean => json!({"type": "boolean"}),
        FieldKind::Words(words) => json!({"enum": words()}),
        FieldKind::Selector => json!({"$ref": "#/$defs/selector"}),
        FieldKind::Position => json!({"$ref": "#/$defs/position"}),
        FieldKind::Parameters => {
            let names = json!({"pattern": "^[a-z][A-Za-z0-9]{0,62}$"});
            json!({"type": "object", "propertyNames": names, "additionalProperties": {"$ref": "#/$defs/parameter"}})
        }
        FieldKind::Variables => list(json!({
            "type": "object", "required": ["name", "expression"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "expression": {"type": "string"}},
        })),
        FieldKind::AutoInject => json!({
            "type": "object", "additionalProperties": false,
            "properties": {
                "podSelector": {"$ref": "#/$defs/selector"}, "namespaceSelector": {"$ref": "#/$defs/selector"},
                "if": {"type": "string"},
            },
        }),
        FieldKind::OnConflict => json!({"anyOf": [
            {"enum": conflict_words()},
            {"type": "object", "additionalProperties": {"enum": conflict_words()}, "propertyNames": {"enum": OnConflict::KINDS}},
        ]}),
        FieldKind::Containers => list(container()),
        FieldKind::AppContainers => list(app_containers()),
        FieldKind::Volumes => list(volume()),
        FieldKind::PullSecrets => list(with_if("LocalObjectReference", json!({}))),
        FieldKind::Metadata => {
            let strings = json!({"type": ["object", "null"], "additionalProperties": {"type": "string"}});
            json!({
                "type": "object", "additionalProperties": false,
                "properties": {"labels": &strings, "annotations": &strings},
            })
        }
        FieldKind::PodFields => pod(),
        FieldKind::Silences => {
            let rules = RULES.iter().map(|rule| (rule.id.to_owned(), json!({"type": "string"})));
            json!({"type": "object", "additionalProperties": false, "properties": rules.collect::<Map<_, _>>()})
        }
    }
}

/// An object of the Pod type `kind`, with the keys that templates add to it: `if` and the properties `more`.
fn with_if(kind: &str, more: Json) -> Json {
    let mut own = json!({"if": {"type": ["string", "boolean"]}});
    if let (Json::Object(own), Json::Object(more)) = (&mut own, more) {
        own.extend(more);
    }
    json!({"allOf": [{"$ref": format!("#/$defs/{kind}")}, {"properties": own, "required": ["name"]}]})
}

fn container() -> Json {
    with_if("Container", json!({"position": {"$ref": "#/$defs/position"}, "restartPolicy": false}))
}

fn volume() -> Json {
    with_if(
        "Volume",
        json!({
            "shared": {"type": "boolean"},
            "files": {"type": "object", "additionalProperties": {"type": "string"}},
        }),
    )
}

fn app_containers() -> Json {
    let of = |kind: &str| json!({"type": ["array", "null"], "items": {"$ref": format!("#/$defs/{kind}")}});
    let globs = json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"$ref": "#/$defs/expression"}]});
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "select": {
                "type": "object", "additionalProperties": false,
                "properties": {"in": {"enum": words_of(&SELECT_IN)}, "names": globs, "except": globs},
            },
            "if": {"type": ["string", "boolean"]},
            "env": of("EnvVar"), "envFrom": of("EnvFromSource"),
            "volumeMounts": of("VolumeMount"), "volumeDevices": of("VolumeDevice"),
            "appendEnv": {"type": "array", "items": {
                "type": "object", "required": ["name", "value"], "additionalProperties": false,
                "properties": {"name": {"type": "string"}, "value": {"type": "string"}, "separator": {"type": "string"}},
            }},
        },
    })
}

fn pod() -> Json {
    let properties = POD_FIELDS.iter().filter_map(|field| Some((field.name.to_owned(), of_kind(&field.kind()?))));
    json!({"type": "object", "additionalProperties": false, "properties": properties.collect::<Map<_, _>>()})
}

fn selector() -> Json {
    json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
            "matchExpressions": {"type": "array", "items": {"$ref": "#/$defs/LabelSelectorRequirement"}},
        },
    })
}

fn position() -> Json {
    let anchor = |key: &str| json!({"type": "object", "required": [key], "additionalProperties": false, "properties": {key: {"type": "string"}}});
    json!({"anyOf": [{"enum": words_of(&POSITIONS)}, anchor("before"), anchor("after")]})
}

fn parameter() -> Json {
    let scalars = words_of(&SCALARS);
    let kinds: Vec<&str> = scalars.iter().copied().chain(["list", "map"]).collect();
    json!({
        "type": "object", "required": ["type"], "additionalProperties": false,
        "properties": {
            "type": {"enum": kinds}, "of": {"enum": scalars}, "default": true, "required": {"type": "boolean"},
            "description": {"type": "string"}, "enum": {"type": "array"}, "pattern": {"type": "string", "format": "regex"},
            "minimum": {"type": ["number", "string"]}, "maximum": {"type": ["number", "string"]},
            "maxLength": {"type": "integer", "minimum": 0},
        },
    })
}

/// Adds the definition of the type of an object, and of all types that it refers to.
fn define(object: &ObjectType, definitions: &mut Map<String, Json>) {
    if definitions.contains_key(&object.name) {
        return;
    }
    // Inserted before the fields are read, because a type can refer to itself.
    definitions.insert(object.name.clone(), Json::Null);
    let properties: Map<String, Json> =
        object.fields.iter().map(|field| (field.name.clone(), of_kind(&field.kind))).collect();
    // Additional fields are allowed, because the API can have fields that are newer than the table.
    definitions.insert(object.name.clone(), json!({"type": "object", "properties": properties}));
    let mut referred: Vec<&ObjectType> = object.fields.iter().filter_map(|field| innermost(&field.kind)).collect();
    referred.sort_by(|one, other| one.name.cmp(&other.name));
    for object in referred {
        define(object, definitions);
    }
}

/// The type of the objects in a value of this kind, if there are any.
fn innermost(kind: &Kind) -> Option<&'static ObjectType> {
    match kind {
        Kind::List(item) | Kind::Map(item) => innermost(item),
        kind => kind.object(),
    }
}

/// The schema of a value of this kind, or of an expression that returns one. Null is the same as absent.
fn of_kind(kind: &Kind) -> Json {
    let or_expression = |schema: Json| json!({"anyOf": [schema, {"$ref": "#/$defs/expression"}]});
    match kind {
        Kind::List(item) => or_expression(json!({"type": ["array", "null"], "items": of_kind(item)})),
        Kind::Map(item) => or_expression(json!({"type": ["object", "null"], "additionalProperties": of_kind(item)})),
        Kind::String | Kind::Time => json!({"type": ["string", "null"]}),
        Kind::Boolean => or_expression(json!({"type": ["boolean", "null"]})),
        Kind::Int32 | Kind::Int64 => or_expression(json!({"type": ["integer", "null"]})),
        Kind::IntOrString => json!({"type": ["integer", "string", "null"]}),
        Kind::Quantity => json!({"type": ["number", "string", "null"]}),
        Kind::Any => json!(true),
        Kind::Object(_) => {
            let name = kind.object().map_or("", |object| &object.name);
            or_expression(json!({"anyOf": [{"$ref": format!("#/$defs/{name}")}, {"type": "null"}]}))
        }
    }
}
