//! What a rule consists of, what its check receives, and what it reports. The module does not know the rules.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::inject::catalog::Catalog;
use crate::inject::catalog::holder::TemplateText;
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::diagnostic::{Diagnostic, Severity, Source, Span};
use crate::inject::document::Node;
use crate::inject::select::request::{self, Dialect, RequestItem, Selection};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// The id, in findings and in `lint` of a template: lowercase words with hyphens.
    pub id: &'static str,
    /// The severity of its findings.
    pub severity: Severity,
    /// One paragraph of Markdown: the problem, its effect and the solution.
    pub explanation: &'static str,
    /// The check.
    pub(super) check: RuleCheck,
    /// Test cases: a text, and for each expected finding a part of its message. `rules/tests.rs` describes the texts.
    #[cfg(test)]
    pub(super) cases: &'static [(&'static str, &'static [&'static str])],
}

/// The input of a rule, with the function that checks it.
#[derive(Clone, Copy, Debug)]
pub(super) enum RuleCheck {
    /// None: loading the template reports the findings.
    Loading,
    /// None: a dry run in a cluster reports the findings.
    DryRun,
    /// One template that was loaded. The function adds findings to the linter.
    Template(fn(&mut Linter<'_>)),
    /// Several templates, each with its document. The function returns the findings.
    Templates(fn(&[(&TemplateText, &Template)]) -> Vec<Finding>),
    /// A pod in a manifest. The function returns the messages of the findings.
    Manifest(fn(&ManifestPod<'_>) -> Vec<String>),
}

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
    /// The version of the cluster; `None` if it is not known.
    pub cluster: Option<ClusterVersion>,
}

impl Default for LintLimits {
    fn default() -> Self {
        Self { max_sidecars: 4, budget: BTreeMap::new(), pod_security: Profile::Baseline, cluster: None }
    }
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
    pub(super) fn requested(&self) -> Option<Result<Vec<RequestItem<'m>>, String>> {
        let key = self.keys.request.as_str();
        match request::parse(key, self.metadata["annotations"][key].as_str()?, Dialect::Own) {
            Ok(Selection::Templates(items)) => Some(Ok(items)),
            Ok(_) => None,
            Err(why) => Some(Err(why)),
        }
    }
}

/// One template, as the checks of rules see it, and the findings of these checks.
pub(super) struct Linter<'l> {
    pub(super) source: &'l Source<'l>,
    pub(super) node: &'l Node,
    pub(super) template: &'l Template,
    pub(super) limits: &'l LintLimits,
    /// The current rule.
    pub(super) rule: &'static Rule,
    pub(super) findings: Vec<Finding>,
}

impl Linter<'_> {
    /// Adds a finding of the current rule at `span`.
    pub(super) fn find(&mut self, span: Span, message: impl Into<String>) {
        self.push(self.source.error(span, message));
    }

    /// Adds a finding of the current rule.
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.findings.push(Finding::new(self.rule, diagnostic, &self.template.name));
    }
}
