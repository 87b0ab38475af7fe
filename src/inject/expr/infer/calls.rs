//! The types of calls: of functions, methods and operators. It finds the signatures that match, and explains why none
//! does. The module does not know what functions do.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use crate::inject::diagnostic::nearest;
use crate::inject::expr::ExpressionError;
use crate::inject::expr::functions::NAMESPACES;
use crate::inject::expr::infer::words::{operator, written};
use crate::inject::expr::infer::{Inference, Outcome};
use crate::inject::expr::signatures::{self, Signature};
use crate::inject::expr::types::Type;

impl Inference<'_> {
    pub(super) fn call(&mut self, call: &CallExpr) -> Outcome {
        let target = match &call.target {
            Some(target) if !self.is_namespace(target) => {
                self.is_sorted = call.func_name == "sort";
                Some(self.of(target)?)
            }
            _ => None,
        };
        if call.func_name == "get" && target.is_none() {
            return self.get(call);
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.of(arg)?);
        }
        match (call.func_name.as_str(), &args[..]) {
            ("label" | "annotation", [_, key, default]) if key.overlaps(&Type::String) => Ok(Type::String.or(default)),
            (operators::IN, [_, container]) => {
                if let Type::Object(fields) = container {
                    let message = format!("admission policies do not have `in` for {}", fields.name());
                    self.warn("in", message, "write has(…)");
                }
                self.note_test(call);
                self.matching(call, target.as_ref(), &args)
            }
            _ => self.matching(call, target.as_ref(), &args),
        }
    }

    /// The result of the signatures that match the arguments.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn matching(&mut self, call: &CallExpr, target: Option<&Type>, args: &[Type]) -> Outcome {
        let name = self.full_name(call);
        let signatures = signatures::of(&name);
        // A call that takes any value does not fail because of its type.
        let takes_all = signatures.iter().any(|signature| signature.args.iter().all(|arg| matches!(arg, Type::Any(_))));
        self.is_uncertain |= !takes_all && target.into_iter().chain(args).any(|kind| matches!(kind, Type::Dyn));
        let (mut result, mut agrees, mut is_local) = (None::<Type>, false, true);
        for signature in signatures {
            // The table has those of the API server first.
            if signature.is_local && result.is_some() && !is_local {
                break;
            }
            if let Some((kind, agree)) = signature.result_for(target, args) {
                result = Some(result.map_or_else(|| kind.clone(), |known| known.or(&kind)));
                agrees |= agree;
                is_local &= signature.is_local;
            }
        }
        let Some(result) = result else {
            return self.other_form(call, &name, signatures, target, args);
        };
        if !agrees && name == operators::INDEX {
            return Err(self.wrong_operands(call, "[", args));
        } else if !agrees {
            self.disagreement(call, args);
        } else if is_local && operator(&name).is_none() {
            let help = match name.as_str() {
                "contains" => "write ITEM in LIST".to_owned(),
                "flatten" => "the list has no lists as items".to_owned(),
                name => format!("write [A, B].{name}()"),
            };
            self.warn(&call.func_name, format!("`{name}` is not available in admission policies"), help);
        }
        Ok(result)
    }

    /// The library calls methods as functions and functions as methods; the API server does not.
    fn other_form(
        &mut self,
        call: &CallExpr,
        name: &str,
        signatures: &[Signature],
        target: Option<&Type>,
        args: &[Type],
    ) -> Outcome {
        let form = match (target, args) {
            (Some(target), _) => {
                let args: Vec<Type> = std::iter::once(target.clone()).chain(args.iter().cloned()).collect();
                signatures.iter().find_map(|signature| signature.result_for(None, &args))
            }
            (None, [target, rest @ ..]) => {
                signatures.iter().find_map(|signature| signature.result_for(Some(target), rest))
            }
            _ => None,
        };
        let Some((result, _)) = form.filter(|_| operator(name).is_none() && !name.contains('.')) else {
            return Err(self.mismatch(call, name, signatures, target, args));
        };
        let help = if target.is_some() { format!("write {name}(…)") } else { format!("write ….{name}(…)") };
        self.warn(&call.func_name, format!("admission policies do not have this form of `{name}`"), help);
        Ok(result)
    }

    /// Records that `'key' in path` tests that key.
    fn note_test(&mut self, call: &CallExpr) {
        if let [key, map] = &call.args[..]
            && let Expr::Literal(LiteralValue::String(key)) = &key.expr
            && let Some(map) = written(map)
        {
            self.tested.insert(format!("{map}.{}", key.inner()));
        }
    }

    fn is_namespace(&self, target: &IdedExpr) -> bool {
        matches!(&target.expr, Expr::Ident(name)
            if NAMESPACES.contains(&name.as_str()) && !self.bound.iter().any(|(bound, _)| bound == name))
    }

    /// The name with its namespace, such as `math.abs`.
    fn full_name(&self, call: &CallExpr) -> String {
        match call.target.as_ref().filter(|target| self.is_namespace(target)).map(|target| &target.expr) {
            Some(Expr::Ident(space)) => format!("{space}.{}", call.func_name),
            _ => call.func_name.clone(),
        }
    }

    /// The type of `get(value, 'a.b', default)`.
    fn get(&mut self, call: &CallExpr) -> Outcome {
        let [value, path, default] = &call.args[..] else { return Ok(Type::Dyn) };
        let mut kind = self.of(value)?;
        let path_kind = self.of(path)?;
        if !path_kind.overlaps(&Type::String) {
            let message = format!("the path of `get` must be a string, not {path_kind}");
            return Err(self.error("get", message, "write for example 'spec.hostNetwork'"));
        }
        let default = self.of(default)?;
        let Expr::Literal(LiteralValue::String(path)) = &path.expr else { return Ok(Type::Dyn) };
        for step in path.inner().split('.') {
            kind = match &kind {
                Type::Object(fields) => match fields.field(step) {
                    Some(kind) => kind,
                    None => {
                        if let Some(known) = nearest(step, fields.names()) {
                            let message = format!("unknown field \"{step}\" in {}", fields.name());
                            self.warn("get", message, format!("did you mean \"{known}\"?"));
                        }
                        return Ok(Type::Dyn);
                    }
                },
                Type::Map(map) => map.1.clone(),
                Type::List(item) => Type::clone(item),
                Type::Dyn | Type::Any(_) => return Ok(Type::Dyn),
                // There is no such member, so the result is the default.
                _ => return Ok(default),
            };
        }
        Ok(kind.or(&default))
    }

    /// Warns about values that are never equal. Where the API server only requires equal types, such as the branches of
    /// a condition, a template can have different ones.
    fn disagreement(&mut self, call: &CallExpr, args: &[Type]) {
        let [one, other] = args else { return };
        let name = call.func_name.as_str();
        let (message, item) = match (name, other) {
            (operators::EQUALS | operators::NOT_EQUALS, _) => (format!("{one} and {other} are never equal"), other),
            (operators::IN, Type::List(item)) => (format!("{other} never contains {one}"), &**item),
            (operators::IN, Type::Map(map)) => (format!("{other} never contains the key {one}"), &map.0),
            _ => return,
        };
        let help = match &call.args[0] {
            node if matches!(item, Type::String) && one.is_scalar() => convert(node, "string"),
            _ if matches!(one, Type::String) && item.is_scalar() => convert(&call.args[1], "string"),
            node if matches!((one, item), (Type::Int, Type::Double)) => convert(node, "double"),
            _ if matches!((one, item), (Type::Double, Type::Int)) => convert(&call.args[1], "double"),
            _ => String::new(),
        };
        self.warn(operator(name).unwrap_or(name), message, help);
    }

    /// Explains why no signature matches.
    fn mismatch(
        &self,
        call: &CallExpr,
        name: &str,
        signatures: &[Signature],
        target: Option<&Type>,
        args: &[Type],
    ) -> ExpressionError {
        if let Some(token) = operator(name) {
            return self.wrong_operands(call, token, args);
        }
        // The check inserts the pod's map as the first argument of `label` and `annotation`.
        let is_own = matches!(name, "label" | "annotation");
        let listed = args.iter().skip(usize::from(is_own)).map(Type::to_string).collect::<Vec<_>>().join(", ");
        let accepts = |signature: &&Signature| match (&signature.target, target) {
            (Some(formal), Some(actual)) => formal.overlaps(actual),
            (None, None) => true,
            _ => false,
        };
        let known: Vec<&str> = signatures.iter().filter(accepts).map(|signature| signature.written).collect();
        let forms = || known.iter().filter_map(|form| form.rsplit_once(' ')).map(|(form, _)| form.replace(" .", "."));
        if let Some(target) = target.filter(|_| known.is_empty()) {
            let wanted = signatures.iter().find_map(|signature| signature.target.as_ref());
            let help = match (wanted, call.target.as_deref()) {
                (Some(Type::String), Some(node)) if target.is_scalar() => {
                    format!("{}.{name}(…)", convert(node, "string"))
                        .replace("(…)", if args.is_empty() { "()" } else { "(…)" })
                }
                (Some(Type::Library(library)), Some(node)) if matches!(target, Type::String) => {
                    format!("{}.{name}(…)", convert(node, library))
                }
                (Some(Type::List(_)), _) if matches!(target, Type::List(_)) => {
                    "convert its items: LIST.map(item, string(item))".to_owned()
                }
                (Some(wanted), _) => format!("it is available for {wanted}"),
                (None, _) => format!("write {name}(…)"),
            };
            return self.error(&call.func_name, format!("`{name}` is not available for {target}"), help);
        }
        let help = match known.is_empty() {
            true => "it is a method, such as VALUE.FUNCTION(…)".replace("FUNCTION", name),
            false if is_own => format!("write {name}('key', 'default')"),
            false => format!("available: {}", forms().collect::<Vec<_>>().join(", ")),
        };
        self.error(&call.func_name, format!("`{name}` does not take ({listed})"), help)
    }

    fn wrong_operands(&self, call: &CallExpr, token: &str, args: &[Type]) -> ExpressionError {
        // The library expands loops to operators, which are not in the source.
        let is_loop = call.args.iter().any(|arg| matches!(&arg.expr, Expr::Ident(name) if name.starts_with('@')))
            || matches!(call.args.get(2).map(|arg| &arg.expr), Some(Expr::Ident(name)) if name.starts_with('@'));
        match (call.func_name.as_str(), args) {
            (operators::LOGICAL_OR | operators::LOGICAL_AND, [_, wrong]) if is_loop => {
                ExpressionError::new(format!("the condition of a loop must be bool, not {wrong}"), "")
            }
            (operators::CONDITIONAL, [wrong, ..]) if is_loop => {
                ExpressionError::new(format!("the condition of a loop must be bool, not {wrong}"), "")
            }
            (operators::CONDITIONAL, [wrong, ..]) => {
                self.error(token, format!("the condition before `?` must be bool, not {wrong}"), "")
            }
            (operators::INDEX, [operand, key]) => {
                let message = match operand {
                    Type::List(_) => format!("the index of a list must be int, not {key}"),
                    Type::Map(map) => format!("the key of a {operand} must be {}, not {key}", map.0),
                    other => format!("{other} has no items"),
                };
                self.error(token, message, "")
            }
            (operators::IN, [_, wrong]) => {
                let help = if matches!(wrong, Type::String) { "write TEXT.contains('…')" } else { "" };
                self.error(token, format!("`in` needs a list or a map on its right side, not {wrong}"), help)
            }
            (_, [one, other]) => {
                let message = format!("`{token}` does not work with {one} and {other}");
                self.error(token, message, operand_help(call, one, other))
            }
            (_, [one]) => self.error(token, format!("`{token}` does not work with {one}"), ""),
            _ => self.error(token, format!("`{token}` does not work with these values"), ""),
        }
    }
}

/// What to write instead of an operator with wrong operands.
fn operand_help(call: &CallExpr, one: &Type, other: &Type) -> String {
    let is_text = |kind: &Type| matches!(kind, Type::String);
    let [left, right] = &call.args[..] else { return String::new() };
    match (one, other) {
        _ if call.func_name == operators::ADD && is_text(one) && other.is_scalar() => convert(right, "string"),
        _ if call.func_name == operators::ADD && is_text(other) && one.is_scalar() => convert(left, "string"),
        (Type::String, Type::Int | Type::Number) => convert(left, "int"),
        (Type::Int | Type::Number, Type::String) => convert(right, "int"),
        (Type::Int | Type::Uint, Type::Double) => convert(left, "double"),
        (Type::Double, Type::Int | Type::Uint) => convert(right, "double"),
        (Type::List(_), item) if item.is_scalar() => match written(right) {
            Some(item) => format!("write [{item}]"),
            None => "write [ITEM]".to_owned(),
        },
        (Type::Library("quantity"), _) => {
            "write QUANTITY.add(…), .sub(…), .isGreaterThan(…) or .isLessThan(…)".to_owned()
        }
        _ => String::new(),
    }
}

/// The advice to convert a value.
fn convert(node: &IdedExpr, function: &str) -> String {
    format!("write {function}({})", written(node).unwrap_or_else(|| "…".to_owned()))
}
