//! Expressions: CEL in `${…}` inside strings, and in `if` and `variables`. The only module that knows the CEL
//! library. Everything that can be wrong with an expression by itself is found when its template is loaded;
//! what is left for a request is to evaluate it, within bounds. It must not know templates or patches.

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

/// Longest expression, in bytes, and deepest nesting of its brackets: the parser descends that deep.
const MAX_SOURCE: usize = 2 * 1024;
const MAX_NESTING: usize = 32;
/// Most operators that the parser descends into: `?:`, `!` and `-`.
const MAX_PREFIXES: usize = 64;
/// Stack for parsing: twice of what the worst expressions within the bounds need in an unoptimised build.
const PARSER_STACK: usize = 64 * 1024 * 1024;

/// What expressions may name beside the pod.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vocabulary<'n> {
    /// Declared parameters, and whether they are maps.
    pub(crate) parameters: &'n [(&'n str, bool)],
    /// Variables that stand before the expression.
    pub(crate) variables: &'n [String],
    /// Whether `container` is there.
    pub(crate) container: bool,
}

/// What expressions read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    /// Paths in the pod; an empty one is all of it.
    pub(crate) object: BTreeSet<Vec<String>>,
    /// Parameters.
    pub(crate) parameters: BTreeSet<String>,
    /// Variables.
    pub(crate) variables: BTreeSet<String>,
    /// Keys of the shared values, unless all are read.
    pub(crate) values: BTreeSet<String>,
    pub(crate) all_values: bool,
    /// The namespace of the pod.
    pub(crate) namespace: bool,
    /// The container an `if` is about.
    pub(crate) container: bool,
    /// Paths, from `object` or `container`, that make the expression fail where they are missing, and those it asks about first.
    direct: BTreeSet<Vec<String>>,
    guards: BTreeSet<Vec<String>>,
    loops: Loops,
}

/// The loops of an expression.
#[derive(Clone, Copy, Debug, Default)]
struct Loops {
    /// How many stand inside each other.
    nested: u32,
    /// Whether one of them makes a list.
    copying: bool,
    /// Whether something stands inside that reads more than the item, so that each step costs all of it.
    wide: bool,
}

impl Reads {
    /// Whether a root is read.
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

    /// The paths that are read without asking whether they are there, below `object` or `container`. `[]` stands for an
    /// index.
    pub(crate) fn unguarded(&self) -> impl Iterator<Item = &[String]> {
        self.direct.difference(&self.guards).map(Vec::as_slice)
    }

    /// Whether labels or annotations of the pod are read.
    pub(crate) fn reads_metadata(&self) -> bool {
        self.object
            .iter()
            .any(|path| path.is_empty() || path[0] == "metadata" && path.get(1).is_none_or(|f| f != "namespace"))
    }

    /// Notes that it is only evaluated where another expression holds, with what that one asks about.
    pub(crate) fn guard_with(&mut self, condition: &Self) {
        self.guards.extend(condition.guards.iter().cloned());
    }

    /// Adds what another expression reads.
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

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ExpressionError {
    pub(crate) message: String,
    pub(crate) help: String,
    /// Where in the string, in bytes.
    pub(crate) offset: usize,
}

impl ExpressionError {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), offset: 0 }
    }
}

/// One expression, checked.
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
    /// What is wrong with it, and where.
    pub(crate) fn compile(source: &str, names: &Vocabulary<'_>) -> Result<Self, ExpressionError> {
        bounds(source)?;
        let parse = || {
            let program = Program::compile(source).map_err(|errors| syntax(source, &errors))?;
            let (tree, reads) = check::check(program.expression().clone(), names)?;
            Ok(Self { source: source.trim().to_owned(), tree, reads })
        };
        // The parser descends several frames per operator, and a stack that overflows cannot be caught.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(PARSER_STACK).spawn_scoped(scope, parse);
            thread.ok()?.join().ok()
        })
        .unwrap_or_else(|| Err(ExpressionError::new("the expression cannot be parsed", "")))
    }

    /// The expression as it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether its result is that of a function.
    pub(crate) fn is_call_of(&self, function: &str) -> bool {
        matches!(&self.tree.expr, Expr::Call(call) if call.func_name == function && call.target.is_none())
    }
}

/// What must hold before the parser may see it: it descends once per bracket and prefix, on the stack.
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
            Some('\'' | '"') => "this is no CEL: the string is not closed".to_owned(),
            other => format!("this is no CEL: unexpected {}", other.map_or("end".to_owned(), |c| format!("{c:?}"))),
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
        message: format!("this is no CEL: {}", shown(message, 120)),
        help: String::new(),
        offset: offset.min(source.len()),
    }
}

/// A string with expressions in it.
#[derive(Debug)]
pub struct Interpolation {
    parts: Vec<Part>,
}

/// A part of an interpolation.
#[derive(Debug)]
pub(crate) enum Part {
    /// Text, `$${` resolved.
    Literal(String),
    /// An expression.
    Expression(Box<Expression>),
}

/// What a string of a template is.
#[derive(Debug)]
pub(crate) enum Compiled {
    /// Text without expressions, `$${` resolved.
    Plain(String),
    /// With expressions.
    Interpolated(Interpolation),
}

/// Compiles a string of a template.
///
/// # Errors
/// What is wrong with an expression in it; the offset is that in `text`.
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
                let at = |fault: ExpressionError| ExpressionError { offset: offset + fault.offset, ..fault };
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
    /// An interpolation that could not be compiled. It has no parts, so that nothing more is reported about it.
    pub(crate) fn broken() -> Self {
        Self { parts: Vec::new() }
    }

    /// Its parts in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its expressions.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression.as_ref()),
            Part::Literal(_) => None,
        })
    }

    /// The text as it was written.
    pub(crate) fn source(&self) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.replace("${", "$${"),
            Part::Expression(expression) => format!("${{{}}}", expression.source),
        };
        self.parts.iter().map(part).collect()
    }

    /// Whether it is one expression and nothing else: then the value keeps its type.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.parts[..], [] | [Part::Expression(_)])
    }

    /// Its value: any for a whole expression, else a string. Null means that there is none.
    ///
    /// # Errors
    /// Why an expression failed, as a sentence without full stop.
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
                    Json::Null => return Err(failed(expression, "it is null, and text around it needs a value")),
                    Json::Array(_) | Json::Object(_) => {
                        return Err(failed(expression, "it is a list or a map; in text use json(…) or .join(…)"));
                    }
                    scalar => text.push_str(&scalar.to_string()),
                },
            }
        }
        Ok(Json::String(text))
    }
}

fn failed(expression: &Expression, why: &str) -> String {
    format!("the expression \"{}\" failed: {why}", shown(&expression.source, 120))
}

#[cfg(test)]
mod tests;
