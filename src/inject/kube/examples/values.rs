//! Values that obey or break one rule.

use serde_json::{Map, Value as Json, json};

use crate::inject::kube::examples::sample::{accepted, sample};
use crate::inject::kube::rules::{FieldRule, Is, Relation};
use crate::inject::kube::types::{Field, Kind, ObjectType};

/// A value of a field, or none, and true if the rule allows it.
type FieldExample = (Option<Json>, bool);

/// The rules of a field in words, each with its examples.
pub(super) fn of_field(field: &Field) -> Vec<(String, Vec<FieldExample>)> {
    let mut rows = Vec::new();
    let is_text = field.kind == Kind::String;
    let not_empty = field.rules.iter().any(|rule| matches!(rule, FieldRule::NotEmpty | FieldRule::Length(1.., _)));
    if field.required {
        let mut examples = vec![(None, false), (Some(accepted(field)), true)];
        examples.extend(is_text.then(|| (Some("".into()), false)));
        examples.extend(matches!(field.kind, Kind::List(_)).then(|| (Some(json!([])), false)));
        rows.push(("It is required".to_owned(), examples));
    }
    if !field.words.is_empty() {
        let words = field.words.iter().filter(|word| !word.is_empty());
        let mut examples: Vec<FieldExample> = vec![(Some("Nope".into()), false)];
        examples.extend(words.clone().map(|word| (Some(Json::from(*word)), true)));
        examples.push((Some("".into()), field.can_be_empty || field.words.contains(&"")));
        rows.push((format!("It is one of {}", words.copied().collect::<Vec<_>>().join(", ")), examples));
    }
    if !field.keys.is_empty() {
        rows.push((
            format!("No two items have the same {}", field.keys.join(" and ")),
            vec![(Some(twice(field)), false)],
        ));
    }
    for rule in field.rules {
        if let Some(words) = in_words(rule) {
            let mut examples: Vec<FieldExample> =
                of_rule(rule, field).into_iter().map(|(value, allowed)| (Some(value), allowed)).collect();
            if matches!(rule, FieldRule::Is(_)) && !field.required {
                examples.push((Some("".into()), !not_empty));
            }
            rows.push((words, examples));
        }
    }
    rows
}

/// A list with two equal items.
fn twice(field: &Field) -> Json {
    let mut value = accepted(field);
    if let Some(list) = value.as_array_mut() {
        list.extend(list.clone());
        // These members are optional, so that a sample does not have them.
        for item in list.iter_mut().filter(|item| field.name == "ports" && item.is_object()) {
            item["name"] = "a".into();
        }
    }
    value
}

fn of_rule(rule: &FieldRule, field: &Field) -> Vec<(Json, bool)> {
    match rule {
        FieldRule::NotEmpty => vec![("".into(), false)],
        FieldRule::Unique(_) => vec![(twice(field), false)],
        FieldRule::Range(least, most) => {
            let mut values = vec![(Json::from(*least), true), (Json::from(least - 1), false)];
            if *most < i64::from(i32::MAX) || field.kind == Kind::Int64 && *most < i64::MAX {
                values.extend([(Json::from(*most), true), (Json::from(most + 1), false)]);
            }
            values
        }
        FieldRule::Length(least, most) => {
            let of = |count: usize| match &field.kind {
                Kind::List(item) => {
                    let item = accepted(&Field { kind: Kind::clone(item), ..field.clone() });
                    let item = item.as_array().and_then(|list| list.first()).cloned().unwrap_or(item);
                    Json::Array(vec![item; count])
                }
                _ => "a".repeat(count).into(),
            };
            let mut values = vec![(of(*most + 1), false), (of((*least).max(1)), true)];
            values.extend((*least > 0).then(|| (of(least - 1), false)));
            values
        }
        FieldRule::Port => {
            let refused = [json!(0), json!(65_536), json!(""), json!("a_b"), json!("8080")];
            refused.into_iter().map(|value| (value, false)).chain([(json!(1), true), (json!("http"), true)]).collect()
        }
        FieldRule::Is(format) => {
            let refused = format.refused.iter().map(|text| (Json::from(*text), false));
            refused.chain([(format.accepted.into(), true)]).collect()
        }
        FieldRule::NotNegative => vec![("-1".into(), false), ("1".into(), true)],
        FieldRule::Each(FieldRule::Beyond(..)) => Vec::new(),
        FieldRule::Each(FieldRule::NotEmpty) => vec![(json!([""]), false)],
        FieldRule::Each(FieldRule::OneOf(words)) => vec![(json!(["Nope"]), false), (json!([words[0]]), true)],
        FieldRule::Each(rule) => {
            let values = of_rule(rule, &Field { kind: Kind::Int64, ..field.clone() });
            values.into_iter().map(|(value, allowed)| (json!([value]), allowed)).collect()
        }
        FieldRule::Keys(format) => {
            let refused = format.refused.iter().map(|key| (json!({*key: "x"}), false));
            refused.chain([(json!({format.accepted: "x"}), true)]).collect()
        }
        FieldRule::Values(format) => {
            let refused = format.refused.iter().map(|text| (json!({"a": text}), false));
            refused.chain([(json!({"a": format.accepted}), true)]).collect()
        }
        FieldRule::Member(name, rules) => rules.iter().flat_map(|rule| of_member(field, name, rule)).collect(),
        _ => Vec::new(),
    }
}

/// Values of an object in which one member obeys or breaks its rule.
fn of_member(field: &Field, name: &str, rule: &FieldRule) -> Vec<(Json, bool)> {
    let of = field.kind.object().and_then(|object| object.field(name));
    let Some(member) = of else { return Vec::new() };
    let with = |value: Option<Json>| {
        let mut whole = accepted(field);
        if let Json::Object(whole) = &mut whole {
            match value {
                Some(value) => whole.insert(name.to_owned(), value),
                None => whole.shift_remove(name),
            };
        }
        whole
    };
    match rule {
        FieldRule::Required => vec![(with(None), false), (with(Some("".into())), false)],
        FieldRule::Forbidden(_) => vec![(with(Some(accepted(member))), false), (with(None), true)],
        FieldRule::Gate(_) | FieldRule::WordGate(..) | FieldRule::Beyond(..) => Vec::new(),
        rule => of_rule(rule, member).into_iter().map(|(value, allowed)| (with(Some(value)), allowed)).collect(),
    }
}

/// Objects that obey or break a rule between their members.
pub(super) fn of_relation(object: &'static ObjectType, relation: &Relation) -> Vec<(Json, bool)> {
    let with = |fields: &[&str]| {
        let mut whole = sample(object);
        for group in &object.relations {
            if let Relation::Exactly(group) | Relation::AtMost(group) | Relation::AtLeast(group) = group {
                whole.retain(|name, _| !group.contains(&name.as_str()));
            }
        }
        for field in fields.iter().filter_map(|name| object.field(name)) {
            whole.insert(field.name.clone(), accepted(field));
        }
        whole
    };
    let objects: Vec<(Map<String, Json>, bool)> = match relation {
        Relation::Exactly(fields) => vec![(with(&[]), false), (with(&fields[..2]), false)],
        Relation::AtMost(fields) => {
            let last = &fields[fields.len() - 2..];
            vec![(with(last), false), (with(&last[1..]), true)]
        }
        Relation::AtLeast(_) | Relation::Idle(_) | Relation::OneBeside(_) => Vec::new(),
        Relation::Only(_) => vec![(with(&["name"]), false), (with(&[]), true)],
        Relation::Needs(field, is, other) => {
            let mut whole = with(&[field]);
            if let Is::Word(word @ "Localhost") = is {
                whole.insert((*field).to_owned(), (*word).into());
            }
            whole.shift_remove(*other);
            vec![(whole, false)]
        }
        Relation::Excludes(field, _, other) => {
            let mut whole = with(&[other]);
            whole.insert((*field).to_owned(), "RuntimeDefault".into());
            vec![(whole, false)]
        }
        Relation::Function(function) => {
            let read = |text: &&str, allowed| Some((serde_json::from_str(text).ok()?, allowed));
            let accepted = function.accepted.iter().filter_map(|text| read(text, true));
            accepted.chain(function.refused.iter().filter_map(|text| read(text, false))).collect()
        }
    };
    objects.into_iter().map(|(whole, allowed)| (Json::Object(whole), allowed)).collect()
}

/// A rule of a field, a sentence without full stop; `None` if it only changes what the OpenAPI document says.
fn in_words(rule: &FieldRule) -> Option<String> {
    Some(match rule {
        FieldRule::Required
        | FieldRule::Optional
        | FieldRule::EmptyIsDefault
        | FieldRule::Repeats
        | FieldRule::OneOf(_) => return None,
        FieldRule::NotEmpty => "It is not empty".to_owned(),
        FieldRule::Unique(member) => format!("No two items have the same {member}"),
        FieldRule::Range(least, i64::MAX) => format!("It is at least {least}"),
        FieldRule::Range(least, most) => format!("It is {least} to {most}"),
        FieldRule::Length(least, most) => format!("Its length is {least} to {most}"),
        FieldRule::Port => "It is 1 to 65535, or a port name".to_owned(),
        FieldRule::Is(format) => format!("It is {}", format.what),
        FieldRule::NotNegative => "It is not negative".to_owned(),
        FieldRule::Stricter(rule) => format!("{} (stricter than the API server)", in_words(rule)?),
        FieldRule::Each(FieldRule::OneOf(words)) => format!("Each item is one of {}", words.join(", ")),
        FieldRule::Each(rule) => format!("For each item: {}", in_words(rule)?.to_lowercase()),
        FieldRule::Keys(format) => format!("Each key is {}", format.what),
        FieldRule::Values(format) => format!("Each value is {}", format.what),
        FieldRule::Member(name, rules) => {
            let parts = rules.iter().filter_map(|rule| match rule {
                FieldRule::Required => Some("is required".to_owned()),
                FieldRule::Forbidden(place) => Some(format!("cannot be set {place}")),
                rule => in_words(rule).map(|text| text.replacen("It ", "", 1)),
            });
            format!("Here, {name} {}", parts.collect::<Vec<_>>().join(", and "))
        }
        FieldRule::Forbidden(place) => format!("It cannot be set {place}"),
        FieldRule::Gate(gate) => gate.in_words("it"),
        FieldRule::WordGate(word, gate) => gate.in_words(word),
        FieldRule::Beyond(_, gate) => gate.in_words("a name of relaxed syntax"),
    })
}

/// A rule between fields, a sentence without full stop.
pub(super) fn relation_in_words(relation: &Relation) -> String {
    let value = |is: &Is| match is {
        Is::Set => "is set".to_owned(),
        Is::Word(word) => format!("is {word}"),
        Is::Not(word) => format!("is not {word}"),
    };
    match relation {
        Relation::Exactly(fields) => format!("Exactly one is set: {}", fields.join(", ")),
        Relation::AtMost(fields) => format!("At most one is set: {}", fields.join(", ")),
        Relation::AtLeast(fields) => format!("At least one is set: {}", fields.join(", ")),
        Relation::Idle(_) => "Without a source it has no effect (a warning)".to_owned(),
        Relation::Only(fields) => format!("Only these can be set: {}", fields.join(", ")),
        Relation::OneBeside(name) => format!("Exactly one member beside {name} is set"),
        Relation::Needs(field, is, other) => format!("If {field} {}, {other} is set", value(is)),
        Relation::Excludes(field, is, other) => format!("If {field} {}, {other} is not set", value(is)),
        Relation::Function(function) => function.what.to_owned(),
    }
}
