//! Infers the static type of an expression from its syntax tree, when its template is loaded. A part of an expression
//! that fails for every value of its types is an error; a part that can be right is not. The module does not evaluate
//! anything, and it does not know which names and functions can be used; [`check`](super::check) does.

mod calls;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators};

use crate::inject::diagnostic::nearest;
use crate::inject::expr::check::{ANNOTATIONS, LABELS};
use crate::inject::expr::maps::is_total;
use crate::inject::expr::types::{ObjectFields, Type};
use crate::inject::expr::{ExpressionError, Vocabulary};

use words::{locate, written};

/// The type of an expression, and its probable mistakes.
pub(super) struct Inferred {
    pub(super) result: Type,
    pub(super) warnings: Vec<ExpressionError>,
    /// True if a part can fail because the type of its values is unknown.
    pub(super) is_uncertain: bool,
}

/// Infers the type of a checked `tree`. Errors and warnings have their place in `source`.
pub(super) fn infer(tree: &IdedExpr, source: &str, names: &Vocabulary<'_>) -> Result<Inferred, ExpressionError> {
    let mut inference = Inference {
        names,
        source,
        bound: Vec::new(),
        tested: BTreeSet::new(),
        warnings: Vec::new(),
        is_sorted: false,
        is_uncertain: false,
    };
    let result = inference.of(tree)?;
    let is_uncertain = inference.is_uncertain || matches!(result, Type::Dyn);
    Ok(Inferred { result, warnings: inference.warnings, is_uncertain })
}

struct Inference<'n> {
    names: &'n Vocabulary<'n>,
    source: &'n str,
    /// The variables of the enclosing loops, with their types.
    bound: Vec<(String, Type)>,
    /// The paths that `has` or `in` has tested, as they are written.
    tested: BTreeSet<String>,
    warnings: Vec<ExpressionError>,
    /// True while the target of `sort` is visited.
    is_sorted: bool,
    is_uncertain: bool,
}

type Outcome = Result<Type, ExpressionError>;

impl Inference<'_> {
    fn of(&mut self, node: &IdedExpr) -> Outcome {
        let is_sorted = std::mem::take(&mut self.is_sorted);
        match &node.expr {
            Expr::Literal(literal) => Ok(of_literal(literal)),
            Expr::Ident(name) => Ok(self.variable(name)),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) if call.func_name == operators::INDEX => self.index(node, call),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let mut item = Type::Null;
                for element in &list.elements {
                    let kind = self.of(element)?;
                    item = if matches!(item, Type::Null) { kind } else { item.or(&kind) };
                }
                Ok(Type::list(item))
            }
            Expr::Map(map) => {
                let (mut key, mut value) = (Type::Null, Type::Null);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        key = key.or(&self.of(&entry.key)?);
                        value = value.or(&self.of(&entry.value)?);
                    }
                }
                let key = if matches!(key, Type::Null) { Type::String } else { key };
                Ok(Type::Map(Arc::new((key, value))))
            }
            Expr::Comprehension(node) => self.comprehension(node, is_sorted),
            Expr::Struct(_) | Expr::Unspecified => Ok(Type::Dyn),
        }
    }

    /// The type of a variable. The check has rejected unknown ones.
    fn variable(&self, name: &str) -> Type {
        if let Some((_, kind)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return kind.clone();
        }
        let object = |fields: Option<&'static dyn ObjectFields>| fields.map_or(Type::Dyn, Type::Object);
        match name {
            "object" => object(self.names.objects.pod),
            "container" => object(self.names.objects.container),
            "namespaceObject" => object(self.names.objects.namespace),
            "values" | LABELS | ANNOTATIONS => Type::map(Type::String),
            _ => Type::Dyn,
        }
    }

    /// The type of a member of `params`, `variables`, `cluster` or `request`; `None` for any other variable.
    fn root_member(&self, operand: &IdedExpr, field: &str) -> Option<Type> {
        let Expr::Ident(root) = &operand.expr else { return None };
        if self.bound.iter().any(|(bound, _)| bound == root) {
            return None;
        }
        match root.as_str() {
            "params" => {
                let parameters = self.names.parameters.iter();
                parameters.filter(|known| known.name == field).map(|known| known.kind.clone()).next()
            }
            "variables" => {
                let variables = self.names.variables.iter();
                variables.filter(|(name, _)| name == field).map(|(_, variable)| variable.result.clone()).next()
            }
            "cluster" => Some(Type::Int),
            "request" => Some(if field == "dryRun" { Type::Bool } else { Type::String }),
            _ => None,
        }
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Outcome {
        if let Some(kind) = self.root_member(&select.operand, &select.field) {
            return Ok(if select.test { Type::Bool } else { kind });
        }
        let operand = self.of(&select.operand)?;
        let member = self.member(&operand, &select.field, node, select.test)?;
        Ok(if select.test { Type::Bool } else { member })
    }

    fn index(&mut self, node: &IdedExpr, call: &CallExpr) -> Outcome {
        let [operand, key] = &call.args[..] else { return Ok(Type::Dyn) };
        if let Expr::Literal(LiteralValue::String(key)) = &key.expr {
            if let Some(kind) = self.root_member(operand, key.inner()) {
                return Ok(kind);
            }
            let kind = self.of(operand)?;
            if matches!(kind, Type::Object(_)) {
                return self.member(&kind, key.inner(), node, false);
            }
            return self.matching(call, None, &[kind, Type::String]);
        }
        let args = [self.of(operand)?, self.of(key)?];
        self.matching(call, None, &args)
    }

    /// The type of the member `field` of a value of the type `operand`. If `is_test` is set, `has` tests the member.
    fn member(&mut self, operand: &Type, field: &str, node: &IdedExpr, is_test: bool) -> Outcome {
        match operand {
            Type::Object(fields) => match fields.field(field) {
                Some(kind) => Ok(kind),
                None => self.unknown_field(*fields, field, node, is_test),
            },
            Type::Map(map) if !matches!(map.1, Type::Null) => Ok(map.1.clone()),
            Type::Map(_) | Type::Dyn | Type::Any(_) | Type::Null => Ok(Type::Dyn),
            other => {
                let help = match other {
                    Type::List(_) => "write LIST[0], or a loop such as LIST.exists(item, …)",
                    Type::Optional(_) => "write OPTIONAL.value() or OPTIONAL.orValue(default)",
                    _ => "",
                };
                Err(self.error(field, format!("`.{field}` is not available for {other}"), help))
            }
        }
    }

    /// A field that is not in the table of types: probably a typo if it is near a known one, otherwise possibly a field
    /// of a later version of Kubernetes.
    fn unknown_field(&mut self, fields: &dyn ObjectFields, field: &str, node: &IdedExpr, is_test: bool) -> Outcome {
        let path = written(node);
        let is_guarded = path.as_ref().is_some_and(|path| self.tested.contains(path));
        if is_test {
            self.tested.extend(path);
        }
        if is_guarded {
            return Ok(Type::Dyn);
        }
        let message = format!("unknown field \"{field}\" in {}", fields.name());
        match nearest(field, fields.names()) {
            Some(known) if is_test => self.warn(field, message, format!("did you mean \"{known}\"?")),
            Some(known) => return Err(self.error(field, message, format!("did you mean \"{known}\"?"))),
            None if is_test => {}
            None => self.warn(field, message, "if it can be missing, use get(object, path, default)"),
        }
        Ok(Type::Dyn)
    }

    fn comprehension(&mut self, node: &ComprehensionExpr, is_sorted: bool) -> Outcome {
        let range = self.of(&node.iter_range)?;
        let item = match &range {
            Type::List(item) => Type::clone(item),
            Type::Map(map) => map.0.clone(),
            Type::Object(_) => Type::String,
            Type::Dyn | Type::Any(_) | Type::Null => Type::Dyn,
            other => return Err(ExpressionError::new(format!("a loop needs a list or a map, not {other}"), "")),
        };
        ordered(node, &range, is_sorted)?;
        let item = if matches!(item, Type::Null) { Type::Dyn } else { item };
        let (bound, start) = (self.bound.len(), self.of(&node.accu_init)?);
        self.bound.push((node.iter_var.clone(), item));
        self.bound.extend(node.iter_var2.clone().map(|name| (name, Type::Dyn)));
        self.bound.push((node.accu_var.clone(), start.clone()));
        self.of(&node.loop_cond)?;
        let step = self.of(&node.loop_step)?;
        self.bound.push((node.accu_var.clone(), start.or(&step)));
        let result = self.of(&node.result)?;
        self.bound.truncate(bound);
        Ok(result)
    }

    /// An error at the only occurrence of `token` in the source, otherwise at its beginning.
    fn error(&self, token: &str, message: impl Into<String>, help: impl Into<String>) -> ExpressionError {
        ExpressionError { offset: locate(self.source, token), ..ExpressionError::new(message, help) }
    }

    fn warn(&mut self, token: &str, message: impl Into<String>, help: impl Into<String>) {
        let warning = self.error(token, message, help);
        self.warnings.push(warning);
    }
}

/// Checks that the result of a loop does not depend on the order of a map, which changes from run to run.
fn ordered(node: &ComprehensionExpr, range: &Type, is_sorted: bool) -> Result<(), ExpressionError> {
    if !range.may_be_map() {
        return Ok(());
    }
    let is_unknown = matches!(range, Type::Dyn | Type::Any(_));
    // The accumulator of `all`, `exists` and `exists_one` is a boolean or a number.
    let builds = matches!(node.accu_init.expr, Expr::List(_) | Expr::Map(_));
    if builds && !is_sorted {
        let help = if is_unknown {
            "the value can be a map; for a list write ([] + LIST).map(…), for a map MAP.map(k, k).sort().map(k, …)"
        } else {
            "maps have no order; write MAP.map(k, k).sort().map(k, …)"
        };
        return Err(ExpressionError::new("the result of a loop over a map must be sorted", help));
    }
    if !builds && !is_total(&node.loop_step) {
        let help = if is_unknown {
            "the value can be a map; for a list write ([] + LIST).exists(…)"
        } else {
            "compare the key with constants, or use a list"
        };
        let message = "a condition over a map can only compare its keys, because maps have no order";
        return Err(ExpressionError::new(message, help));
    }
    Ok(())
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
        LiteralValue::UInt(_) => Type::Uint,
    }
}

#[cfg(test)]
mod tests;
