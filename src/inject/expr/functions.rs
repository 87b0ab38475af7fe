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
use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Key;
use kube_cel::cel::{Context, ExecutionError, Value};

use crate::inject::expr::value::to_json;

/// Maximum length of the text that a function returns, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// Functions and methods that can be called. The list does not contain `lists.range` and `format`, whose results can be
/// much larger than their arguments, or `timestamp`, its parts and `bytes`, which have no use in a pod.
pub(super) const ALLOWED: &[&str] = &[
    "annotation",
    "get",
    "json",
    "label",
    "shellQuote",
    "contains",
    "double",
    "endsWith",
    "int",
    "matches",
    "max",
    "min",
    "size",
    "startsWith",
    "string",
    "uint",
    "charAt",
    "indexOf",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "replace",
    "split",
    "strings.quote",
    "substring",
    "trim",
    "upperAscii",
    "reverse",
    "find",
    "findAll",
    "distinct",
    "first",
    "flatten",
    "isSorted",
    "last",
    "slice",
    "sort",
    "sum",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "math.abs",
    "math.bitAnd",
    "math.bitNot",
    "math.bitOr",
    "math.bitShiftLeft",
    "math.bitShiftRight",
    "math.bitXor",
    "math.ceil",
    "math.floor",
    "math.greatest",
    "math.isFinite",
    "math.isInf",
    "math.isNaN",
    "math.least",
    "math.round",
    "math.sign",
    "math.sqrt",
    "math.trunc",
    "add",
    "asApproximateFloat",
    "asInteger",
    "compareTo",
    "isGreaterThan",
    "isInteger",
    "isLessThan",
    "isQuantity",
    "quantity",
    "sign",
    "sub",
    "duration",
    "cidr",
    "containsCIDR",
    "containsIP",
    "family",
    "ip",
    "ip.isCanonical",
    "isCIDR",
    "isIP",
    "isLoopback",
    "masked",
    "prefixLength",
    "getEscapedPath",
    "getHost",
    "getHostname",
    "getPort",
    "getQuery",
    "getScheme",
    "isURL",
    "url",
    "isSemver",
    "major",
    "minor",
    "patch",
    "semver",
    "base64.decode",
    "base64.encode",
    "format.dns1035Label",
    "format.dns1123Label",
    "format.dns1123Subdomain",
    "format.labelValue",
    "format.named",
    "format.qualifiedName",
    "format.uri",
    "format.uuid",
    "validate",
    "jsonpatch.escapeKey",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "hasValue",
    "or",
    "orValue",
    "value",
];
/// The namespaces of functions, such as `math` in `math.abs`. They are not variables.
pub(super) const NAMESPACES: &[&str] = &["base64", "format", "ip", "jsonpatch", "math", "optional", "sets", "strings"];
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

/// `text.replace(from, to)`. The size is checked before the text is built.
fn replace(This(text): This<Arc<String>>, from: Arc<String>, to: Arc<String>) -> Result<Value, ExecutionError> {
    let found = text.matches(from.as_str()).count();
    if text.len() + found.saturating_mul(to.len()) > 2 * MAX_TEXT {
        return bounded("replace", Err("the text would be longer than 64 KiB".to_owned()));
    }
    bounded("replace", Ok(text.replace(from.as_str(), &to)))
}

/// `list.join(separator)`.
fn join(This(list): This<Arc<Vec<Value>>>, separator: Arc<String>) -> Result<Value, ExecutionError> {
    let mut text = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::String(item) = item else {
            return bounded("join", Err("every item of the list must be a string".to_owned()));
        };
        if index > 0 {
            text.push_str(&separator);
        }
        text.push_str(item);
        if text.len() > MAX_TEXT {
            break;
        }
    }
    bounded("join", Ok(text))
}
