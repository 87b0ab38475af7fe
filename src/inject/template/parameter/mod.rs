//! Parameters: what a template lets a pod choose, and the values that pods give in annotations. Pod authors are
//! not trusted, and values end up in shells and configuration files, so a value is only ever data of its declared
//! type. It must not know expressions.

mod declare;

use regex::Regex;
use serde_json::{Map, Number, Value as Json};

use crate::inject::diagnostic::{nearest, shown};
use crate::inject::kube::quantity;
use crate::inject::review::pod::{Metadata, StringMap};
use crate::inject::settings::keys::Keys;

pub(crate) use declare::{is_parameter_name, read};

/// Most items of a list: expressions may run over them.
const MAX_ITEMS: usize = 500;
/// Longest string without a pattern or list of its own.
const MAX_FREE: usize = 253;

/// A declared parameter.
#[derive(Debug)]
pub struct Parameter {
    /// `[a-z][A-Za-z0-9]{0,62}`.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// The value where a pod gives none; null without one.
    pub default: Json,
    /// Whether a pod must give it.
    pub required: bool,
    /// One line for people.
    pub description: Option<String>,
    rules: Rules,
}

/// A parameter's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value.
    One(Scalar),
    /// `a, b`.
    List(Scalar),
    /// One annotation per key: `PARAMETER.KEY`.
    Map(Scalar),
}

/// The type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    String,
    Integer,
    Number,
    Boolean,
    Quantity,
    Duration,
}

const SCALARS: [(&str, Scalar); 6] = [
    ("string", Scalar::String),
    ("integer", Scalar::Integer),
    ("number", Scalar::Number),
    ("boolean", Scalar::Boolean),
    ("quantity", Scalar::Quantity),
    ("duration", Scalar::Duration),
];

impl Scalar {
    /// The word in templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        SCALARS.iter().find(|(_, scalar)| *scalar == self).map_or("", |(word, _)| word)
    }

    /// What orders values of this type; `None` where there is no order.
    fn order(self, value: &Json) -> Option<Order> {
        match self {
            Self::Integer => Some(Order::Exact(value.as_i64()?.into())),
            Self::Number => Some(Order::Float(value.as_f64()?)),
            Self::Quantity => Some(Order::Exact(quantity::quantity(value.as_str()?)?)),
            Self::Duration => Some(Order::Exact(quantity::duration(value.as_str()?)?)),
            Self::String | Self::Boolean => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Order {
    Exact(i128),
    Float(f64),
}

/// What a value must be beyond its type.
#[derive(Debug, Default)]
struct Rules {
    pattern: Option<Regex>,
    one_of: Vec<Json>,
    minimum: Option<(Order, String)>,
    maximum: Option<(Order, String)>,
    max_length: Option<usize>,
}

impl Rules {
    /// The value of the list that means the same.
    fn known(&self, scalar: Scalar, value: &Json) -> Option<&Json> {
        let order = scalar.order(value);
        self.one_of.iter().find(|known| *known == value || order.is_some() && scalar.order(known) == order)
    }
}

impl Parameter {
    /// Whether its value is a map.
    #[must_use]
    pub fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    /// The type as people write it.
    #[must_use]
    pub fn kind_in_words(&self) -> String {
        match self.kind {
            Kind::One(scalar) => scalar.as_str().to_owned(),
            Kind::List(scalar) => format!("list of {}", scalar.as_str()),
            Kind::Map(scalar) => format!("map of {}", scalar.as_str()),
        }
    }

    /// Whether a string of it can be anything that the free character set has.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let (Kind::One(scalar) | Kind::List(scalar) | Kind::Map(scalar)) = self.kind;
        scalar == Scalar::String && self.rules.pattern.is_none() && self.rules.one_of.is_empty()
    }

    /// Whether it says how much of something.
    pub(crate) fn is_amount(&self) -> bool {
        matches!(self.kind, Kind::One(Scalar::Quantity | Scalar::Integer))
    }

    /// The largest quantity that it can be, in 10^-9 units, if there is a largest.
    pub(crate) fn most(&self) -> Option<i128> {
        let Kind::One(scalar @ (Scalar::Quantity | Scalar::Integer)) = self.kind else { return None };
        let exact = |order| match order {
            Order::Exact(value) if scalar == Scalar::Integer => value.checked_mul(1_000_000_000),
            Order::Exact(value) => Some(value),
            Order::Float(_) => None,
        };
        let listed = self.rules.one_of.iter().filter_map(|value| exact(scalar.order(value)?)).max();
        listed.or_else(|| exact(self.rules.maximum.as_ref()?.0))
    }

    fn parse(&self, text: &str) -> Result<Json, String> {
        match self.kind {
            Kind::One(scalar) | Kind::Map(scalar) => self.scalar(scalar, text),
            Kind::List(_) if text.trim().is_empty() => Ok(Json::Array(Vec::new())),
            Kind::List(_) if text.split(',').count() > MAX_ITEMS => {
                Err(format!("it may have at most {MAX_ITEMS} items"))
            }
            Kind::List(scalar) => text.split(',').map(|item| self.scalar(scalar, item.trim())).collect(),
        }
    }

    /// One value from the text of an annotation.
    fn scalar(&self, scalar: Scalar, text: &str) -> Result<Json, String> {
        let value = match scalar {
            Scalar::String => Some(Json::from(text)),
            Scalar::Boolean => match text {
                "true" => Some(Json::Bool(true)),
                "false" => Some(Json::Bool(false)),
                _ => None,
            },
            Scalar::Integer => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<i64>().ok().filter(|_| plain).map(Json::from)
            }
            Scalar::Number if text.contains(char::is_whitespace) => None,
            Scalar::Number => serde_json::from_str::<Number>(text).ok().map(Json::Number),
            Scalar::Quantity => quantity::quantity(text).map(|_| Json::from(text)),
            Scalar::Duration => quantity::duration(text).map(|_| Json::from(text)),
        };
        let Some(value) = value else {
            return Err(format!("it must be {}", in_words(scalar)));
        };
        if scalar == Scalar::String && self.is_free() {
            free(text)?;
        }
        self.obey(scalar, &value)?;
        // Expressions compare text, so 1024Mi reads as the 1Gi that the template has.
        Ok(self.rules.known(scalar, &value).cloned().unwrap_or(value))
    }

    /// Whether a value obeys the rules; if not, which one it breaks.
    fn obey(&self, scalar: Scalar, value: &Json) -> Result<(), String> {
        let rules = &self.rules;
        if !rules.one_of.is_empty() && rules.known(scalar, value).is_none() {
            let list: Vec<String> = rules.one_of.iter().take(20).map(plain).collect();
            return Err(format!("it must be one of {}", list.join(", ")));
        }
        if let (Some(pattern), Some(text)) = (&rules.pattern, value.as_str())
            && !pattern.is_match(text)
        {
            return Err(format!("it must match {pattern}"));
        }
        let length = value.as_str().map_or(0, |text| text.chars().count());
        if let Some(max) = rules.max_length.filter(|max| length > *max) {
            return Err(format!("it may have at most {max} characters"));
        }
        let order = scalar.order(value);
        let below = |limit: &(Order, String)| order.is_some_and(|order| order < limit.0);
        let above = |limit: &(Order, String)| order.is_some_and(|order| order > limit.0);
        if let Some((_, minimum)) = rules.minimum.as_ref().filter(|limit| below(limit)) {
            return Err(format!("it must be at least {minimum}"));
        }
        if let Some((_, maximum)) = rules.maximum.as_ref().filter(|limit| above(limit)) {
            return Err(format!("it must be at most {maximum}"));
        }
        Ok(())
    }
}

fn in_words(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::String => "a string",
        Scalar::Integer => "an integer, such as 42",
        Scalar::Number => "a number, such as 0.5",
        Scalar::Boolean => "true or false",
        Scalar::Quantity => "a quantity, such as 100m or 64Mi",
        Scalar::Duration => "a duration, such as 30s or 1h30m",
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The characters that mean nothing to shells and configuration files.
fn free(text: &str) -> Result<(), String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || " ._/:@%+,=-".contains(c);
    if text.len() > MAX_FREE {
        return Err(format!("it may have at most {MAX_FREE} characters"));
    }
    match text.chars().find(|c| !safe(*c)) {
        None => Ok(()),
        Some(c) => Err(format!("it may not contain {c:?}; allowed are letters, digits, blanks and ._/:@%+,=-")),
    }
}

/// The values of all parameters of `template` for a pod: what its annotations say, else the defaults, else null.
///
/// # Errors
/// Every annotation that is wrong and every value that is missing, each a sentence without full stop.
pub(crate) fn values(
    keys: &Keys,
    template: &str,
    parameters: &[Parameter],
    metadata: &Metadata<'_>,
) -> Result<Json, Vec<String>> {
    let mut values: Map<String, Json> =
        parameters.iter().map(|parameter| (parameter.name.clone(), parameter.default.clone())).collect();
    let mut problems = Vec::new();
    let annotations = metadata.annotations.iter().flat_map(StringMap::iter);
    let ours: Vec<(&str, &str, &str)> =
        annotations.filter_map(|(key, text)| Some((key, keys.parameter_of(template, key)?, text))).collect();
    // What a pod says of a map replaces its default as a whole.
    for parameter in parameters.iter().filter(|parameter| parameter.is_map()) {
        if ours.iter().any(|(_, name, _)| name.split_once('.').is_some_and(|(word, _)| word == parameter.name)) {
            values.insert(parameter.name.clone(), Json::Object(Map::new()));
        }
    }
    for (key, name, text) in ours {
        if let Err(why) = give(parameters, &mut values, name, text) {
            problems.push(format!("{} is \"{}\": {why}", shown(key, 140), shown(text, 80)));
        }
    }
    for parameter in parameters.iter().filter(|parameter| parameter.required) {
        if values.get(&parameter.name).is_none_or(Json::is_null) {
            let key = keys.parameter(template, &parameter.name);
            problems.push(format!("the annotation {key} is missing; it is {}", article(&parameter.kind_in_words())));
        }
    }
    if problems.is_empty() { Ok(Json::Object(values)) } else { Err(problems) }
}

fn article(kind: &str) -> String {
    let an = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if an { "an" } else { "a" })
}

/// Puts the value of one annotation where it belongs.
fn give(parameters: &[Parameter], values: &mut Map<String, Json>, name: &str, text: &str) -> Result<(), String> {
    let (word, key) = name.split_once('.').map_or((name, None), |(word, key)| (word, Some(key)));
    let Some(parameter) = parameters.iter().find(|parameter| parameter.name == word) else {
        let hint = match nearest(word, parameters.iter().map(|parameter| parameter.name.as_str())) {
            Some(known) => format!("did you mean {known}?"),
            None if parameters.is_empty() => "it has none".to_owned(),
            None => {
                let names: Vec<&str> = parameters.iter().take(10).map(|parameter| parameter.name.as_str()).collect();
                format!("it has {}", names.join(", "))
            }
        };
        return Err(format!("the template has no such parameter; {hint}"));
    };
    match (parameter.is_map(), key) {
        (true, None) => Err(format!("it is a map; write one annotation for each key, {word}.KEY")),
        (false, Some(_)) => Err(format!("{word} is no map, so nothing may stand behind it")),
        (true, Some(key)) => {
            free(key)?;
            let value = parameter.parse(text)?;
            if let Some(Json::Object(map)) = values.get_mut(word) {
                map.insert(key.to_owned(), value);
            }
            Ok(())
        }
        (false, None) => {
            values.insert(word.to_owned(), parameter.parse(text)?);
            Ok(())
        }
    }
}
