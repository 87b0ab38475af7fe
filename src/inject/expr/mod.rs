//! Expressions: CEL in `${…}` inside strings, and in `if` and `variables`. No other module uses the CEL library.
//! Expressions are parsed and checked when their template is loaded. For a request they are only evaluated, within
//! limits. The module does not know about templates or patches.

mod check;
mod functions;
mod maps;
pub(crate) mod paths;
mod scope;
mod text;
mod value;

use std::collections::BTreeSet;

use kube_cel::cel::common::ast::Expr;
use kube_cel::cel::{IdedExpr, Program};
use serde_json::Value as Json;

use crate::inject::diagnostic::shown;

pub(crate) use scope::{Roots, Scope};

/// Maximum length of an expression, in bytes.
const MAX_SOURCE: usize = 2 * 1024;
/// Maximum nesting depth of brackets, each of which is a recursion of the parser.
const MAX_NESTING: usize = 32;
/// Maximum number of the operators `?:`, `!` and `-`, each of which is a recursion of the parser.
const MAX_PREFIXES: usize = 64;
/// Stack size for parsing, in bytes: twice what the worst expressions within the limits need in an unoptimized build.
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// The names that expressions can use, besides the pod.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vocabulary<'n> {
    /// The names of the declared parameters, each with true if it is a map.
    pub(crate) parameters: &'n [(&'n str, bool)],
    /// The names of the variables that are declared before the expression.
    pub(crate) variables: &'n [String],
    /// True if `container` is available.
    pub(crate) container: bool,
}

/// The inputs that expressions read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    /// Paths in the pod; an empty path is the whole pod.
    pub(crate) object: BTreeSet<Vec<String>>,
    /// Names of parameters.
    pub(crate) parameters: BTreeSet<String>,
    /// Names of variables.
    pub(crate) variables: BTreeSet<String>,
    /// Keys of the shared values.
    pub(crate) values: BTreeSet<String>,
    /// True if all shared values are read.
    pub(crate) all_values: bool,
    /// True if the namespace of the pod is read.
    pub(crate) namespace: bool,
    /// True if `container` is read.
    pub(crate) container: bool,
    /// Paths, from `object` or `container` on, without which the expression fails.
    direct: BTreeSet<Vec<String>>,
    /// Paths, from `object` or `container` on, whose existence the expression tests.
    guards: BTreeSet<Vec<String>>,
    loops: Loops,
}

/// The loops of an expression.
#[derive(Clone, Copy, Debug, Default)]
struct Loops {
    /// The nesting depth.
    nested: u32,
    /// True if a loop builds a list or a map.
    copying: bool,
    /// True if a loop reads more than its item, so that each step can cost as much as everything that is read.
    wide: bool,
}

impl Reads {
    /// Returns true if the variable `root` is read.
    fn reads(&self, root: &str) -> bool {
        match root {
            "params" => !self.parameters.is_empty(),
            "values" => self.all_values || !self.values.is_empty(),
            "namespaceObject" => self.namespace,
            "request" => true,
            "container" => self.container,
            _ => !self.object.is_empty(),
        }
    }

    /// The paths, from `object` or `container` on, that are read without a test that they exist. `[]` is an index.
    pub(crate) fn unguarded(&self) -> impl Iterator<Item = &[String]> {
        self.direct.difference(&self.guards).map(Vec::as_slice)
    }

    /// Returns true if metadata of the pod other than its namespace is read, such as labels.
    pub(crate) fn reads_metadata(&self) -> bool {
        self.object
            .iter()
            .any(|path| path.is_empty() || path[0] == "metadata" && path.get(1).is_none_or(|f| f != "namespace"))
    }

    /// Adds the paths that `condition` tests. The expressions are only evaluated if `condition` is true.
    pub(crate) fn guard_with(&mut self, condition: &Self) {
        self.guards.extend(condition.guards.iter().cloned());
    }

    /// Adds the inputs that other expressions read, except for the paths of [`Self::unguarded`].
    pub(crate) fn merge(&mut self, other: &Self) {
        self.object.extend(other.object.iter().cloned());
        self.parameters.extend(other.parameters.iter().cloned());
        self.variables.extend(other.variables.iter().cloned());
        self.values.extend(other.values.iter().cloned());
        self.all_values |= other.all_values;
        self.namespace |= other.namespace;
        self.container |= other.container;
        self.loops.nested = self.loops.nested.max(other.loops.nested);
        self.loops.copying |= other.loops.copying;
        self.loops.wide |= other.loops.wide;
    }
}

/// An error in an expression. The message has no full stop; an empty `help` means no help text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpressionError {
    pub(crate) message: String,
    pub(crate) help: String,
    /// The place in the string, as an offset in bytes.
    pub(crate) offset: usize,
}

impl ExpressionError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), offset: 0 }
    }
}

/// A parsed and checked expression.
#[derive(Debug)]
pub(crate) struct Expression {
    source: String,
    tree: IdedExpr,
    pub(crate) reads: Reads,
}

impl Expression {
    /// Parses and checks `source`.
    ///
    /// # Errors
    /// A syntax error, an unknown name, or a limit that is exceeded. The offset is in `source`.
    pub(crate) fn compile(source: &str, names: &Vocabulary<'_>) -> Result<Self, ExpressionError> {
        bounds(source)?;
        let parse = || {
            let program = Program::compile(source).map_err(|errors| syntax(source, &errors))?;
            let (tree, reads) = check::check(program.expression().clone(), names)?;
            Ok(Self { source: source.trim().to_owned(), tree, reads })
        };
        // The parser needs several stack frames per operator, and a stack overflow cannot be caught.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(PARSER_STACK).spawn_scoped(scope, parse);
            thread.ok()?.join().ok()
        })
        .unwrap_or_else(|| Err(ExpressionError::new("the expression cannot be parsed", "")))
    }

    /// The expression as written, without surrounding whitespace.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Returns true if the expression is a call of the global function `function`.
    pub(crate) fn is_call_of(&self, function: &str) -> bool {
        matches!(&self.tree.expr, Expr::Call(call) if call.func_name == function && call.target.is_none())
    }
}

/// Checks the limits of the parser, which recurses once per bracket and prefix.
fn bounds(source: &str) -> Result<(), ExpressionError> {
    if source.trim().is_empty() {
        return Err(ExpressionError::new("the expression is empty", "for a literal ${ write $${"));
    }
    if source.len() > MAX_SOURCE {
        let message = format!("the expression has {} bytes, the limit is {MAX_SOURCE}", source.len());
        return Err(ExpressionError::new(message, "move parts of it into `variables`"));
    }
    if let Some(offset) = text::foreign(source) {
        let message = match source[offset..].chars().next() {
            Some('\'' | '"') => "invalid CEL expression: the string is not closed".to_owned(),
            other => {
                format!("invalid CEL expression: unexpected {}", other.map_or("end".to_owned(), |c| format!("{c:?}")))
            }
        };
        return Err(ExpressionError { offset, ..ExpressionError::new(message, "for a literal ${ write $${") });
    }
    let (mut depth, mut deepest, mut prefixes) = (0usize, 0, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' | b'!' | b'-' => prefixes += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > MAX_NESTING || prefixes > MAX_PREFIXES {
        return Err(ExpressionError::new("the expression is nested too deeply", "move parts of it into `variables`"));
    }
    Ok(())
}

/// Converts the parser's first error.
fn syntax(source: &str, errors: &kube_cel::cel::ParseErrors) -> ExpressionError {
    let first = errors.errors.first();
    let offset = first.map_or(0, |error| {
        let line = usize::try_from(error.pos.0).unwrap_or(1).max(1);
        let before: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
        before + usize::try_from(error.pos.1).unwrap_or(1).saturating_sub(1)
    });
    let message = first.map_or_else(|| "syntax error".to_owned(), |error| error.msg.clone());
    let message = message.strip_prefix("Syntax error: ").unwrap_or(&message);
    ExpressionError {
        message: format!("invalid CEL expression: {}", shown(message, 120)),
        help: String::new(),
        offset: offset.min(source.len()),
    }
}

/// A string that contains expressions.
#[derive(Debug)]
pub struct Interpolation {
    parts: Vec<Part>,
}

/// A part of an interpolation.
#[derive(Debug)]
pub(crate) enum Part {
    /// Text, with `$${` replaced by `${`.
    Literal(String),
    /// A `${…}`.
    Expression(Box<Expression>),
}

/// A compiled string of a template.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// Text without expressions, with `$${` replaced by `${`.
    Plain(String),
    /// Text with expressions.
    Interpolated(Interpolation),
}

/// Compiles a string of a template.
///
/// # Errors
/// The first error in one of its expressions. The offset is in `text`.
pub(crate) fn compile(text: &str, names: &Vocabulary<'_>) -> Result<Compiled, ExpressionError> {
    if !text::has_marks(text) {
        return Ok(Compiled::Plain(text.to_owned()));
    }
    let pieces = text::pieces(text).map_err(|offset| ExpressionError {
        offset,
        ..ExpressionError::new("\"${\" is not closed", "close it with }, or write $${ for a literal ${")
    })?;
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        parts.push(match piece {
            text::Piece::Literal(text) => Part::Literal(text),
            text::Piece::Expression(source, offset) => {
                let compiled = Expression::compile(source, names);
                let at = |error: ExpressionError| ExpressionError { offset: offset + error.offset, ..error };
                Part::Expression(Box::new(compiled.map_err(at)?))
            }
        });
    }
    if let [Part::Literal(text)] = &parts[..] {
        return Ok(Compiled::Plain(text.clone()));
    }
    Ok(Compiled::Interpolated(Interpolation { parts }))
}

impl Interpolation {
    /// A placeholder for a string that could not be compiled. It has no parts, so that it causes no further errors.
    pub(crate) fn broken() -> Self {
        Self { parts: Vec::new() }
    }

    /// The parts, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The expressions, in order.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression.as_ref()),
            Part::Literal(_) => None,
        })
    }

    /// The text as written, without whitespace around the expressions.
    pub(crate) fn source(&self) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.replace("${", "$${"),
            Part::Expression(expression) => format!("${{{}}}", expression.source),
        };
        self.parts.iter().map(part).collect()
    }

    /// Returns true if it is a single expression without text, so that its value keeps its type.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.parts[..], [] | [Part::Expression(_)])
    }

    /// Evaluates the expressions. The result is of any type for a single expression without text, and otherwise a
    /// string. Null means that there is no value.
    ///
    /// # Errors
    /// The reason why an expression failed, as a sentence without a full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Json, String> {
        if let [Part::Expression(expression)] = &self.parts[..] {
            return scope.evaluate(expression);
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Expression(expression) => match scope.evaluate(expression)? {
                    Json::String(value) => text.push_str(&value),
                    Json::Null => return Err(failed(expression, "it is null, but the text around it needs a value")),
                    Json::Array(_) | Json::Object(_) => {
                        return Err(failed(expression, "it is a list or a map; inside text, use json(…) or .join(…)"));
                    }
                    scalar => text.push_str(&scalar.to_string()),
                },
            }
        }
        Ok(Json::String(text))
    }
}

/// The message for an expression that failed because of `why`.
fn failed(expression: &Expression, why: &str) -> String {
    format!("the expression \"{}\" failed: {why}", shown(&expression.source, 120))
}

#[cfg(test)]
mod tests;
