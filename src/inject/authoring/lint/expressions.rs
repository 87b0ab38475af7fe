//! The expressions in a template document.

use crate::inject::authoring::lint::linter::Linter;
use crate::inject::document::{Node, Value};
use crate::inject::expr::{self, Compiled, Expression, Interpolation, Reads, Vocabulary};

impl<'l> Linter<'l> {
    /// Calls `look` with the names that expressions of this template can use.
    fn with_names<T>(&self, look: impl FnOnce(&Vocabulary<'_>) -> T) -> T {
        let parameters = self.template.declared();
        look(&Vocabulary { container: true, ..self.template.vocabulary(&parameters) })
    }

    /// Compiles a string of the template; `None` if it contains no expressions.
    pub(super) fn compiled(&self, text: &str) -> Option<Interpolation> {
        match self.with_names(|names| expr::compile(text, names)) {
            Ok(Compiled::Interpolated(text)) => Some(text),
            _ => None,
        }
    }

    /// Calls `look` for every expression, with its node and the names that it reads. The conditions that enclose an
    /// expression count as guards.
    pub(super) fn visit_expressions(&self, mut look: impl FnMut(&'l Node, &Reads)) {
        self.with_names(|names| visit(self.node, names, &Reads::default(), &mut look));
    }
}

/// Calls `look` for every expression in `node`. `around` has the guards of the conditions that enclose the node.
fn visit<'n>(node: &'n Node, names: &Vocabulary<'_>, around: &Reads, look: &mut impl FnMut(&'n Node, &Reads)) {
    let guarded = |expression: &Expression| {
        let mut reads = expression.reads.clone();
        reads.guard_with(around);
        reads
    };
    match &node.value {
        Value::String(text) => {
            if let Ok(Compiled::Interpolated(text)) = expr::compile(text, names) {
                text.expressions().for_each(|expression| look(node, &guarded(expression)));
            }
        }
        Value::List(items) => items.iter().for_each(|item| visit(item, names, around, look)),
        Value::Map(entries) => {
            let condition = node.get("if").and_then(|node| whole(node, names));
            let mut inside = around.clone();
            if let Some(condition) = &condition {
                inside.guard_with(&condition.reads);
            }
            for (key, value) in entries {
                match key.name.as_str() {
                    // These contain no expressions.
                    "description" | "lint" | "parameters" => {}
                    "if" | "expression" => {
                        if let Some(expression) = whole(value, names) {
                            look(value, &guarded(&expression));
                        }
                    }
                    _ => visit(value, names, &inside, look),
                }
            }
        }
        _ => {}
    }
}

/// Compiles a string that is an expression without `${…}`: a condition or a variable.
fn whole(node: &Node, names: &Vocabulary<'_>) -> Option<Expression> {
    let Value::String(source) = &node.value else { return None };
    Expression::compile(source, names).ok()
}
