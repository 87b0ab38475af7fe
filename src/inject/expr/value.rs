//! Converts values between JSON and CEL. The library's conversion through serde makes integers unsigned and escapes
//! keys, so that neither arithmetic nor look-ups of annotations would work. The module does not know what the values
//! mean.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::cel::Value;
use kube_cel::cel::objects::{Key, Map};
use serde_json::{Map as JsonMap, Number, Value as Json};

use crate::inject::expr::messages::word;

/// Maximum number of values in one result.
const MAX_VALUES: usize = 20_000;
/// Maximum total length of the text in one result, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// Converts JSON to CEL. Integers become `int`, or `uint` if they are too large. Keys stay unchanged.
pub(super) fn to_cel(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::UInt(value),
            (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(to_cel).collect())),
        Json::Object(map) => to_map(map.iter().map(|(key, value)| (key.clone(), to_cel(value)))),
    }
}

/// Creates a CEL map with string keys.
pub(super) fn to_map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> =
        entries.into_iter().map(|(key, value)| (Key::String(Arc::new(key)), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}

/// Converts a result to JSON. Keys are sorted, because CEL maps have no order.
///
/// # Errors
/// A sentence without a full stop, if the result has no JSON form or is too large (20,000 values, 256 KiB of text).
pub(super) fn to_json(value: &Value) -> Result<Json, String> {
    let mut room = Room { values: MAX_VALUES, text: MAX_TEXT };
    room.json(value)
}

/// Returns true if a value exceeds the limits of a result.
pub(super) fn is_too_large(value: &Value) -> bool {
    fn take(value: &Value, values: &mut usize, text: &mut usize) -> Option<()> {
        *values = values.checked_sub(1)?;
        match value {
            Value::String(string) => *text = text.checked_sub(string.len())?,
            Value::List(items) => items.iter().try_for_each(|item| take(item, values, text))?,
            Value::Map(map) => map.map.values().try_for_each(|item| take(item, values, text))?,
            _ => {}
        }
        Some(())
    }
    take(value, &mut MAX_VALUES.clone(), &mut MAX_TEXT.clone()).is_none()
}

/// The number of values and bytes of text that a result can still use.
struct Room {
    values: usize,
    text: usize,
}

impl Room {
    fn json(&mut self, value: &Value) -> Result<Json, String> {
        self.values = self.values.checked_sub(1).ok_or("the result is too large")?;
        Ok(match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::from(*value),
            Value::UInt(value) => Json::from(*value),
            // JSON has one kind of number, so a double without a fraction is written like an int, as cel-go does. Up to
            // 2^53, each whole number is a double.
            #[allow(clippy::cast_possible_truncation, reason = "the value is whole and within the range")]
            Value::Float(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
                Json::from(*value as i64)
            }
            Value::Float(value) => {
                Number::from_f64(*value).map(Json::Number).ok_or("the result is not a finite number")?
            }
            Value::String(text) => self.text(text)?,
            Value::List(items) => Json::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?),
            Value::Map(map) => {
                let mut entries: Vec<(String, &Value)> = Vec::with_capacity(map.map.len());
                for (key, value) in map.map.iter() {
                    let Key::String(key) = key else { return Err("the keys of a map must be strings".to_owned()) };
                    entries.push((key.to_string(), value));
                }
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                let mut json = JsonMap::with_capacity(entries.len());
                for (key, value) in entries {
                    self.text(&key)?;
                    json.insert(key, self.json(value)?);
                }
                Json::Object(json)
            }
            Value::Opaque(opaque) if opaque.runtime_type_name() == "kubernetes.Quantity" => {
                let text = quantity(&format!("{value:?}")).ok_or("the quantity cannot be written as text")?;
                Json::String(text)
            }
            other => return Err(format!("the result is a {}, which has no JSON form", word(other))),
        })
    }

    fn text(&mut self, text: &str) -> Result<Json, String> {
        if text.contains('\0') {
            return Err("the result contains a NUL character".to_owned());
        }
        self.text = self.text.checked_sub(text.len()).ok_or("the result is too large")?;
        Ok(Json::String(text.to_owned()))
    }
}

/// The canonical form of a quantity. The library shows the mantissa and the scale (`mantissa * 10^scale`) only in its
/// debug text. A test ensures that this text keeps its format.
fn quantity(debug: &str) -> Option<String> {
    let number = |name: &str| {
        let (_, rest) = debug.split_once(name)?;
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<i128>().ok()
    };
    let (mut mantissa, mut scale) = (number("mantissa: ")?, number("scale: ")?);
    // There are suffixes only for multiples of three.
    while scale.rem_euclid(3) != 0 {
        (mantissa, scale) = (mantissa.checked_mul(10)?, scale - 1);
    }
    let suffix = match scale {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        0 => "",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => return None,
    };
    Some(format!("{mantissa}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube_cel::KubeCelExt as _;
    use kube_cel::cel::{Context, Program};

    fn evaluate(expression: &str) -> Result<Json, String> {
        let program = Program::compile(expression).expect("compiles");
        to_json(&program.execute(&Context::default().with_all()).expect("evaluates"))
    }

    #[test]
    fn json_is_the_same_after_a_round_trip() {
        let json = serde_json::json!({"a.b/c": [1, -1, 1.5, true, null, "x"], "b": {"c": {}}, "u": u64::MAX});
        assert_eq!(to_json(&to_cel(&json)).expect("JSON"), json);
    }

    #[test]
    fn quantities_have_their_canonical_form() {
        for (written, canonical) in [
            ("1Gi", "1073741824"),
            ("100m", "100m"),
            ("0.5", "500m"),
            ("2000M", "2G"),
            ("10k", "10k"),
            ("1500", "1500"),
            ("0", "0"),
            ("1.5Gi", "1610612736"),
            ("-2", "-2"),
        ] {
            assert_eq!(evaluate(&format!("quantity('{written}')")), Ok(canonical.into()), "{written}");
        }
    }

    #[test]
    fn values_without_a_json_form_are_errors() {
        assert_eq!(evaluate("duration('5m')").unwrap_err(), "the result is a duration, which has no JSON form");
        assert_eq!(evaluate("b'x'").unwrap_err(), "the result is a bytes, which has no JSON form");
        assert!(evaluate("1.0 / 0.0").unwrap_err().contains("finite"));
    }
}
