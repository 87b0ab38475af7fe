//! The output formats of findings: text, JSON, and SARIF 2.1.0 for code scanning.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::inject::authoring::lint::{Finding, RULES, Rule};
use crate::inject::diagnostic::Severity;

/// The name of a severity in all formats.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The findings with their places. An empty line follows each.
pub(super) fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let title = format!("{}[{}]", word(finding.diagnostic.severity), finding.rule);
        let _ = writeln!(text, "{}\n", finding.diagnostic.titled(&title));
    }
    text
}

/// A JSON list with one object for each finding.
pub(super) fn as_json(findings: &[Finding]) -> String {
    let object = |finding: &Finding| {
        let diagnostic = &finding.diagnostic;
        json!({
            "rule": finding.rule,
            "severity": word(diagnostic.severity),
            "template": finding.template,
            "origin": diagnostic.origin,
            "line": diagnostic.line,
            "column": diagnostic.column,
            "message": diagnostic.message,
            "help": diagnostic.help,
        })
    };
    pretty(&findings.iter().map(object).collect())
}

/// A SARIF log with one run. It describes all rules.
pub(super) fn as_sarif(findings: &[Finding]) -> String {
    let rule = |rule: &Rule| {
        json!({
            "id": rule.id,
            "fullDescription": {"text": rule.explanation},
            "defaultConfiguration": {"level": word(rule.severity)},
        })
    };
    let result = |finding: &Finding| {
        let diagnostic = &finding.diagnostic;
        let region = json!({"startLine": diagnostic.line.max(1), "startColumn": diagnostic.column.max(1)});
        json!({
            "ruleId": finding.rule,
            "level": word(diagnostic.severity),
            "message": {"text": diagnostic.message},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": diagnostic.origin}, "region": region}}],
        })
    };
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "sidecar-injector", "version": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(rule).collect::<Vec<_>>(),
            }},
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    }))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
