//! Creates the table of Pod field types (`src/inject/kube/pod_types.txt`) from the OpenAPI document that an
//! API server publishes at `/openapi/v3/api/v1`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

/// The text of the table: the types with their fields and the types of these, sorted. Behind a type stand `required`,
/// the words of an enum, and the keys of a list.
pub(crate) fn table(openapi: &Value, version: &str) -> String {
    let schemas = &openapi["components"]["schemas"];
    let mut types: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut pending = BTreeSet::from(["io.k8s.api.core.v1.PodSpec".to_owned()]);
    let mut seen = pending.clone();
    while let Some(name) = pending.pop_first() {
        let mut fields = BTreeMap::new();
        for (field, schema) in schemas[&name]["properties"].as_object().into_iter().flatten() {
            let (kind, refers) = kind(schema, schemas);
            let required =
                schemas[&name]["required"].as_array().is_some_and(|list| list.contains(&field.as_str().into()));
            fields.insert(field.clone(), format!("{kind}{}{}", if required { " required" } else { "" }, words(schema)));
            pending.extend(refers.filter(|name| seen.insert(name.clone())));
        }
        types.insert(short(&name).to_owned(), fields);
    }
    let mut text = format!(
        "# The fields of a Pod's spec and their types, from the OpenAPI document of Kubernetes {version}.\n\
         # Generated: UPDATE_POD_TYPES=1 make e2e writes it again, and the API-server tests check it.\n"
    );
    for (name, fields) in types {
        let _ = writeln!(text, "{name}");
        for (field, kind) in fields {
            let _ = writeln!(text, "  {field} {kind}");
        }
    }
    text
}

/// The words of an enum and the keys of a list, each behind its name.
fn words(schema: &Value) -> String {
    let list = |name: &str, values: &Value| {
        let mut words: Vec<&str> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        words.sort_unstable();
        if words.is_empty() { String::new() } else { format!(" {name} {}", words.join(" ")) }
    };
    list("enum", &schema["enum"]) + &list("keys", &schema["x-kubernetes-list-map-keys"])
}

/// The name of a schema in the table, and the full name of the type that it refers to, if any.
fn kind(schema: &Value, schemas: &Value) -> (String, Option<String>) {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = reference.and_then(|path| path.rsplit('/').next()) {
        return match short(name) {
            "Quantity" => ("quantity".into(), None),
            "IntOrString" => ("int-or-string".into(), None),
            _ if schemas[name]["properties"].is_object() => (short(name).into(), Some(name.into())),
            _ => kind(&schemas[name], schemas),
        };
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => prefixed("[]", kind(&schema["items"], schemas)),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            prefixed("{}", kind(&schema["additionalProperties"], schemas))
        }
        (Some("integer"), Some(format)) => (format.into(), None),
        (Some("string"), Some("date-time")) => ("time".into(), None),
        (Some(plain @ ("string" | "boolean")), _) => (plain.into(), None),
        _ => ("any".into(), None),
    }
}

fn prefixed(prefix: &str, (kind, refers): (String, Option<String>)) -> (String, Option<String>) {
    (format!("{prefix}{kind}"), refers)
}

fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
