//! Expressions in the script of `sh -c`.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::authoring::lint::shell::{self, Quote};
use crate::inject::diagnostic::Severity;
use crate::inject::document::Node;
use crate::inject::expr::Part;

pub(super) const RULE: Rule = Rule {
    id: "shell-expression",
    severity: Severity::Error,
    explanation: "A shell command contains an expression without `shellQuote`, or with `shellQuote` inside quotes, in \
        a comment or after a backslash. A value with a quote or a semicolon can then run as a command in every pod. \
        Write `${shellQuote(…)}` outside of quotes, or pass the value in an environment variable.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, \"echo ${shellQuote(params.x)}\"]}]",
            &[],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, 'echo $${HOME}'], args: ['${params.x}']}]",
            &[],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [/bin/sh, -c, 'echo ${params.x}']}]",
            &[NOT_QUOTED],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [bash, --norc, -c, 'echo ${params.x}']}]",
            &[NOT_QUOTED],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [ksh, -c, 'echo ${params.x}']}]",
            &[NOT_QUOTED],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, 'echo ${shellQuote(params.x) + params.x}']}]",
            &[NOT_QUOTED],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, readinessProbe: {exec: {command: [sh, -c, 'echo ${params.x}']}}}]",
            &[NOT_QUOTED],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, lifecycle: {preStop: {exec: {command: [sh, -c, 'echo ${params.x}']}}}}]",
            &[NOT_QUOTED],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, \"echo 'it is ${shellQuote(params.x)}'\"]}]",
            &[QUOTED_TWICE],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, \"echo 'it is '${shellQuote(params.x)}\"]}]",
            &[],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, \"echo \\\\${shellQuote(params.x)}\"]}]",
            &[QUOTED_TWICE],
        ),
        (
            "parameters: {x: {type: string}}\n\
             sidecars: [{name: a, image: i, command: [sh, -c, \"# it's\\necho ${shellQuote(params.x)}\"]}]",
            &[],
        ),
    ],
};

const NOT_QUOTED: &str = "an expression in a shell command needs shellQuote";
const QUOTED_TWICE: &str =
    "shellQuote adds its own quotes, so it cannot be in quotes, in a comment or after a backslash";

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers() {
        for words in shell::commands(container) {
            if let Some((node, script)) = shell::script(&words) {
                check_script(linter, node, script);
            }
        }
    }
}

fn check_script(linter: &mut Linter<'_>, node: &Node, script: &str) {
    let Some(script) = linter.compiled(script) else { return };
    let (mut quote, mut before) = (Quote::None, '\n');
    for part in script.parts() {
        match part {
            Part::Literal(text) => quote = quote.after(text, before),
            Part::Expression(expression) if !expression.is_call_of("shellQuote") => {
                return linter.find(node.span, NOT_QUOTED);
            }
            Part::Expression(_) if quote != Quote::None => {
                return linter.find(node.span, QUOTED_TWICE);
            }
            Part::Expression(_) => {}
        }
        before = 'x';
    }
}
