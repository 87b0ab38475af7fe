//! Which loops run over maps: those have no order here, so what they give must not depend on it. It reads syntax trees
//! and decides nothing.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{Expr, LiteralValue, operators};

use crate::inject::expr::Vocabulary;

/// Whether `range` is a map, as far as can be told; what is unknown counts as one.
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
            // Vocabulary that users give say nothing about what they hold.
            Expr::Ident(root) if matches!(root.as_str(), "variables" | "values") => true,
            // The lists of a pod have plural names that no map of it has.
            _ => !LISTS.contains(&select.field.as_str()),
        },
        _ => true,
    }
}

/// Whether an expression cannot fail whatever the values are, as far as that can be told.
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
