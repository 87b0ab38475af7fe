//! Finds loops over maps. CEL maps have no order, so the result of such a loop must not depend on the order. The module
//! reads syntax trees. It reports no errors; [`check`](super::check) does.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{Expr, LiteralValue, operators};

use crate::inject::expr::Vocabulary;

/// Returns true if `range` can be a map. An expression of unknown type counts as a map.
pub(super) fn may_be_map(range: &IdedExpr, names: &Vocabulary<'_>) -> bool {
    match &range.expr {
        Expr::List(_) => false,
        Expr::Call(call) => match call.func_name.as_str() {
            operators::CONDITIONAL => call.args[1..].iter().any(|arg| may_be_map(arg, names)),
            operators::ADD => call.args.iter().all(|arg| may_be_map(arg, names)),
            "split" | "sort" | "slice" | "distinct" | "flatten" | "findAll" | "reverse" => false,
            "get" => !matches!(call.args.get(1).map(|path| &path.expr), Some(Expr::Literal(LiteralValue::String(path)))
                if path.inner().rsplit('.').next().is_some_and(|last| LISTS.contains(&last))),
            _ => true,
        },
        Expr::Comprehension(inner) => !matches!(inner.accu_init.expr, Expr::List(_)),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(root) if root == "params" => {
                names.parameters.iter().any(|(name, is_map)| *name == select.field && *is_map)
            }
            // Names that users choose do not reveal the type of their values.
            Expr::Ident(root) if matches!(root.as_str(), "variables" | "values") => true,
            // The names of the lists in a pod are not the names of any of its maps.
            _ => !LISTS.contains(&select.field.as_str()),
        },
        _ => true,
    }
}

/// Returns true if an expression cannot fail with keys of a map, which are strings. This is an estimate: other
/// expressions can be safe, too.
pub(super) fn is_total(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Ident(_) | Expr::Literal(_) => true,
        Expr::Call(call) => {
            let total = [
                operators::EQUALS,
                operators::NOT_EQUALS,
                operators::LOGICAL_AND,
                operators::LOGICAL_OR,
                operators::LOGICAL_NOT,
                operators::CONDITIONAL,
                operators::NOT_STRICTLY_FALSE,
                operators::ADD,
                "startsWith",
                "endsWith",
                "contains",
                "matches",
            ];
            total.contains(&call.func_name.as_str())
                && call.target.iter().all(|target| is_total(target))
                && call.args.iter().all(is_total)
        }
        _ => false,
    }
}

/// The fields of a pod's spec that hold lists of objects or strings.
const LISTS: [&str; 20] = [
    "args",
    "command",
    "containers",
    "env",
    "envFrom",
    "ephemeralContainers",
    "finalizers",
    "hostAliases",
    "imagePullSecrets",
    "initContainers",
    "items",
    "nameservers",
    "ownerReferences",
    "ports",
    "readinessGates",
    "searches",
    "tolerations",
    "volumeDevices",
    "volumeMounts",
    "volumes",
];
