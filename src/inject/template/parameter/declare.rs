//! Reads the parameter declarations of a template. Every error in a declaration is found here, including errors in its
//! default. This module does not depend on pods or their annotations.

use serde_json::Value as Json;

use crate::inject::diagnostic::{nearest, shown};
use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::quantity;
use crate::inject::template::parameter::{Constraints, Parameter, ParameterType, SCALARS, ScalarType, in_words, plain};

/// Keywords and reserved words of CEL, which cannot be parameter names (CEL specification, "Syntax").
const KEYWORDS: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
const RULES: [&str; 10] =
    ["type", "of", "default", "required", "description", "enum", "pattern", "minimum", "maximum", "maxLength"];

/// Returns true if `name` is a valid name of a parameter or a variable: `[a-z][A-Za-z0-9]{0,62}`, not a CEL keyword.
pub(crate) fn is_parameter_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !KEYWORDS.contains(&name)
}

/// What a parameter or a variable can be named instead of `name`.
pub(crate) fn name_help(name: &str) -> String {
    if KEYWORDS.contains(&name) {
        return format!("these words of CEL cannot be names: {}", KEYWORDS.join(", "));
    }
    "use a letter from a to z, then up to 62 letters and digits".to_owned()
}

/// Reads the `parameters` of a template. Errors go to `checker`, and a parameter without a valid type is left out.
pub(crate) fn read(checker: &mut Checker, node: Option<&Node>) -> Vec<Parameter> {
    let entries = match node.map(|node| (&node.value, node.span)) {
        None | Some((Value::Null, _)) => return Vec::new(),
        Some((Value::Map(entries), _)) => entries,
        Some((other, span)) => {
            checker.error(span, format!("parameters must be a map, not {}", other.kind()), "");
            return Vec::new();
        }
    };
    let mut parameters = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        if !is_parameter_name(&key.name) {
            let message = format!("\"{}\" is not a valid parameter name", shown(&key.name, 80));
            checker.error(key.span, message, name_help(&key.name));
        }
        parameters.extend(parameter(checker, &key.name, node));
    }
    parameters
}

fn parameter(checker: &mut Checker, name: &str, node: &Node) -> Option<Parameter> {
    let Value::Map(entries) = &node.value else {
        let message = format!("parameter {name} must be a map, not {}", node.value.kind());
        checker.error(node.span, message, format!("write {name}: {{type: string}}"));
        return None;
    };
    for (key, _) in entries.iter().filter(|(key, _)| !RULES.contains(&key.name.as_str())) {
        let help = nearest(&key.name, RULES).map(|known| format!("did you mean \"{known}\"?"));
        checker.error(key.span, format!("a parameter has no key \"{}\"", key.name), help.unwrap_or_default());
    }
    let get = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let kind = kind(checker, name, node, get("type"), get("of"))?;
    let (ParameterType::One(scalar) | ParameterType::List(scalar) | ParameterType::Map(scalar)) = kind;
    let string = |checker: &mut Checker, key: &str| {
        let node = get(key)?;
        checker.json(node, "string", key).as_str().map(str::to_owned)
    };
    let mut parameter = Parameter {
        name: name.to_owned(),
        kind,
        default: Json::Null,
        required: get("required").is_some_and(|node| checker.json(node, "boolean", "required") == true),
        description: string(checker, "description"),
        rules: Constraints::default(),
    };
    parameter.rules = rules(checker, &parameter, scalar, &get);
    if let Some(node) = get("default") {
        if parameter.required {
            checker.error(node.span, "a required parameter cannot have a default", "remove one of the two");
        }
        parameter.default = default(checker, &parameter, node);
    }
    Some(parameter)
}

fn kind(
    checker: &mut Checker,
    name: &str,
    whole: &Node,
    node: Option<&Node>,
    of: Option<&Node>,
) -> Option<ParameterType> {
    let Some(node) = node else {
        checker.error(whole.span, format!("parameter {name} has no type"), "write for example type: string");
        return None;
    };
    let word = |node: &Node| match &node.value {
        Value::String(word) => SCALARS.iter().find(|(known, _)| known == word).map(|(_, scalar)| *scalar),
        _ => None,
    };
    let of_known = of.map(|node| (word(node), node.span));
    if let Some((None, span)) = of_known {
        checker.error(span, "`of` must be one of string, integer, number, boolean, quantity, duration", "");
    }
    let item = of_known.and_then(|(scalar, _)| scalar).unwrap_or(ScalarType::String);
    match &node.value {
        Value::String(text) if text == "list" => Some(ParameterType::List(item)),
        Value::String(text) if text == "map" => Some(ParameterType::Map(item)),
        _ => {
            let scalar = word(node);
            if scalar.is_none() {
                let message = "type must be one of string, integer, number, boolean, quantity, duration, list, map";
                checker.error(node.span, message, "");
            } else if let Some(of) = of {
                checker.error(of.span, "`of` is only for the types list and map", "");
            }
            scalar.map(ParameterType::One)
        }
    }
}

fn rules<'n>(
    checker: &mut Checker,
    parameter: &Parameter,
    scalar: ScalarType,
    get: &impl Fn(&str) -> Option<&'n Node>,
) -> Constraints {
    let mut rules = Constraints::default();
    if let Some(node) = get("pattern") {
        let pattern = checker.json(node, "string", "pattern");
        let compiled = pattern.as_str().map(|text| regex::RegexBuilder::new(text).size_limit(1 << 20).build());
        match compiled {
            Some(Ok(pattern)) if scalar == ScalarType::String => rules.pattern = Some(pattern),
            Some(Ok(_)) => checker.error(node.span, "pattern is only for strings", ""),
            Some(Err(error)) => {
                let text = error.to_string();
                let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                checker.error(node.span, format!("invalid regular expression: {why}"), "");
            }
            None => {}
        }
    }
    if let Some(node) = get("enum") {
        let Value::List(items) = &node.value else {
            checker.error(node.span, "enum must be a list of values", "");
            return rules;
        };
        rules.one_of = items.iter().map(|item| literal(checker, scalar, item)).collect();
    }
    for (key, limit) in [("minimum", &mut rules.minimum), ("maximum", &mut rules.maximum)] {
        let Some(node) = get(key) else { continue };
        let value = literal(checker, scalar, node);
        match scalar.order(&value) {
            Some(order) => *limit = Some((order, plain(&value))),
            None if value.is_null() => {}
            None => checker.error(node.span, format!("a {} cannot have a {key}", scalar.as_str()), ""),
        }
    }
    if let Some(node) = get("maxLength") {
        let max = checker.json(node, "int32", "maxLength").as_u64().and_then(|max| usize::try_from(max).ok());
        if scalar != ScalarType::String || max.is_none() {
            checker.error(node.span, format!("maxLength of {} must be a number of characters", parameter.name), "");
        }
        rules.max_length = max;
    }
    rules
}

/// Reads a value in the template. It has its YAML type, unlike the text of an annotation.
fn literal(checker: &mut Checker, scalar: ScalarType, node: &Node) -> Json {
    let (kind, valid): (&str, fn(&Json) -> bool) = match scalar {
        ScalarType::String => ("string", Json::is_string),
        ScalarType::Integer => ("int64", Json::is_i64),
        ScalarType::Number => ("any", Json::is_number),
        ScalarType::Boolean => ("boolean", Json::is_boolean),
        ScalarType::Quantity => ("quantity", Json::is_string),
        ScalarType::Duration => {
            ("string", |value| value.as_str().is_some_and(|text| quantity::duration(text).is_some()))
        }
    };
    let mut value = checker.json(node, kind, "the value");
    if scalar == ScalarType::Number && value.is_number() {
        // A double also where YAML has an integer, so that an expression works with each value.
        value = Json::from(value.as_f64());
    }
    if !value.is_null() && !valid(&value) {
        checker.error(node.span, format!("this must be {}", in_words(scalar)), "");
        return Json::Null;
    }
    value
}

fn default(checker: &mut Checker, parameter: &Parameter, node: &Node) -> Json {
    let scalars: Vec<(ScalarType, &Node)> = match (&node.value, parameter.kind) {
        (Value::List(items), ParameterType::List(scalar)) => items.iter().map(|item| (scalar, item)).collect(),
        (Value::Map(entries), ParameterType::Map(scalar)) => entries.iter().map(|(_, value)| (scalar, value)).collect(),
        (Value::Null, _) => return Json::Null,
        (_, ParameterType::One(scalar)) => vec![(scalar, node)],
        (other, _) => {
            let message = format!("the default of a {} cannot be {}", parameter.kind_in_words(), other.kind());
            checker.error(node.span, message, "");
            return Json::Null;
        }
    };
    let values: Vec<Json> = scalars
        .into_iter()
        .map(|(scalar, node)| {
            let value = literal(checker, scalar, node);
            if !value.is_null()
                && let Err(why) = parameter.obey(scalar, &value)
            {
                checker.error(node.span, format!("the default is not valid: {why}"), "");
            }
            parameter.rules.known(scalar, &value).cloned().unwrap_or(value)
        })
        .collect();
    match (&node.value, parameter.kind) {
        (_, ParameterType::List(_)) => Json::Array(values),
        (Value::Map(entries), ParameterType::Map(_)) => {
            Json::Object(entries.iter().map(|(key, _)| key.name.clone()).zip(values).collect())
        }
        _ => values.into_iter().next().unwrap_or_default(),
    }
}
