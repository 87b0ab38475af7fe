//! The functions and operators that expressions can use, with the types that they take and return. The table is
//! `signatures.txt`. The module chooses the signatures that match the types of arguments. It does not know syntax
//! trees or values.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use crate::inject::expr::types::Type;

/// The types of a function library.
const LIBRARY: [&str; 6] = ["quantity", "semver", "ip", "cidr", "url", "format"];
/// The operators with the signatures of `<`.
const COMPARISONS: [&str; 3] = ["_<=_", "_>_", "_>=_"];

/// The types that a function takes and returns.
#[derive(Debug)]
pub(super) struct Signature {
    /// The type on which a method is called; `None` for a function.
    pub(super) target: Option<Type>,
    pub(super) args: Vec<Type>,
    /// True if the last argument can occur any number of times.
    pub(super) repeats: bool,
    pub(super) result: Type,
    /// True if the API server does not have it.
    pub(super) is_local: bool,
    /// The signature as it is written in the table.
    pub(super) written: &'static str,
}

static TABLE: LazyLock<HashMap<&'static str, Vec<Signature>>> = LazyLock::new(|| {
    let mut table: HashMap<&str, Vec<Signature>> = HashMap::new();
    for line in include_str!("signatures.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, signature)) = Signature::parse(line) {
            table.entry(name).or_default().push(signature);
        }
    }
    table
});

/// The signatures of a function; empty for an unknown function.
pub(super) fn of(name: &str) -> &'static [Signature] {
    let name = if COMPARISONS.contains(&name) { "_<_" } else { name };
    TABLE.get(name).map(Vec::as_slice).unwrap_or_default()
}

/// The names of the functions and methods, without operators, sorted.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        TABLE.keys().copied().filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())).collect();
    names.sort_unstable();
    names
}

impl Signature {
    /// Reads a line of the table.
    fn parse(line: &'static str) -> Option<(&'static str, Self)> {
        let written = line.trim_start_matches("+ ");
        let (target, call) = match written.split_once(" .") {
            Some((target, call)) => (Some(parse(target)?), call),
            None => (None, written),
        };
        let (name, rest) = call.split_once('(')?;
        let (args, result) = arguments(rest)?;
        let (repeats, args) = (args.ends_with("..."), args.trim_end_matches("..."));
        let args = split(args).into_iter().map(parse).collect::<Option<Vec<_>>>()?;
        let result = parse(result)?;
        Some((name, Self { target, args, repeats, result, is_local: line.starts_with('+'), written }))
    }

    /// The type of the argument at `index`; `None` if there is no such argument.
    fn arg(&self, index: usize) -> Option<&Type> {
        self.args.get(index).or_else(|| self.args.last().filter(|_| self.repeats))
    }

    /// The result for these arguments, if values of their types can match, and false if a letter stands for two types
    /// that have no value in common. Then the API server rejects the call.
    pub(super) fn result_for(&self, target: Option<&Type>, args: &[Type]) -> Option<(Type, bool)> {
        let mut letters = Letters { types: BTreeMap::new(), agree: true };
        match (&self.target, target) {
            (None, None) => {}
            (Some(formal), Some(actual)) if letters.bind(formal, actual) => {}
            _ => return None,
        }
        if args.len() < self.args.len() || args.len() > self.args.len() && !self.repeats {
            return None;
        }
        for (index, actual) in args.iter().enumerate() {
            if !letters.bind(self.arg(index)?, actual) {
                return None;
            }
        }
        let result = match letters.replace(&self.result) {
            // An item of an empty list.
            Type::Null => Type::Dyn,
            known => known,
        };
        Some((result, letters.agree))
    }
}

/// The types that the letters of a signature stand for.
struct Letters {
    types: BTreeMap<char, Type>,
    /// False if a letter stands for two types that have no value in common.
    agree: bool,
}

impl Letters {
    /// Returns false if no value of the type `actual` can be an argument of the type `formal`.
    fn bind(&mut self, formal: &Type, actual: &Type) -> bool {
        match (formal, actual) {
            (Type::Any(letter), _) => {
                let known = self.types.entry(*letter).or_insert_with(|| actual.clone());
                self.agree &= known.overlaps(actual) || matches!(known, Type::Null) || matches!(actual, Type::Null);
                *known = known.or(actual);
                true
            }
            (Type::List(formal), Type::List(actual)) => self.bind_item(formal, actual),
            (Type::Optional(formal), Type::Optional(actual)) => self.bind(formal, actual),
            (Type::Map(formal), Type::Map(actual)) => {
                self.bind(&formal.0, &actual.0) && self.bind_item(&formal.1, &actual.1)
            }
            (Type::Map(formal), Type::Object(_)) => {
                self.bind(&formal.0, &Type::String) && self.bind(&formal.1, &Type::Dyn)
            }
            // An unknown value can be a list of anything.
            (Type::List(formal) | Type::Optional(formal), Type::Dyn) => self.bind(formal, actual),
            (Type::Map(formal), Type::Dyn) => self.bind(&formal.0, actual) && self.bind(&formal.1, actual),
            _ => formal.overlaps(actual),
        }
    }

    /// As [`Self::bind`], for the items of a list or the values of a map, which has none if their type is null.
    fn bind_item(&mut self, formal: &Type, actual: &Type) -> bool {
        matches!(actual, Type::Null) && !matches!(formal, Type::Any(_)) || self.bind(formal, actual)
    }

    /// `kind` with the types that its letters stand for.
    fn replace(&self, kind: &Type) -> Type {
        match kind {
            Type::Any(letter) => self.types.get(letter).cloned().unwrap_or(Type::Dyn),
            Type::List(item) => Type::list(self.replace(item)),
            Type::Optional(value) => Type::Optional(Arc::new(self.replace(value))),
            Type::Map(map) => Type::Map(Arc::new((self.replace(&map.0), self.replace(&map.1)))),
            other => other.clone(),
        }
    }
}

/// The arguments and the result of a signature, from the text after the opening bracket.
fn arguments(text: &'static str) -> Option<(&'static str, &'static str)> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], text[at + 1..].trim_start())),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The parts of a list of types, which are separated by commas outside brackets.
fn split(text: &'static str) -> Vec<&'static str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Reads a type of the table.
fn parse(text: &'static str) -> Option<Type> {
    if let Some((name, inside)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let inside = split(inside).into_iter().map(parse).collect::<Option<Vec<_>>>()?;
        return match (name, &inside[..]) {
            ("list", [item]) => Some(Type::list(item.clone())),
            ("optional", [value]) => Some(Type::Optional(Arc::new(value.clone()))),
            ("map", [key, value]) => Some(Type::Map(Arc::new((key.clone(), value.clone())))),
            _ => None,
        };
    }
    Some(match text {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "number" => Type::Number,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        letter if letter.len() == 1 => Type::Any(letter.chars().next()?),
        library => Type::Library(LIBRARY.into_iter().find(|name| *name == library)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_signature() {
        for line in include_str!("signatures.txt").lines().filter(|line| !line.starts_with('#')) {
            let (name, signature) = Signature::parse(line).expect(line);
            let args: Vec<String> = signature.args.iter().map(Type::to_string).collect();
            let target = signature.target.as_ref().map(|target| format!("{target} .")).unwrap_or_default();
            let dots = if signature.repeats { "..." } else { "" };
            assert_eq!(format!("{target}{name}({}{dots}) {}", args.join(", "), signature.result), signature.written);
        }
    }

    #[test]
    fn a_signature_matches_if_values_of_the_types_can() {
        let result = |name: &str, target: Option<Type>, args: &[Type]| -> Vec<String> {
            let results = of(name).iter().filter_map(|signature| signature.result_for(target.as_ref(), args));
            results.map(|(kind, agrees)| format!("{kind}{}", if agrees { "" } else { "!" })).collect()
        };
        let strings = || Some(Type::list(Type::String));
        assert_eq!(result("_+_", None, &[Type::String, Type::Bool]), [""; 0]);
        assert_eq!(result("_+_", None, &[Type::Number, Type::Int]), ["int"]);
        assert_eq!(result("_+_", None, &[Type::list(Type::Int), Type::list(Type::String)]), ["list(dyn)!"]);
        assert_eq!(result("join", strings(), &[Type::Dyn]), ["string"]);
        assert_eq!(result("join", Some(Type::list(Type::Int)), &[]), [""; 0]);
        assert_eq!(result("first", strings(), &[]), ["optional(string)"]);
        assert_eq!(result("_>=_", None, &[Type::Double, Type::Int]), ["bool"]);
        assert_eq!(result("_[_]", None, &[Type::map(Type::Int), Type::String]), ["int"]);
        assert_eq!(result("math.greatest", None, &[Type::Int, Type::Int, Type::Double]), ["number"]);
        assert_eq!(result("_?_:_", None, &[Type::Bool, Type::Null, Type::String]), ["string"]);
    }
}
