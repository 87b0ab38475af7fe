//! Lint: what in a template breaks pods or will hurt later, beyond what loading refuses. Each finding has a rule that
//! explains it and can be silenced in the template with a reason. It reads text and compiled templates and must not
//! know files or output formats.

mod access;
mod containers;
mod rules;
mod set;

use std::collections::BTreeMap;

pub use rules::{RULES, Rule, rule};
pub use set::{across, parameters, request};

use crate::inject::diagnostic::{Diagnostic, Severity, Source, Span, nearest};
use crate::inject::document::{Node, Value, yaml};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;

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
    pub fn new(id: &'static str, diagnostic: Diagnostic, template: &str) -> Self {
        let warns = rule(id).is_some_and(|rule| rule.severity == Severity::Warning);
        let diagnostic = if warns { diagnostic.warning() } else { diagnostic };
        Self { rule: id, diagnostic, template: template.to_owned() }
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

/// The findings of one template document, in an installation with these `keys`. A document that cannot be loaded has only errors of the rule `invalid`.
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
            let finding = |diagnostic| Finding::new("invalid", diagnostic, default_name);
            return (errors.into_iter().map(finding).collect(), None);
        }
    };
    let Ok(node) = yaml::parse(source) else { return (Vec::new(), Some(loaded.template)) };
    let mut linter = Linter { source, node: &node, template: &loaded.template, limits, findings: Vec::new() };
    for warning in loaded.warnings {
        linter.push("unknown-field", warning);
    }
    containers::check(&mut linter);
    access::check(&mut linter);
    pod_security(&mut linter);
    let findings = linter.silenced();
    (findings, Some(loaded.template))
}

/// What keeps the template out of namespaces that enforce the level asked for. Expressions are left aside.
fn pod_security(linter: &mut Linter<'_>) {
    let level = linter.limits.pod_security;
    if let Some(why) = linter.template.beyond(level) {
        let message = format!("namespaces that enforce the level {} refuse its pods: {why}", level.as_str());
        linter.find("pod-security", linter.node.span, message);
    }
}

/// One template on the way through the rules.
struct Linter<'l> {
    source: &'l Source<'l>,
    node: &'l Node,
    template: &'l Template,
    limits: &'l Limits,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn find(&mut self, rule: &'static str, span: Span, message: impl Into<String>) {
        let diagnostic = self.source.error(span, message);
        self.push(rule, diagnostic);
    }

    fn push(&mut self, id: &'static str, diagnostic: Diagnostic) {
        self.findings.push(Finding::new(id, diagnostic, &self.template.name));
    }

    /// The findings without those that the template's `lint` silences with a reason.
    fn silenced(mut self) -> Vec<Finding> {
        let Some(Value::Map(entries)) = self.node.get("lint").map(|node| &node.value) else { return self.findings };
        for (key, reason) in entries {
            let known = RULES.iter().map(|rule| rule.id);
            match (&reason.value, rule(&key.name)) {
                (_, Some(rule)) if rule.id == "invalid" => {
                    self.find("invalid", key.span, "what cannot be loaded cannot be silenced");
                }
                (Value::String(reason), Some(_)) if !reason.trim().is_empty() => {}
                (_, Some(_)) => self.find("invalid", key.span, format!("lint.{} needs a reason", key.name)),
                (_, None) => {
                    let hint = nearest(&key.name, known).map(|id| format!(", did you mean \"{id}\"?"));
                    let message = format!("there is no rule \"{}\"{}", key.name, hint.unwrap_or_default());
                    self.find("invalid", key.span, message);
                }
            }
        }
        self.findings.retain(|finding| !self.template.silences(finding.rule));
        self.findings
    }
}

/// The items of a list in the document.
fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    match node.get(key).map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// A string member.
fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match node.get(key).map(|node| &node.value) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
