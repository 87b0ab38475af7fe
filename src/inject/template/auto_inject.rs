//! `autoInject`: which pods a template chooses itself. It reads what is written; who is chosen is decided elsewhere.

use crate::inject::document::{Node, Value};
use crate::inject::expr::paths::Paths;
use crate::inject::expr::{Expression, Vocabulary};
use crate::inject::kube::checker::Checker;
use crate::inject::template::selector::Selector;

/// Which pods a template chooses itself.
#[derive(Debug, Default)]
pub struct AutoInject {
    /// Labels of the pod.
    pub pods: Selector,
    /// Labels of its namespace.
    pub namespaces: Selector,
    /// Evaluated where both match.
    pub(crate) condition: Option<Expression>,
    /// What the condition reads of the pod, with the variables that it may use.
    pub(crate) paths: Paths,
    pub(crate) reads_namespace: bool,
}

pub(super) fn read(checker: &mut Checker, node: &Node, variables: &[(String, Expression)]) -> AutoInject {
    let known: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
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
                let names = Vocabulary { parameters: &[], variables: &known, container: false };
                let source = checker.json(value, "string", "autoInject.if");
                match source.as_str().map(|source| Expression::compile(source, &names)) {
                    Some(Ok(condition)) => auto.condition = Some(condition),
                    Some(Err(fault)) => checker.expression_error(value, fault),
                    None => {}
                }
            }
            other => {
                let help = "it has podSelector, namespaceSelector and if";
                checker.error(key.span, format!("autoInject has no \"{other}\""), help);
            }
        }
    }
    if let Some(condition) = &auto.condition {
        let mut reads = condition.reads.clone();
        for (_, expression) in variables {
            reads.merge(&expression.reads);
        }
        auto.paths = Paths::new(&reads.object);
        auto.reads_namespace = reads.namespace;
    }
    if auto.pods.is_empty() && auto.namespaces.is_empty() {
        let help = "name labels of the pods or of their namespaces";
        checker.error(node.span, "autoInject without selectors would choose every pod", help);
    }
    auto
}
