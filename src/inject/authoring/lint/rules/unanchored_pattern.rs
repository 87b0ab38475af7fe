//! Patterns that can match a part of a value.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::document::Value;

pub(super) const RULE: Rule = Rule {
    id: "unanchored-pattern",
    severity: Severity::Warning,
    explanation: "A pattern that does not begin with `^` and end with `$` can match a part of a value, so the rest of \
        the value can be anything. Anchor the pattern.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("parameters: {x: {type: string, pattern: '^a$'}}", &[]),
        ("parameters: {x: {type: string, pattern: '(?i)^a$'}}", &[]),
        ("parameters: {x: {type: string, pattern: a}}", &["the pattern of x can match a part of a value"]),
        ("parameters: {x: {type: string, pattern: '^a'}}", &["the pattern of x can match a part of a value"]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let Some(Value::Map(entries)) = linter.node.get("parameters").map(|node| &node.value) else { return };
    for (key, declared) in entries {
        if let Some(pattern) = declared.text("pattern")
            && !(pattern.starts_with('^') && pattern.ends_with('$'))
            && !pattern.starts_with("(?")
        {
            let message = format!("the pattern of {} can match a part of a value", key.name);
            linter.find(declared.span_of("pattern"), message);
        }
    }
}
