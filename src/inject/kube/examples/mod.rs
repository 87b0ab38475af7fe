//! Examples for each rule of the API server: pods that obey the rule, and pods that break only this rule. Tests compare
//! them with a real API server, so that no row of the table can be wrong, and the reference is generated from them.
//! Decisions do not use this module.

mod pod;
pub mod random;
mod sample;
mod values;

use serde_json::Value as Json;

use crate::inject::cluster_version::{ClusterVersion, NEWEST};
use crate::inject::diagnostic::Span;
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::gates::{self, GateUse};
use crate::inject::kube::rules::annotations::ANNOTATIONS;
use crate::inject::kube::rules::{self, Relation, VARIANTS};
use crate::inject::kube::types::{self, Field, ObjectType};

/// A rule of the API server with its examples.
#[derive(Debug)]
pub struct RuleRow {
    /// The API type and the field, such as `ContainerPort.hostPort`, or the type alone for a rule between fields.
    pub of: String,
    /// The rule, a sentence without full stop.
    pub rule: String,
    /// The functions of Kubernetes that it comes from.
    pub source: &'static str,
    /// The feature gate that the field needs, if it is off by default in the version. The API server does not apply the
    /// rule then.
    pub gate: Option<&'static str>,
    /// True if the API server drops the field because of the gate, so that it accepts every value.
    pub is_dropped: bool,
    /// Pods that obey or break the rule.
    pub examples: Vec<Example>,
}

/// A pod that obeys or breaks a rule.
#[derive(Debug)]
pub struct Example {
    /// The value that is added to a minimal pod, as JSON.
    pub value: String,
    /// The whole pod.
    pub pod: Json,
    /// True if the rule allows the value.
    pub is_allowed: bool,
    /// The messages of our own check of the value; empty if it passes.
    pub messages: Vec<String>,
}

/// All rules, by type in the order of the table, with examples for the newest known version.
#[must_use]
pub fn rows() -> Vec<RuleRow> {
    rows_for(NEWEST)
}

/// All rules, with examples for an API server of this version.
#[must_use]
pub fn rows_for(cluster: ClusterVersion) -> Vec<RuleRow> {
    let mut rows = Vec::new();
    for object in types::objects().iter().filter(|object| pod::is_reachable(object)) {
        let source = source(&object.name);
        let gate = pod::gate(object, cluster);
        for field in &object.fields {
            rows.extend(field_rows(object, field, source, cluster));
        }
        for relation in &object.relations {
            let examples = values::of_relation(object, relation).into_iter();
            let examples = examples.map(|(value, is_allowed)| example(object, value, is_allowed, cluster)).collect();
            rows.push(RuleRow {
                of: object.name.clone(),
                rule: values::relation_in_words(relation),
                source,
                gate: gate.map(|gate| gate.name),
                is_dropped: gate.is_some_and(|gate| gate.drops(cluster)),
                examples,
            });
        }
    }
    rows.extend(ANNOTATIONS.iter().map(|rule| {
        let key = format!("{}{}", rule.key, if rule.key.ends_with('/') { "app" } else { "" });
        let examples = [(rule.accepted, true), (rule.refused, false)];
        let examples =
            examples.into_iter().flat_map(|(texts, is_allowed)| texts.iter().map(move |text| (*text, is_allowed)));
        let example = |(text, is_allowed): (&str, bool)| Example {
            value: format!("{text:?}"),
            pod: pod::annotated(&key, text),
            is_allowed,
            messages: rules::annotations::broken(&key, text).map(str::to_owned).into_iter().collect(),
        };
        RuleRow {
            of: format!("annotation {}", rule.key),
            rule: format!("The value is {}", rule.what),
            source: rule.source,
            gate: None,
            is_dropped: false,
            examples: examples.map(example).collect(),
        }
    }));
    rows
}

fn source(name: &str) -> &'static str {
    let variant = VARIANTS.iter().find(|variant| variant.rules.name == name).map(|variant| variant.rules.source);
    variant.or_else(|| rules::of_type(name).map(|rules| rules.source).next()).unwrap_or("OpenAPI")
}

/// The rules of one field. A variant of a type has rows only for its own rules.
fn field_rows(
    object: &'static ObjectType,
    field: &Field,
    source: &'static str,
    cluster: ClusterVersion,
) -> Vec<RuleRow> {
    let variant = VARIANTS.iter().find(|variant| variant.rules.name == object.name);
    let is_of_template = object.name == "PodSpec" && field.required;
    if !pod::is_used(object, &field.name) || is_of_template {
        return Vec::new();
    }
    if variant.is_some_and(|variant| variant.rules.fields.iter().all(|(name, _)| *name != field.name)) {
        return Vec::new();
    }
    let gate = pod::gate_of(field, cluster).or_else(|| pod::gate(object, cluster));
    let own = sample::sample(object).get(&field.name).cloned();
    let row = |(rule, examples): (String, Vec<(Option<Json>, bool)>)| {
        let with = |value: Option<Json>, allowed: bool| {
            let mut whole = sample::sample_with(object, &field.name);
            // A name must be that of another part of the pod, which the sample has.
            let is_free_text =
                allowed && field.words.is_empty() && value.as_ref().is_some_and(|text| text.is_string() && *text != "");
            let value = if is_free_text { own.clone().or(value) } else { value };
            match value {
                Some(value) => whole.insert(field.name.clone(), value),
                None => whole.shift_remove(&field.name),
            };
            sample::accompany(&mut whole, &field.name);
            Json::Object(whole)
        };
        // An empty string counts as unset, so that these members then miss another rule.
        let is_needed = |group: &&'static Relation| match group {
            Relation::Exactly(fields) | Relation::AtLeast(fields) => fields.contains(&field.name.as_str()),
            _ => false,
        };
        let is_needed = object.relations.iter().any(is_needed);
        let examples = examples.into_iter().filter(|(value, _)| !is_needed || *value != Some("".into()));
        let examples =
            examples.map(|(value, is_allowed)| example(object, with(value, is_allowed), is_allowed, cluster));
        RuleRow {
            of: format!("{}.{}", object.name, field.name),
            rule,
            source,
            gate: gate.map(|gate| gate.name),
            is_dropped: gate.is_some_and(|gate| gate.drops(cluster)),
            examples: examples.collect(),
        }
    };
    values::of_field(field).into_iter().map(row).collect()
}

fn example(object: &'static ObjectType, value: Json, is_allowed: bool, cluster: ClusterVersion) -> Example {
    let mut checker = Checker::default();
    let mut node = Node::of_json(&value, Span::default());
    match &mut node.value {
        // A template sets only some fields of the spec.
        Value::Map(entries) if object.name == "PodSpec" => {
            for (key, field) in entries {
                checker.check_field(field, &object.name, &key.name, &key.name);
            }
        }
        _ => checker.check(&mut node, &object.name, &object.name),
    }
    // The examples of a rule do not know the version. The values of a field that it rejects do.
    let of_words: Vec<GateUse> = checker.gates.iter().filter(|place| place.is_word).cloned().collect();
    let is_allowed = is_allowed && gates::rejected(&of_words, Some(cluster)).next().is_none();
    let messages = checker.messages(Some(cluster));
    Example { value: value.to_string(), pod: pod::embed(object, value), is_allowed, messages }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::cluster_version::OLDEST;

    #[test]
    fn the_check_agrees_with_each_example() {
        let mut wrong = Vec::new();
        let mut count = 0;
        let versions = (OLDEST.minor..=NEWEST.minor).map(|minor| ClusterVersion { minor });
        for row in versions.flat_map(rows_for).filter(|row| row.gate.is_none()) {
            for example in &row.examples {
                count += 1;
                if example.is_allowed != example.messages.is_empty() {
                    wrong.push(format!("{} ({}): {} {:?}", row.of, row.rule, example.value, example.messages));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count > 500, "{count} examples");
    }
}
