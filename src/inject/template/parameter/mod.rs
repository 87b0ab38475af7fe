//! The parameters that a template declares, and the values that pods set in annotations. Pod authors are not trusted,
//! and values end up in shells and configuration files, so a value is only ever data of its declared type. This module
//! does not depend on expressions.

mod declare;
mod samples;

use regex::Regex;
use serde_json::Value as Json;

use crate::inject::kube::quantity;

pub(crate) use declare::{is_parameter_name, name_help, read};

/// Maximum number of items in a list, since expressions can iterate over them.
const MAX_ITEMS: usize = 500;
/// Maximum length in bytes of a string without `pattern` and `enum`.
const MAX_FREE: usize = 253;

/// A declared parameter.
#[derive(Debug)]
pub struct Parameter {
    /// `[a-z][A-Za-z0-9]{0,62}`.
    pub name: String,
    /// The type.
    pub kind: ParameterType,
    /// The value if a pod does not set one; null without a default.
    pub default: Json,
    /// True if a pod must set it.
    pub required: bool,
    /// A one-line description.
    pub description: Option<String>,
    rules: Constraints,
}

/// A parameter's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// A single value.
    One(ScalarType),
    /// A comma-separated list in one annotation: `a, b`.
    List(ScalarType),
    /// A map with one annotation per key: `PARAMETER.KEY`.
    Map(ScalarType),
}

/// The type of a single value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ScalarType {
    String,
    Integer,
    Number,
    Boolean,
    Quantity,
    Duration,
}

pub(crate) const SCALARS: [(&str, ScalarType); 6] = [
    ("string", ScalarType::String),
    ("integer", ScalarType::Integer),
    ("number", ScalarType::Number),
    ("boolean", ScalarType::Boolean),
    ("quantity", ScalarType::Quantity),
    ("duration", ScalarType::Duration),
];

impl ScalarType {
    /// The name of the type in templates, such as `string`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        SCALARS.iter().find(|(_, scalar)| *scalar == self).map_or("", |(word, _)| word)
    }

    /// The sort key of a value of this type; `None` if the type has no order or the value is not valid.
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

/// The rules for a value beyond its type.
#[derive(Debug, Default)]
struct Constraints {
    pattern: Option<Regex>,
    one_of: Vec<Json>,
    minimum: Option<(Order, String)>,
    maximum: Option<(Order, String)>,
    max_length: Option<usize>,
}

impl Constraints {
    /// The value of `enum` that equals `value`, or that is the same amount, such as `1Gi` for `1024Mi`.
    fn known(&self, scalar: ScalarType, value: &Json) -> Option<&Json> {
        let order = scalar.order(value);
        self.one_of.iter().find(|known| *known == value || order.is_some() && scalar.order(known) == order)
    }
}

impl Parameter {
    /// Returns true if its value is a map.
    #[must_use]
    pub fn is_map(&self) -> bool {
        matches!(self.kind, ParameterType::Map(_))
    }

    /// The type in words, such as `list of string`.
    #[must_use]
    pub fn kind_in_words(&self) -> String {
        match self.kind {
            ParameterType::One(scalar) => scalar.as_str().to_owned(),
            ParameterType::List(scalar) => format!("list of {}", scalar.as_str()),
            ParameterType::Map(scalar) => format!("map of {}", scalar.as_str()),
        }
    }

    /// Returns true for strings without `pattern` and `enum`. They accept any text of the safe character set.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let (ParameterType::One(scalar) | ParameterType::List(scalar) | ParameterType::Map(scalar)) = self.kind;
        scalar == ScalarType::String && self.rules.pattern.is_none() && self.rules.one_of.is_empty()
    }

    /// Returns true if it is an amount: a quantity or an integer.
    pub(crate) fn is_amount(&self) -> bool {
        matches!(self.kind, ParameterType::One(ScalarType::Quantity | ScalarType::Integer))
    }

    /// The largest amount that it can have, in 10^-9 units; `None` without an upper limit.
    pub(crate) fn most(&self) -> Option<i128> {
        let ParameterType::One(scalar @ (ScalarType::Quantity | ScalarType::Integer)) = self.kind else { return None };
        let exact = |order| match order {
            Order::Exact(value) if scalar == ScalarType::Integer => value.checked_mul(1_000_000_000),
            Order::Exact(value) => Some(value),
            Order::Float(_) => None,
        };
        let listed = self.rules.one_of.iter().filter_map(|value| exact(scalar.order(value)?)).max();
        listed.or_else(|| exact(self.rules.maximum.as_ref()?.0))
    }

    /// Parses the text of an annotation: a scalar, one value of a map, or a whole list.
    ///
    /// # Errors
    /// The first rule that the text breaks, a sentence without full stop.
    pub(crate) fn parse(&self, text: &str) -> Result<Json, String> {
        match self.kind {
            ParameterType::One(scalar) | ParameterType::Map(scalar) => self.scalar(scalar, text),
            ParameterType::List(_) if text.trim().is_empty() => Ok(Json::Array(Vec::new())),
            ParameterType::List(_) if text.split(',').count() > MAX_ITEMS => {
                Err(format!("it may have at most {MAX_ITEMS} items"))
            }
            ParameterType::List(scalar) => text.split(',').map(|item| self.scalar(scalar, item.trim())).collect(),
        }
    }

    /// Parses one value from the text of an annotation.
    fn scalar(&self, scalar: ScalarType, text: &str) -> Result<Json, String> {
        let value = match scalar {
            ScalarType::String => Some(Json::from(text)),
            ScalarType::Boolean => match text {
                "true" => Some(Json::Bool(true)),
                "false" => Some(Json::Bool(false)),
                _ => None,
            },
            ScalarType::Integer => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<i64>().ok().filter(|_| plain).map(Json::from)
            }
            ScalarType::Number if text.contains(char::is_whitespace) => None,
            ScalarType::Number => serde_json::from_str::<f64>(text).ok().map(Json::from),
            ScalarType::Quantity => quantity::quantity(text).map(|_| Json::from(text)),
            ScalarType::Duration => quantity::duration(text).map(|_| Json::from(text)),
        };
        let Some(value) = value else {
            return Err(format!("it must be {}", in_words(scalar)));
        };
        if scalar == ScalarType::String && self.is_free() {
            free(text)?;
        }
        self.obey(scalar, &value)?;
        // Expressions compare text, so `1024Mi` becomes the `1Gi` that the template lists.
        Ok(self.rules.known(scalar, &value).cloned().unwrap_or(value))
    }

    /// Checks a value against the rules.
    ///
    /// # Errors
    /// The first rule that it breaks, a sentence without full stop.
    fn obey(&self, scalar: ScalarType, value: &Json) -> Result<(), String> {
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

fn in_words(scalar: ScalarType) -> &'static str {
    match scalar {
        ScalarType::String => "a string",
        ScalarType::Integer => "an integer, such as 42",
        ScalarType::Number => "a number, such as 0.5",
        ScalarType::Boolean => "true or false",
        ScalarType::Quantity => "a quantity, such as 100m or 64Mi",
        ScalarType::Duration => "a duration, such as 30s or 1h30m",
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Checks that a text is short and has only characters without a meaning in shells and configuration files.
///
/// # Errors
/// The length limit, or the first character that is not allowed, as a sentence without full stop.
pub(crate) fn free(text: &str) -> Result<(), String> {
    let safe = |c: char| c.is_ascii_alphanumeric() || " ._/:@%+,=-".contains(c);
    if text.len() > MAX_FREE {
        return Err(format!("it may have at most {MAX_FREE} characters"));
    }
    match text.chars().find(|c| !safe(*c)) {
        None => Ok(()),
        Some(c) => Err(format!("it may not contain {c:?}; allowed are letters, digits, spaces and ._/:@%+,=-")),
    }
}
