//! Reads templates and manifests, and writes documents, with the YAML library. The module owns the library's options
//! and limits, and converts its errors to diagnostics. No other module uses the library. It does not know what the
//! documents mean.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::options::AliasLimits;
use serde_saphyr::{Location, Options, SerializerOptions, Spanned};

use crate::inject::diagnostic::{Diagnostic, Source, Span};
use crate::inject::document::{Key, Node, Value};

/// Maximum length of a document, in bytes. A ConfigMap cannot hold more (`MaxSecretSize`).
pub const MAX_TEXT: usize = 1024 * 1024;
/// Maximum number of nodes in one document.
const MAX_NODES: usize = 20_000;
/// Maximum nesting depth.
const MAX_DEPTH: usize = 32;
/// Maximum number of aliases in one document, and of expansions of each.
const MAX_ALIASES: usize = 100;

/// Reads one template document. Scalars are read as kubectl reads them (`0644` is 420), except that a plain `yes`,
/// `no`, `on`, `off`, `y` or `n` is an error, because YAML parsers disagree about its type.
///
/// # Errors
/// A diagnostic with the place, if the text is not valid YAML, contains several documents, repeats a key, or exceeds a
/// limit (1 MiB, 20,000 nodes, 32 levels, 100 aliases).
pub fn parse(source: &Source<'_>) -> Result<Node, Diagnostic> {
    if source.text.len() > MAX_TEXT {
        let message = format!("the document has {} bytes, the limit is {MAX_TEXT}", source.text.len());
        return Err(Diagnostic::of_document(source.origin, message));
    }
    let mut options = options();
    options.strict_booleans = true;
    let tree: Spanned<Tree> =
        serde_saphyr::from_str_with_options(source.text, options).map_err(|error| diagnostic(source, &error))?;
    node(source, tree)
}

/// Reads one document of a manifest as kubectl does: `yes` is true, `0644` is 420, `1e3` is 1000.
///
/// # Errors
/// A diagnostic with the place, if the text is not valid YAML or repeats a key.
pub fn parse_manifest(source: &Source<'_>) -> Result<serde_json::Value, Diagnostic> {
    // JSON is also YAML, but the JSON parser has fewer limits.
    if source.text.trim_start().starts_with('{')
        && let Ok(mut value) = serde_json::from_str(source.text)
    {
        whole_numbers(&mut value);
        return Ok(value);
    }
    // Manifests belong to the user and can be large. These limits only stop documents that expand without bound.
    let mut options = options();
    options.budget = serde_saphyr::budget! { max_nodes: 2_000_000, max_depth: 100, max_documents: 1 };
    options.alias_limits.max_total_replayed_events = 2_000_000;
    options.alias_limits.max_alias_expansions_per_anchor = 100_000;
    let mut value =
        serde_saphyr::from_str_with_options(source.text, options).map_err(|error| diagnostic(source, &error))?;
    whole_numbers(&mut value);
    Ok(value)
}

/// Converts numbers such as `30.0` and `1e3` to integers, as kubectl's conversion to JSON does. The API server rejects
/// a fraction where it expects an integer.
fn whole_numbers(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15);
            #[allow(clippy::cast_possible_truncation, reason = "the conversion is exact below 2^53")]
            if let Some(float) = whole {
                *number = Number::from(float as i64);
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        serde_json::Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// Writes a document in the style of kubectl: block style, keys in the given order, lines never folded. A string is
/// quoted if a YAML 1.1 or 1.2 parser could read it as another type. The text ends with a line break.
///
/// # Errors
/// The library's message, if the value has no YAML representation.
pub fn write(value: &serde_json::Value) -> Result<String, String> {
    let mut options = SerializerOptions::default();
    options.folded_wrap_chars = usize::MAX;
    options.prefer_block_scalars = !begins_with_tab(value);
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options).map_err(|error| error.to_string())?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Returns true if `value` contains a string of several lines whose first non-empty line begins with a tab. In a block
/// scalar, kubectl's parser reads such a tab as indentation.
fn begins_with_tab(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\n') && text.trim_start_matches('\n').starts_with('\t'),
        serde_json::Value::Array(items) => items.iter().any(begins_with_tab),
        serde_json::Value::Object(map) => map.values().any(begins_with_tab),
        _ => false,
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = MAX_NODES;
    aliases.max_replay_stack_depth = MAX_DEPTH;
    aliases.max_alias_expansions_per_anchor = MAX_ALIASES;
    options.alias_limits = aliases;
    options.budget = serde_saphyr::budget! {
        max_nodes: MAX_NODES,
        max_depth: MAX_DEPTH,
        max_aliases: MAX_ALIASES,
        max_documents: 1,
    };
    options
}

fn diagnostic(source: &Source<'_>, error: &serde_saphyr::Error) -> Diagnostic {
    let location = error.location();
    let text = error.to_string();
    let known = SAID_BETTER.iter().find(|(theirs, _)| text.contains(theirs)).map(|(_, ours)| *ours);
    // The library appends the place and the names of its options. The diagnostic has a more exact place.
    let message = text.split(" at line ").next().unwrap_or(&text);
    let message = known.unwrap_or_else(|| message.split(", set DuplicateKeyPolicy").next().unwrap_or(message));
    match location {
        Some(location) => source.error(span(&location), message),
        None => Diagnostic::of_document(source.origin, message),
    }
}

/// Parts of the library's messages, and the messages that replace them.
const SAID_BETTER: [(&str, &str); 8] = [
    ("multiple YAML documents", "more than one document; a template is one document"),
    ("budget breached: Documents", "more than one document; a template is one document"),
    ("budget breached: Depth", "the document is nested too deeply"),
    ("budget breached: Nodes", "the document has too many values"),
    ("budget breached", "the document exceeds a limit"),
    ("alias replay", "aliases make the document too large"),
    ("recursive references", "an alias refers to a node that contains it"),
    ("null into string", "a key cannot be null"),
];

fn span(location: &Location) -> Span {
    Span {
        line: usize::try_from(location.line()).unwrap_or(0),
        column: usize::try_from(location.column()).unwrap_or(0),
        length: usize::try_from(location.span().len()).unwrap_or(1),
    }
}

/// The plain scalars that YAML 1.1 reads as booleans and YAML 1.2 reads as strings.
const AMBIGUOUS: [&str; 6] = ["yes", "no", "on", "off", "y", "n"];

fn node(source: &Source<'_>, tree: Spanned<Tree>) -> Result<Node, Diagnostic> {
    let place = span(&tree.referenced);
    let written = written(source.text, &tree.defined);
    let value = match tree.value {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(value),
        Tree::Number(value) => Value::Number(value),
        Tree::String(value) => {
            let plain = written == Some(value.as_str());
            if plain && AMBIGUOUS.contains(&value.to_lowercase().as_str()) {
                let message = format!("some YAML parsers read {value} as a boolean, others as a string");
                let help = format!("write true or false, or \"{value}\" in quotes");
                return Err(source.error(place, message).help(help));
            }
            Value::String(value)
        }
        Tree::List(items) => Value::List(items.into_iter().map(|item| node(source, item)).collect::<Result<_, _>>()?),
        Tree::Map(entries) => {
            let mut map = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key_span = span(&key.referenced);
                map.push((Key { name: key.value, span: key_span }, node(source, value)?));
            }
            Value::Map(map)
        }
    };
    let written = match value {
        Value::List(_) | Value::Map(_) => None,
        _ => written.map(str::to_owned),
    };
    Ok(Node { value, span: place, written })
}

/// The part of `text` at `location`.
fn written<'t>(text: &'t str, location: &Location) -> Option<&'t str> {
    let span = location.span();
    let from = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(from..from.checked_add(length)?)
}

/// The document as the library returns it, each value with its place.
enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree, E> {
        Number::from_f64(value).map(Tree::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key()? {
            entries.push((key, access.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}
