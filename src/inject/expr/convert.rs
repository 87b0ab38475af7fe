//! Functions of CEL that the library does not have or that it evaluates differently from the API server: conversions,
//! and the size of text. Sources: the CEL specification ("Standard Definitions") and github.com/google/cel-go/common/types.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the library only accepts functions with this signature"
)]

use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Key;
use kube_cel::cel::{Context, ExecutionError, Value};

use crate::inject::expr::messages::word;

/// Adds the functions to a context.
pub(super) fn register(context: &mut Context<'_>) {
    context.add_function("bool", bool);
    context.add_function("dyn", |value: Value| -> Result<Value, ExecutionError> { Ok(value) });
    context.add_function("size", size);
    context.add_function("string", string);
    context.add_function("contains", contains);
}

fn error(function: &str, message: impl Into<String>) -> ExecutionError {
    ExecutionError::function_error(function, message.into())
}

fn bool(This(value): This<Value>) -> Result<Value, ExecutionError> {
    let Value::String(text) = &value else {
        let message = format!("cannot convert {} to bool", word(&value));
        return if matches!(value, Value::Bool(_)) { Ok(value) } else { Err(error("bool", message)) };
    };
    match text.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        _ => Err(error("bool", "the text is not true or false")),
    }
}

/// The number of characters, items or keys. The library counts the bytes of a text.
fn size(This(value): This<Value>) -> Result<i64, ExecutionError> {
    let size = match &value {
        Value::List(items) => items.len(),
        Value::Map(map) => map.map.len(),
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        other => return Err(error("size", format!("{} has no size", word(other)))),
    };
    i64::try_from(size).map_err(|_| error("size", "the size is too large"))
}

/// `text.contains(part)`. A list contains items and a map keys. The library returns false for other values.
fn contains(This(value): This<Value>, part: Value) -> Result<Value, ExecutionError> {
    let found = match (&value, &part) {
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        (Value::List(items), part) => items.contains(part),
        (Value::Map(map), Value::String(key)) => map.map.contains_key(&Key::String(Arc::clone(key))),
        (value, part) => return Err(error("contains", format!("{} cannot contain {}", word(value), word(part)))),
    };
    Ok(Value::Bool(found))
}

fn string(This(value): This<Value>) -> Result<Value, ExecutionError> {
    let text = match &value {
        Value::String(_) => return Ok(value),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => double(*number),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Err(error("string", "the bytes are not valid UTF-8")),
        },
        Value::Duration(duration) => duration_text(duration.num_nanoseconds()),
        Value::Opaque(opaque) if matches!(opaque.runtime_type_name(), "net.IP" | "net.CIDR") => {
            return address(&format!("{value:?}"));
        }
        other => return Err(error("string", format!("cannot convert {} to string", word(other)))),
    };
    Ok(Value::String(Arc::new(text)))
}

/// An address in the debug text of the library, which shows it nowhere else. A test ensures that this text keeps its
/// format.
fn address(debug: &str) -> Result<Value, ExecutionError> {
    let inside = debug.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
    let text = inside.ok_or_else(|| error("string", format!("the address cannot be written as text {debug}")))?;
    Ok(Value::String(Arc::new(text.to_owned())))
}

/// A duration in seconds, as cel-go writes it.
fn duration_text(nanoseconds: Option<i64>) -> String {
    let nanoseconds = nanoseconds.unwrap_or_default();
    let (whole, rest) = (nanoseconds / 1_000_000_000, (nanoseconds % 1_000_000_000).unsigned_abs());
    let sign = if nanoseconds < 0 && whole == 0 { "-" } else { "" };
    let rest = format!(".{rest:09}");
    format!("{sign}{whole}{}s", rest.trim_end_matches('0').trim_end_matches('.'))
}

/// A double as the verb `%g` of Go writes it: the shortest digits, with an exponent below -4 and from 6 digits on.
fn double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent @ (..-4 | 6..)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}
