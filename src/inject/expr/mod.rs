//! Expressions: CEL in `${…}` inside strings, and in `if` and `variables`. No other module uses the CEL library.
//! Expressions are parsed and checked when their template is loaded. For a request they are only evaluated, within
//! limits. The module does not know about templates or patches.

mod check;
mod convert;
mod functions;
mod infer;
mod interpolation;
mod maps;
mod messages;
pub(crate) mod paths;
mod samples;
mod scope;
mod signatures;
mod text;
pub(crate) mod types;
mod value;

use std::collections::BTreeSet;

use crate::inject::diagnostic::shown;
use kube_cel::cel::common::ast::{Expr, LiteralValue};
use kube_cel::cel::{IdedExpr, Program};

pub(crate) use interpolation::{Compiled, Interpolation, Part, compile};
pub(crate) use scope::{Roots, Scope};
use types::{ObjectFields, Type};

use serde_json::Value as Json;

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
    /// The declared parameters.
    pub(crate) parameters: &'n [DeclaredParameter<'n>],
    /// The variables that are declared before the expression.
    pub(crate) variables: &'n [(String, Expression)],
    /// True if `container` is available.
    pub(crate) container: bool,
    /// The types of the objects that expressions read.
    pub(crate) objects: Objects,
}

/// A parameter that a template declares.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredParameter<'n> {
    pub(crate) name: &'n str,
    /// The type of its values. A parameter that is not set is null.
    pub(crate) kind: Type,
    /// The value if a pod does not set it; null without a default.
    pub(crate) default: &'n Json,
}

/// The types of the objects that expressions read. The fields of an object without a type are not checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Objects {
    /// The pod, which is `object`.
    pub(crate) pod: Option<&'static dyn ObjectFields>,
    /// A container of the pod, which is `container`.
    pub(crate) container: Option<&'static dyn ObjectFields>,
    /// The pod's namespace, which is `namespaceObject`.
    pub(crate) namespace: Option<&'static dyn ObjectFields>,
}

/// The inputs that expressions read.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for one variable")]
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
    /// True if the request is read.
    pub(crate) request: bool,
    /// True if the version of the cluster is read.
    pub(crate) cluster: bool,
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
            "request" => self.request,
            "cluster" => self.cluster,
            "container" => self.container,
            _ => !self.object.is_empty(),
        }
    }

    /// Returns true if nothing is read, so that the result is always the same.
    pub(crate) fn is_empty(&self) -> bool {
        let roots = ["params", "values", "namespaceObject", "request", "cluster", "container", "object"];
        self.variables.is_empty() && roots.iter().all(|root| !self.reads(root))
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
        self.request |= other.request;
        self.cluster |= other.cluster;
        self.container |= other.container;
        self.loops.nested = self.loops.nested.max(other.loops.nested);
        self.loops.copying |= other.loops.copying;
        self.loops.wide |= other.loops.wide;
    }
}

/// An error in an expression. The message has no full stop; an empty `help` means no help text.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The type of its result.
    pub(crate) result: Type,
    /// Probable mistakes.
    pub(crate) warnings: Vec<ExpressionError>,
}

impl Expression {
    /// Parses and checks `source`, and infers its type.
    ///
    /// # Errors
    /// A syntax error, an unknown name, a limit that is exceeded, or a part that fails for every value of its types.
    /// The offset is in `source`.
    pub(crate) fn compile(source: &str, names: &Vocabulary<'_>) -> Result<Self, ExpressionError> {
        let (expression, is_uncertain) = Self::parse(source, names)?;
        Ok(if is_uncertain { expression.tried(names, false) } else { expression })
    }

    /// Returns an expression, and true if it can fail because a type is unknown.
    fn parse(source: &str, names: &Vocabulary<'_>) -> Result<(Self, bool), ExpressionError> {
        bounds(source)?;
        let parse = || {
            let program = Program::compile(source).map_err(|errors| syntax(source, &errors))?;
            let (tree, reads) = check::check(program.expression().clone(), names)?;
            let infer::Inferred { result, warnings, is_uncertain } = infer::infer(&tree, source, names)?;
            Ok((Self { source: source.trim().to_owned(), tree, reads, result, warnings }, is_uncertain))
        };
        // The parser needs several stack frames per operator, and a stack overflow cannot be caught.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(PARSER_STACK).spawn_scoped(scope, parse);
            thread.ok()?.join().ok()
        })
        .unwrap_or_else(|| Err(ExpressionError::new("the expression cannot be parsed", "")))
    }

    /// Parses and checks a condition.
    ///
    /// # Errors
    /// As [`Self::compile`], or if the result cannot be a boolean.
    pub(crate) fn condition(source: &str, names: &Vocabulary<'_>) -> Result<Self, ExpressionError> {
        let (condition, is_uncertain) = Self::parse(source, names)?;
        if condition.result.overlaps(&Type::Bool) {
            return Ok(if is_uncertain { condition.tried(names, true) } else { condition });
        }
        let message = format!("a condition must be true or false, not {}", condition.result);
        let help = if matches!(condition.result, Type::String) { "compare it: … == 'true'" } else { "" };
        Err(ExpressionError::new(message, help))
    }

    /// Adds a warning if it fails on all sample pods. An expression with another warning is not tried, because one
    /// mistake is reported once.
    fn tried(mut self, names: &Vocabulary<'_>, is_condition: bool) -> Self {
        if self.warnings.is_empty() {
            self.warnings.extend(samples::failure(&self, names, is_condition));
        }
        self
    }

    /// A placeholder for a variable that could not be compiled, so that its uses are not reported as further errors.
    pub(crate) fn broken() -> Self {
        let tree = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
        Self { source: String::new(), tree, reads: Reads::default(), result: Type::Dyn, warnings: Vec::new() }
    }

    /// Returns true for [`Self::broken`]. The source of any other expression has a character.
    fn is_broken(&self) -> bool {
        self.source.is_empty()
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
        let help = if source[offset..].starts_with('~') {
            "write TEXT.matches('REGULAR EXPRESSION')"
        } else {
            "for a literal ${ write $${"
        };
        return Err(ExpressionError { offset, ..ExpressionError::new(message, help) });
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
    let message = messages::of_parser(&message);
    let has_word = |word: &str| source.split(|c: char| !c.is_alphanumeric()).any(|other| other == word);
    let help = match () {
        () if message.starts_with("unsupported syntax") => {
            "optional fields are read with get(object, 'a.b', default) or has(…)"
        }
        () if ["and", "or", "not"].into_iter().any(has_word) => "write && for and, || for or, ! for not",
        () if source.contains('?') => "write CONDITION ? VALUE : OTHER",
        () => "",
    };
    ExpressionError {
        message: format!("invalid CEL expression: {}", shown(&message, 120)),
        help: help.to_owned(),
        offset: offset.min(source.len()),
    }
}

/// The message for an expression that failed because of `why`.
fn failed(expression: &Expression, why: &str) -> String {
    format!("the expression \"{}\" failed: {why}", shown(&expression.source, 120))
}

#[cfg(test)]
mod tests;
