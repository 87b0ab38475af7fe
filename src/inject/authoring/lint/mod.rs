//! Lint: errors and risks in templates, and in manifests that request them, beyond the errors that loading reports.
//! Each finding belongs to a rule, which explains it. A template can silence a rule with a reason. The module owns the
//! rules and runs them on documents and compiled templates. It does not know about files or output formats.

mod containers;
mod expressions;
mod linter;
mod nodes;
mod refused;
mod rules;
mod shell;
mod versions;
mod volumes;

pub use linter::{Finding, LintLimits, ManifestPod, Rule};
pub use refused::{RefusedPods, refused};
pub use rules::{INVALID, RULES, WRONG_PLACE, rule};
pub use versions::notes;

use std::collections::BTreeMap;

use crate::inject::authoring::lint::linter::{Linter, RuleCheck};
use crate::inject::authoring::lint::rules::{DOUBTFUL_EXPRESSION, NEEDS_VERSION, UNKNOWN_FIELD};
use crate::inject::catalog::holder::TemplateText;
use crate::inject::diagnostic::{Diagnostic, Severity, Source, nearest};
use crate::inject::document::{Value, yaml};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;

/// Checks one template document. `default_name` is the template's name if the document does not set one; `keys` are the
/// annotation keys of the installation.
///
/// Returns the findings in the order of the text, and the template. For a document that cannot be loaded, all findings
/// are errors of the rule `invalid`, and there is no template.
#[must_use]
pub fn template(
    source: &Source<'_>,
    default_name: &str,
    keys: &Keys,
    limits: &LintLimits,
) -> (Vec<Finding>, Option<Template>) {
    let loaded = match Template::load(source, default_name, keys) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let finding = |diagnostic| Finding::new(&INVALID, diagnostic, default_name);
            return (errors.into_iter().map(finding).collect(), None);
        }
    };
    let Ok(node) = yaml::parse(source) else { return (Vec::new(), Some(loaded.template)) };
    let mut linter =
        Linter { source, node: &node, template: &loaded.template, limits, rule: &UNKNOWN_FIELD, findings: Vec::new() };
    loaded.warnings.into_iter().for_each(|warning| linter.push(warning));
    linter.rule = &DOUBTFUL_EXPRESSION;
    loaded.doubts.into_iter().for_each(|warning| linter.push(warning));
    for fault in loaded.template.faults(source, limits.cluster) {
        linter.rule = if fault.severity == Severity::Error { &INVALID } else { &NEEDS_VERSION };
        linter.push(fault);
    }
    for rule in RULES {
        if let RuleCheck::Template(check) = rule.check {
            linter.rule = rule;
            check(&mut linter);
        }
    }
    let mut findings = not_silenced(linter);
    findings.sort_by_key(|finding| (finding.diagnostic.line, finding.diagnostic.column, finding.rule));
    (findings, Some(loaded.template))
}

/// Checks several templates together. Each is a pair of its document and the template. Templates in ConfigMaps of
/// different namespaces do not affect each other.
#[must_use]
pub fn across(templates: &[(&TemplateText, &Template)]) -> Vec<Finding> {
    let mut places: BTreeMap<Option<&str>, Vec<(&TemplateText, &Template)>> = BTreeMap::new();
    for &(text, template) in templates {
        places.entry(text.namespace.as_deref()).or_default().push((text, template));
    }
    let of = |rule: &Rule| match rule.check {
        RuleCheck::Templates(check) => places.values().flat_map(|templates| check(templates)).collect(),
        _ => Vec::new(),
    };
    RULES.iter().flat_map(of).collect()
}

/// Checks the annotations and labels of a pod in a manifest.
#[must_use]
pub fn manifest(pod: &ManifestPod<'_>) -> Vec<Finding> {
    let of = |rule: &'static Rule| {
        let messages = match rule.check {
            RuleCheck::Manifest(check) => check(pod),
            _ => Vec::new(),
        };
        let finding = |message| Finding::new(rule, Diagnostic::of_document(pod.origin, message), "");
        messages.into_iter().map(finding)
    };
    RULES.iter().flat_map(of).collect()
}

/// The findings of `linter`, without those of the rules that the template silences. Adds errors in the template's
/// `lint`.
fn not_silenced(mut linter: Linter<'_>) -> Vec<Finding> {
    let Some(Value::Map(entries)) = linter.node.get("lint").map(|node| &node.value) else { return linter.findings };
    linter.rule = &INVALID;
    for (key, reason) in entries {
        let known = RULES.iter().map(|rule| rule.id);
        match (&reason.value, rule(&key.name)) {
            (_, Some(rule)) if rule.id == INVALID.id => {
                linter.find(key.span, "the rule invalid cannot be silenced");
            }
            (Value::String(reason), Some(_)) if !reason.trim().is_empty() => {}
            (_, Some(_)) => linter.find(key.span, format!("lint.{} needs a reason", key.name)),
            (_, None) => {
                let hint = nearest(&key.name, known).map(|id| format!(", did you mean \"{id}\"?"));
                let message = format!("there is no rule \"{}\"{}", key.name, hint.unwrap_or_default());
                linter.find(key.span, message);
            }
        }
    }
    linter.findings.retain(|finding| !linter.template.silences(finding.rule));
    linter.findings
}

#[cfg(test)]
mod tests;
