//! Lint: errors and risks in templates, and in manifests that request them, beyond the errors that loading reports.
//! Each finding belongs to a rule, which explains it. A template can silence a rule with a reason. The module owns the
//! rules and runs them on documents and compiled templates. It does not know about files or output formats.

mod containers;
mod expressions;
mod nodes;
mod rules;
mod shell;
mod volumes;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use rules::{INVALID, RULES, Rule, WRONG_PLACE, rule};

use crate::inject::authoring::lint::rules::{RuleCheck, UNKNOWN_FIELD};
use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::{Diagnostic, Severity, Source, Span, nearest};
use crate::inject::document::{Node, Value, yaml};
use crate::inject::select::request::{self, Dialect, RequestItem, Selection};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;

/// A problem that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The id of the rule.
    pub rule: &'static str,
    /// The place, the message and the severity.
    pub diagnostic: Diagnostic,
    /// The name of the template; empty if the finding is about a file or a manifest.
    pub template: String,
}

impl Finding {
    /// Creates a finding with the severity of `rule`.
    #[must_use]
    pub fn new(rule: &Rule, diagnostic: Diagnostic, template: &str) -> Self {
        let diagnostic = if rule.severity == Severity::Warning { diagnostic.warning() } else { diagnostic };
        Self { rule: rule.id, diagnostic, template: template.to_owned() }
    }
}

/// The limits that templates are checked against.
#[derive(Clone, Debug)]
pub struct LintLimits {
    /// Maximum number of containers that one template can add.
    pub max_sidecars: usize,
    /// Maximum that the containers of one template can request together, by resource, in 10^-9 units.
    pub budget: BTreeMap<String, i128>,
    /// The level of the Pod Security Standards.
    pub pod_security: Profile,
}

impl Default for LintLimits {
    fn default() -> Self {
        Self { max_sidecars: 4, budget: BTreeMap::new(), pod_security: Profile::Baseline }
    }
}

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
    for rule in RULES {
        if let RuleCheck::Template(check) = rule.check {
            linter.rule = rule;
            check(&mut linter);
        }
    }
    let mut findings = linter.silenced();
    findings.sort_by_key(|finding| (finding.diagnostic.line, finding.diagnostic.column, finding.rule));
    (findings, Some(loaded.template))
}

/// Checks several templates together. Each is a pair of its origin and the template.
#[must_use]
pub fn across(templates: &[(String, &Template)]) -> Vec<Finding> {
    let of = |rule: &Rule| match rule.check {
        RuleCheck::Templates(check) => check(templates),
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

/// A pod in a manifest: the pod itself, or the pod template of a workload.
#[derive(Debug)]
pub struct ManifestPod<'m> {
    /// The manifest and the object, as shown in findings; see [`Source::origin`].
    pub origin: &'m str,
    /// The metadata of the pod.
    pub metadata: &'m Json,
    /// The metadata of the workload that contains the pod template; `None` for a plain pod.
    pub workload: Option<&'m Json>,
    /// The templates that the pod can request.
    pub catalog: &'m Catalog,
    /// The annotation keys of the installation.
    pub keys: &'m Keys,
}

impl<'m> ManifestPod<'m> {
    /// The templates that the pod requests, or the error in its request; `None` if it does not request any.
    fn requested(&self) -> Option<Result<Vec<RequestItem<'m>>, String>> {
        let key = self.keys.request.as_str();
        match request::parse(key, self.metadata["annotations"][key].as_str()?, Dialect::Own) {
            Ok(Selection::Templates(items)) => Some(Ok(items)),
            Ok(_) => None,
            Err(why) => Some(Err(why)),
        }
    }
}

/// Runs the rules on one template and collects the findings.
struct Linter<'l> {
    source: &'l Source<'l>,
    node: &'l Node,
    template: &'l Template,
    limits: &'l LintLimits,
    /// The current rule.
    rule: &'static Rule,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    /// Adds a finding of the current rule at `span`.
    fn find(&mut self, span: Span, message: impl Into<String>) {
        self.push(self.source.error(span, message));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.findings.push(Finding::new(self.rule, diagnostic, &self.template.name));
    }

    /// The findings, without those of the rules that the template silences. Adds errors in the template's `lint`.
    fn silenced(mut self) -> Vec<Finding> {
        let Some(Value::Map(entries)) = self.node.get("lint").map(|node| &node.value) else { return self.findings };
        self.rule = &INVALID;
        for (key, reason) in entries {
            let known = RULES.iter().map(|rule| rule.id);
            match (&reason.value, rule(&key.name)) {
                (_, Some(rule)) if rule.id == INVALID.id => {
                    self.find(key.span, "the rule invalid cannot be silenced");
                }
                (Value::String(reason), Some(_)) if !reason.trim().is_empty() => {}
                (_, Some(_)) => self.find(key.span, format!("lint.{} needs a reason", key.name)),
                (_, None) => {
                    let hint = nearest(&key.name, known).map(|id| format!(", did you mean \"{id}\"?"));
                    let message = format!("there is no rule \"{}\"{}", key.name, hint.unwrap_or_default());
                    self.find(key.span, message);
                }
            }
        }
        self.findings.retain(|finding| !self.template.silences(finding.rule));
        self.findings
    }
}

#[cfg(test)]
mod tests;
