//! Loops over maps. CEL maps have no order, so the result of such a loop must not depend on the order. The module reads
//! syntax trees. It reports no errors; [`infer`](super::infer) does.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{Expr, operators};

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
