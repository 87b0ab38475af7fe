//! Lint: what in a template breaks pods or will hurt later, beyond what loading refuses. Each finding has a rule that
//! explains it and can be silenced in the template with a reason. It reads text and compiled templates and must not
//! know files or output formats.

mod containers;
mod expressions;
mod nodes;
mod rules;
mod shell;
mod volumes;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use rules::{INVALID, RULES, Rule, WRONG_PLACE, rule};

use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::{Diagnostic, Severity, Source, Span, nearest};
use crate::inject::document::yaml::{self, Node, Value};
use crate::inject::select::request::{self, Dialect, Item, Selection};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;
use rules::{RuleCheck, UNKNOWN_FIELD};

/// What is found, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's id.
    pub rule: &'static str,
    /// The place and the text.
    pub diagnostic: Diagnostic,
    /// The template.
    pub template: String,
}

impl Finding {
    /// A finding as severe as its rule is.
    #[must_use]
    pub fn new(rule: &Rule, diagnostic: Diagnostic, template: &str) -> Self {
        let diagnostic = if rule.severity == Severity::Warning { diagnostic.warning() } else { diagnostic };
        Self { rule: rule.id, diagnostic, template: template.to_owned() }
    }
}

/// Limits that installations set.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most containers that one template may add.
    pub max_sidecars: usize,
    /// Most cpu and memory, in 10^-9 units, that its containers may request together.
    pub budget: BTreeMap<String, i128>,
    /// The level of the Pod Security Standards that templates should keep to.
    pub pod_security: Profile,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_sidecars: 4, budget: BTreeMap::new(), pod_security: Profile::Baseline }
    }
}

/// The findings of one template document, in the order of its text, in an installation with these `keys`. A document
/// that cannot be loaded has only errors of the rule `invalid`.
#[must_use]
pub fn template(
    source: &Source<'_>,
    default_name: &str,
    keys: &Keys,
    limits: &Limits,
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

/// The findings about templates together, each given with its origin.
#[must_use]
pub fn across(templates: &[(String, &Template)]) -> Vec<Finding> {
    let of = |rule: &Rule| match rule.check {
        RuleCheck::Templates(check) => check(templates),
        _ => Vec::new(),
    };
    RULES.iter().flat_map(of).collect()
}

/// The findings about the annotations and labels of a pod in a manifest, before any pod is created.
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
    /// What findings call it, see [`Source::origin`].
    pub origin: &'m str,
    /// The metadata of the pod.
    pub metadata: &'m Json,
    /// The metadata of the workload around it, if there is one.
    pub workload: Option<&'m Json>,
    /// The templates there are.
    pub catalog: &'m Catalog,
    /// The keys of the installation.
    pub keys: &'m Keys,
}

impl<'m> ManifestPod<'m> {
    /// The templates that the pod asks for; what is wrong with the request; `None` if it does not ask for any.
    fn requested(&self) -> Option<Result<Vec<Item<'m>>, String>> {
        let key = self.keys.request.as_str();
        match request::parse(key, self.metadata["annotations"][key].as_str()?, Dialect::Own) {
            Ok(Selection::Templates(items)) => Some(Ok(items)),
            Ok(_) => None,
            Err(why) => Some(Err(why)),
        }
    }
}

/// One template on the way through the rules.
struct Linter<'l> {
    source: &'l Source<'l>,
    node: &'l Node,
    template: &'l Template,
    limits: &'l Limits,
    /// The rule that is being checked.
    rule: &'static Rule,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    /// Notes a finding of the rule that is being checked.
    fn find(&mut self, span: Span, message: impl Into<String>) {
        self.push(self.source.error(span, message));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.findings.push(Finding::new(self.rule, diagnostic, &self.template.name));
    }

    /// The findings without those that the template's `lint` silences with a reason.
    fn silenced(mut self) -> Vec<Finding> {
        let Some(Value::Map(entries)) = self.node.get("lint").map(|node| &node.value) else { return self.findings };
        self.rule = &INVALID;
        for (key, reason) in entries {
            let known = RULES.iter().map(|rule| rule.id);
            match (&reason.value, rule(&key.name)) {
                (_, Some(rule)) if rule.id == INVALID.id => {
                    self.find(key.span, "what cannot be loaded cannot be silenced");
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
