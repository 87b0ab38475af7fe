//! `autoInject`: the pods that get a template without a request. This module reads and compiles the field. It does not
//! match pods; `select` does.

use crate::inject::document::{Node, Value};
use crate::inject::expr::paths::Paths;
use crate::inject::expr::{Expression, Vocabulary};
use crate::inject::kube::checker::Checker;
use crate::inject::template::body::compile::found;
use crate::inject::template::selector::Selector;

/// The pods that get a template without a request.
#[derive(Debug, Default)]
pub struct AutoInject {
    /// Selects pods by their labels.
    pub pods: Selector,
    /// Selects pods by the labels of their namespace.
    pub namespaces: Selector,
    /// The condition `if`, evaluated if both selectors match.
    pub(crate) condition: Option<Expression>,
    /// The paths of the pod that the condition and the variables of the template read.
    pub(crate) paths: Paths,
    /// True if the condition or a variable reads the namespace.
    pub(crate) reads_namespace: bool,
}

/// Reads the value of `autoInject`. `names` are those that the condition can use. Errors go to `checker`.
pub(super) fn read(checker: &mut Checker, node: &Node, names: &Vocabulary<'_>) -> AutoInject {
    let mut auto = AutoInject::default();
    let Value::Map(entries) = &node.value else {
        checker.error(node.span, format!("autoInject must be a map, not {}", node.value.kind()), "");
        return auto;
    };
    for (key, value) in entries {
        match key.name.as_str() {
            "podSelector" => auto.pods = Selector::read(checker, value, "autoInject.podSelector"),
            "namespaceSelector" => auto.namespaces = Selector::read(checker, value, "autoInject.namespaceSelector"),
            "if" => {
                let source = checker.json(value, "string", "autoInject.if");
                match source.as_str().map(|source| Expression::condition(source, names)) {
                    Some(Ok(condition)) => auto.condition = Some(found(checker, value, condition)),
                    Some(Err(fault)) => checker.expression_error(value, fault),
                    None => {}
                }
            }
            other => {
                let help = "known keys: podSelector, namespaceSelector, if";
                checker.error(key.span, format!("autoInject has no key \"{other}\""), help);
            }
        }
    }
    if let Some(condition) = &auto.condition {
        let mut reads = condition.reads.clone();
        for (_, expression) in names.variables {
            reads.merge(&expression.reads);
        }
        auto.paths = Paths::new(&reads.object);
        auto.reads_namespace = reads.namespace;
    }
    if auto.pods.is_empty() && auto.namespaces.is_empty() {
        let help = "set podSelector or namespaceSelector";
        checker.error(node.span, "autoInject without selectors would select every pod", help);
    }
    auto
}
