//! Strings with expressions `${…}` in them. The module compiles and evaluates such strings. It does not know the fields
//! that they are written in.

use serde_json::Value as Json;

use crate::inject::expr::types::Type;
use crate::inject::expr::{Expression, ExpressionError, Roots, Scope, Vocabulary, failed, text};

/// A string that contains expressions.
#[derive(Debug)]
pub struct Interpolation {
    parts: Vec<Part>,
    /// The result, if the expressions read nothing.
    constant: Option<Json>,
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
    let (mut parts, mut offsets) = (Vec::with_capacity(pieces.len()), Vec::new());
    for piece in pieces {
        parts.push(match piece {
            text::Piece::Literal(text) => Part::Literal(text),
            text::Piece::Expression(source, offset) => {
                let at = |error: ExpressionError| ExpressionError { offset: offset + error.offset, ..error };
                let mut expression = Expression::compile(source, names).map_err(at)?;
                expression.warnings.iter_mut().for_each(|warning| warning.offset += offset);
                offsets.push(offset);
                Part::Expression(Box::new(expression))
            }
        });
    }
    if let [Part::Literal(text)] = &parts[..] {
        return Ok(Compiled::Plain(text.clone()));
    }
    let first = offsets.first().copied().unwrap_or_default();
    let mut text = Interpolation { parts, constant: None };
    for (expression, offset) in text.expressions().zip(offsets) {
        if let Some((message, help)) = unwritable(&expression.result, text.is_whole()) {
            return Err(ExpressionError { offset, ..ExpressionError::new(message, help) });
        }
    }
    if text.expressions().all(|expression| expression.reads.is_empty()) {
        let roots = Roots::default();
        let constant = text.evaluate(&Scope::new(&roots, &[])).map_err(|why| ExpressionError {
            offset: first,
            ..ExpressionError::new(why, "it reads nothing, so it always fails")
        })?;
        text.constant = Some(constant);
    }
    Ok(Compiled::Interpolated(text))
}

/// Why a result of the type `result` cannot be written, with what to write instead. If `is_whole` is false, there is
/// text around the expression.
fn unwritable(result: &Type, is_whole: bool) -> Option<(String, &'static str)> {
    let Some(json) = result.as_json() else {
        let help = match result {
            Type::Optional(_) => "write OPTIONAL.value() or OPTIONAL.orValue(default)",
            Type::Library("semver" | "url" | "format") => "write a method that returns a string or a number",
            _ => "write string(…)",
        };
        return Some((format!("the result is {result}, which has no JSON form"), help));
    };
    match json {
        Type::Null if !is_whole => {
            Some(("the result is null, but the text around it needs a value".to_owned(), "write a value"))
        }
        Type::List(_) | Type::Map(_) | Type::Object(_) if !is_whole => Some((
            format!("the result is {result}, but the text around it needs a string"),
            "write json(…) or .join(…)",
        )),
        _ => None,
    }
}

impl Interpolation {
    /// A placeholder for a string that could not be compiled. It has no parts, so that it causes no further errors.
    pub(crate) fn broken() -> Self {
        Self { parts: Vec::new(), constant: None }
    }

    /// The parts, in order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The result, if the expressions read nothing, so that it is the same for each pod.
    pub(crate) fn constant(&self) -> Option<&Json> {
        self.constant.as_ref()
    }

    /// The expressions, in order.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression.as_ref()),
            Part::Literal(_) => None,
        })
    }

    /// The type of the JSON of its result. `None` if an expression has text around it, which makes it a string.
    pub(crate) fn result(&self) -> Option<Type> {
        match &self.parts[..] {
            [Part::Expression(expression)] => expression.result.as_json(),
            _ => None,
        }
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
