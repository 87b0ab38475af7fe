//! The messages for errors of the CEL library, in the words of CEL. The library's own messages contain types and values
//! of Rust, such as `Arc<String>` and `Int(8080)`. The module knows no expressions.

use kube_cel::cel::{ExecutionError, Value};

use crate::inject::diagnostic::shown;

/// The names of the library for types and values, and those of CEL. A longer name stands before its beginning.
const NAMES: [(&str, &str); 24] = [
    ("Arc<String>", "string"),
    ("Arc<Vec<Value>>", "list"),
    ("Arc<Vec<u8>>", "bytes"),
    ("Duration", "duration"),
    ("TimeDelta", "duration"),
    ("Timestamp", "timestamp"),
    ("Function", "function"),
    ("Opaque", "object"),
    ("String", "string"),
    ("Bytes", "bytes"),
    ("Float", "double"),
    ("Value", "value"),
    ("UInt", "uint"),
    ("Bool", "bool"),
    ("List", "list"),
    ("Null", "null"),
    ("Map", "map"),
    ("Int", "int"),
    ("bool", "bool"),
    ("i64", "int"),
    ("u64", "uint"),
    ("f64", "double"),
    ("float", "double"),
    ("i32", "int"),
];

/// The beginning of the message about a missing member.
pub(super) const MISSING: &str = "there is no \"";

/// The type of a value.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::List(_) => "list".to_owned(),
        Value::Map(_) => "map".to_owned(),
        Value::Function(..) => "function".to_owned(),
        Value::Int(_) => "int".to_owned(),
        Value::UInt(_) => "uint".to_owned(),
        Value::Float(_) => "double".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Bytes(_) => "bytes".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Duration(_) => "duration".to_owned(),
        Value::Timestamp(_) => "timestamp".to_owned(),
        Value::Null => "null".to_owned(),
        // `kubernetes.Quantity`, `net.IP`
        Value::Opaque(opaque) => {
            let name = opaque.runtime_type_name();
            name.rsplit('.').next().unwrap_or(name).to_lowercase()
        }
    }
}

/// An error of the parser in words that a user knows.
pub(super) fn of_parser(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if message.starts_with("Incomplete ") {
        return "the expression is not complete".to_owned();
    }
    let unexpected = ["mismatched input ", "extraneous input "].iter().find_map(|start| message.strip_prefix(start));
    match unexpected.and_then(|rest| rest.split(" expecting ").next()) {
        Some("'<EOF>'" | "<EOF>") => "unexpected end".to_owned(),
        Some(input) => format!("unexpected {input}"),
        None => message.to_owned(),
    }
}

/// The message for an error of the library, without a full stop.
pub(super) fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!(
            "{MISSING}{}\"; if it can be missing, use label(key, default), annotation(key, default) or get(object, path, default)",
            shown(key, 60)
        ),
        ExecutionError::NoSuchOverload => "its operands have incompatible types".to_owned(),
        ExecutionError::UnsupportedBinaryOperator(operator, one, other) => {
            format!("`{}` does not work with {} and {}", symbol(operator), word(one), word(other))
        }
        ExecutionError::UnsupportedUnaryOperator(operator, value) => {
            format!("`{}` does not work with {}", symbol(operator), word(value))
        }
        ExecutionError::ValuesNotComparable(one, other) => {
            format!("{} and {} cannot be compared", word(one), word(other))
        }
        ExecutionError::UnexpectedType { got, want } => format!("{} is needed, not {}", plain(want), plain(got)),
        ExecutionError::UnsupportedTargetType { target } => format!("it is not available for {}", word(target)),
        ExecutionError::NotSupportedAsMethod { method, target } => {
            format!("`{}` is not available for {}", shown(method, 60), word(target))
        }
        ExecutionError::UnsupportedKeyType(value) | ExecutionError::UnsupportedMapIndex(value) => {
            format!("{} cannot be the key of a map", word(value))
        }
        ExecutionError::UnsupportedListIndex(value) => format!("the index of a list must be int, not {}", word(value)),
        ExecutionError::UnsupportedIndex(_, value) => format!("{} has no items", word(value)),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("a function takes {expected} arguments, not {actual}")
        }
        ExecutionError::MissingArgumentOrTarget => "an argument of a function is missing, or has no value".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("`{}` is not available", shown(name, 60)),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => format!("the result of `{}` is too large", symbol(operator)),
        ExecutionError::IndexOutOfBounds(index) => match index {
            Value::Int(index) => format!("the list has no item {index}"),
            _ => "the list has no such item".to_owned(),
        },
        ExecutionError::FunctionError { function, message } => {
            format!("{}: {}", shown(function, 60), shown(&plain(message), 120))
        }
        other => shown(&plain(&other.to_string()), 160),
    }
}

/// The operator as it is written.
fn symbol(name: &str) -> &str {
    match name {
        "add" => "+",
        "sub" | "minus" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        "not" => "!",
        other => other,
    }
}

/// `text` with the names of CEL instead of those of Rust, and without the values that the library shows after them.
fn plain(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let is_whole = |after: &str| !plain.ends_with(is_word) && !after.starts_with(is_word);
        let known = NAMES.iter().find(|(name, _)| rest.strip_prefix(name).is_some_and(is_whole));
        if let Some((name, word)) = known {
            plain.push_str(word);
            rest = without_value(&rest[name.len()..]);
        } else {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    plain
}

/// `text` without the value in brackets at its beginning.
fn without_value(text: &str) -> &str {
    if !text.starts_with('(') {
        return text;
    }
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[at + 1..],
            ')' => depth -= 1,
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_words_of_cel() {
        for (rust, cel) in [
            ("Int(8080)", "int"),
            ("cannot convert Bool(true) to string", "cannot convert bool to string"),
            ("indexOf not supported on type Int", "indexOf not supported on type int"),
            ("got 'List([Int(1)])'", "got 'list'"),
            ("Mapping of Intro", "Mapping of Intro"),
            ("expected Arc<String>, é", "expected string, é"),
        ] {
            assert_eq!(plain(rust), cel);
        }
    }
}
