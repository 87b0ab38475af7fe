//! The functions that expressions can call: those of CEL and Kubernetes whose cost is bounded, and the injector's own.
//! Functions whose result can be longer than their arguments are limited here. The module does not know about
//! templates.

#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "the library only accepts functions with this signature"
)]

use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::extractors::{Arguments, This};
use kube_cel::cel::objects::Key;
use kube_cel::cel::{Context, ExecutionError, Value};

use crate::inject::expr::convert;
use crate::inject::expr::value::to_json;

/// Maximum length of the text that a function returns, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// The namespaces of functions, such as `math` in `math.abs`. They are not variables.
pub(super) const NAMESPACES: &[&str] = &["base64", "format", "ip", "jsonpatch", "math", "optional", "sets", "strings"];
/// Functions of CEL and its libraries that are not available, with what to write instead.
pub(super) const UNAVAILABLE: &[(&str, &str)] = &[
    ("all", "`all` takes one variable and a condition: LIST.all(item, CONDITION)"),
    ("bytes", "text is a string here; base64.decode(…) returns bytes"),
    ("cel.bind", "declare the value in `variables`, and write variables.NAME"),
    ("exists", "`exists` takes one variable and a condition: LIST.exists(item, CONDITION)"),
    ("exists_one", "`exists_one` takes one variable and a condition: LIST.exists_one(item, CONDITION)"),
    ("filter", "`filter` takes one variable and a condition: LIST.filter(item, CONDITION)"),
    ("format", "write the text with expressions in it: \"a-${…}\", or use +"),
    ("lists.range", "write the list: [0, 1, 2]"),
    ("map", "`map` takes one variable and a result: LIST.map(item, RESULT)"),
    ("sortBy", "write LIST.map(item, item.NAME).sort()"),
    ("timestamp", "times are not available, because a decision must not depend on the clock"),
    ("transformList", "write LIST.map(item, RESULT)"),
    ("transformMap", "maps cannot be built in a loop; write the map, or use a list"),
    ("transformMapEntry", "maps cannot be built in a loop; write the map, or use a list"),
    ("type", "the type of a value is known when the template is loaded; use has(…) or get(…) for optional fields"),
];
/// Functions with a regular expression. It must be a constant, because compiling an expression is costly.
pub(super) const REGEX: &[&str] = &["matches", "find", "findAll"];

/// Creates a context with all functions and without variables.
pub(super) fn context() -> Context<'static> {
    let mut context = Context::default().with_all();
    context.add_function("get", get);
    context.add_function("label", look_up);
    context.add_function("annotation", look_up);
    context.add_function("json", |value: Value| bounded("json", to_json(&value).map(|json| json.to_string())));
    context.add_function("shellQuote", |text: Arc<String>| {
        bounded("shellQuote", Ok(format!("'{}'", text.replace('\'', r"'\''"))))
    });
    context.add_function("replace", replace);
    context.add_function("join", join);
    convert::register(&mut context);
    context
}

/// The text as a CEL value, or the error of `function`. A text of more than [`MAX_TEXT`] bytes is an error.
fn bounded(function: &str, result: Result<String, String>) -> Result<Value, ExecutionError> {
    let text = result.map_err(|why| ExecutionError::function_error(function, why))?;
    if text.len() > MAX_TEXT {
        return Err(ExecutionError::function_error(function, "the text would be longer than 64 KiB"));
    }
    Ok(Value::String(Arc::new(text)))
}

/// `label(key, default)` and `annotation(key, default)`. The check inserts the pod's map as the first argument.
fn look_up(map: Value, key: Arc<String>, default: Value) -> Result<Value, ExecutionError> {
    Ok(match &map {
        Value::Map(map) => map.map.get(&Key::String(key)).cloned().unwrap_or(default),
        _ => default,
    })
}

/// `get(value, 'a.b.c', default)`: the member at a path of keys and list indexes, or `default` if it is missing or
/// null.
fn get(value: Value, path: Arc<String>, default: Value) -> Result<Value, ExecutionError> {
    let mut current = value;
    for step in path.split('.') {
        let next = match &current {
            Value::Map(map) => map.map.get(&Key::String(Arc::new(step.to_owned()))).cloned(),
            Value::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index).cloned()),
            _ => None,
        };
        match next {
            None | Some(Value::Null) => return Ok(default),
            Some(next) => current = next,
        }
    }
    Ok(current)
}

/// `text.replace(from, to)`, or `text.replace(from, to, limit)`. The size is checked before the text is built.
fn replace(This(text): This<Arc<String>>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let (from, to, limit) = match &args[..] {
        [Value::String(from), Value::String(to)] => (from, to, usize::MAX),
        [Value::String(from), Value::String(to), Value::Int(limit)] => {
            (from, to, usize::try_from(*limit).unwrap_or(usize::MAX))
        }
        _ => return bounded("replace", Err("it takes two strings, and a limit".to_owned())),
    };
    let found = text.matches(from.as_str()).count().min(limit);
    if text.len() + found.saturating_mul(to.len()) > 2 * MAX_TEXT {
        return bounded("replace", Err("the text would be longer than 64 KiB".to_owned()));
    }
    bounded("replace", Ok(text.replacen(from.as_str(), to, limit)))
}

/// `list.join()` or `list.join(separator)`.
fn join(This(list): This<Arc<Vec<Value>>>, Arguments(args): Arguments) -> Result<Value, ExecutionError> {
    let separator = match &args[..] {
        [] => "",
        [Value::String(separator)] => separator.as_str(),
        _ => return bounded("join", Err("the separator must be a string".to_owned())),
    };
    let mut text = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::String(item) = item else {
            return bounded("join", Err("every item of the list must be a string".to_owned()));
        };
        if index > 0 {
            text.push_str(separator);
        }
        text.push_str(item);
        if text.len() > MAX_TEXT {
            break;
        }
    }
    bounded("join", Ok(text))
}
