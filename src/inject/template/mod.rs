//! A template: one document, checked and compiled. Everything that is the same for every pod becomes JSON bytes here, once,
//! so that a request only copies it. A template does not know pods or catalogs.

pub mod auto_inject;
pub(crate) mod body;
pub mod fields;
pub mod parameter;
pub mod pod_security;
pub mod reference;
pub mod selector;
pub mod words;

use std::sync::Arc;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::inject::diagnostic::{Diagnostic, LocatedError, Source};
use crate::inject::document::yaml;
use crate::inject::expr::paths::Paths;
use crate::inject::expr::{Expression, Reads, Scope};
use crate::inject::settings::keys::Keys;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::body::Body;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::fields::Reading;
use crate::inject::template::parameter::Parameter;
use crate::inject::template::pod_security::Profile;
use crate::inject::template::selector::Selector;
use crate::inject::template::words::{HostNetwork, Mode, OnConflict, OnProblem, Position};

/// What is added to a pod under one name.
#[derive(Debug, Default)]
pub struct Template {
    /// Its name, a DNS-1123 label.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// One line for people.
    pub description: Option<String>,
    /// Whether sidecars are native or plain containers.
    pub mode: Mode,
    /// Where its containers go; `None` is the default of each list.
    pub position: Option<Position>,
    /// What a problem means for the pod; `None` depends on who chose the template.
    pub on_problem: Option<OnProblem>,
    /// Whether pods on the host's network may have it.
    pub host_network: HostNetwork,
    /// Which pods it chooses itself.
    pub auto_inject: Option<AutoInject>,
    /// Problems always deny, and `false` does not stop its `autoInject`.
    pub required: bool,
    /// Namespaces whose pods may ask for it; without requirements all.
    pub allowed_namespaces: Selector,
    /// What is done where the pod has something already.
    pub on_conflict: OnConflict,
    /// What pods may choose.
    pub parameters: Vec<Parameter>,
    variables: Vec<(String, Expression)>,
    body: Body,
    paths: Paths,
    /// What is added, where it is the same for every pod.
    constant: Option<Arc<Additions>>,
    /// What its source is held to.
    pub profile: Profile,
    /// Rules of lint that it breaks on purpose.
    silenced: Vec<String>,
    /// Expressions where a profile other than privileged allows none.
    pub(crate) sensitive: Vec<Diagnostic>,
    /// Identifies everything above that affects a pod: 16 hexadecimal digits.
    pub hash: String,
}

/// A template and the warnings of its text.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled template.
    pub template: Template,
    /// Probable mistakes.
    pub warnings: Vec<Diagnostic>,
}

impl Template {
    /// Reads one template document. `default_name` names it if the document does not; `keys` are the installation's.
    ///
    /// # Errors
    /// Every error in the document, each with its place. A document with an error is not used.
    pub fn load(source: &Source<'_>, default_name: &str, keys: &Keys) -> Result<Loaded, Vec<Diagnostic>> {
        let document = yaml::parse(source).map_err(|error| vec![error])?;
        let Reading { checker, mut template, .. } = Reading::of(&document, default_name, keys);
        let diagnostics = |errors: Vec<LocatedError>| errors.into_iter().map(|error| source.diagnostic(error));
        if !checker.errors.is_empty() {
            return Err(diagnostics(checker.errors).collect());
        }
        let sensitive = template.body.sensitive_expressions().map(|(span, field)| {
            source.error(span, format!("an expression in {field} is only for templates of the profile privileged"))
        });
        template.sensitive = sensitive.collect();
        Ok(Loaded { template, warnings: diagnostics(checker.warnings).map(Diagnostic::warning).collect() })
    }

    /// The names of the declared parameters, each with true if it is a map.
    pub(crate) fn declared(&self) -> Vec<(&str, bool)> {
        self.parameters.iter().map(|parameter| (parameter.name.as_str(), parameter.is_map())).collect()
    }

    /// `NAME` or `NAME@VERSION`.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        }
    }

    /// What its expressions read.
    pub(crate) fn reads(&self) -> &Reads {
        &self.body.reads
    }

    /// Whether it breaks a rule of lint on purpose, and says why.
    #[must_use]
    pub fn silences(&self, rule: &str) -> bool {
        self.silenced.iter().any(|silenced| silenced == rule)
    }

    /// The first thing in it, expressions left aside, that a level of the Pod Security Standards does not allow.
    #[must_use]
    pub fn beyond(&self, profile: Profile) -> Option<String> {
        pod_security::violation(profile, &self.body.known(), &Json::Null)
    }

    /// Whether it chooses the pod's ServiceAccount.
    #[must_use]
    pub fn sets_service_account(&self) -> bool {
        self.body.sets("serviceAccountName")
    }

    /// Whether it cannot be decided on without knowing more of a namespace than its name.
    #[must_use]
    pub fn needs_namespaces(&self) -> bool {
        let auto = self.auto_inject.as_ref();
        let condition = auto.and_then(|auto| auto.condition.as_ref());
        self.allowed_namespaces.needs_labels()
            || auto.is_some_and(|auto| auto.namespaces.needs_labels())
            || condition.is_some() && auto.is_some_and(|auto| auto.reads_namespace)
            || self.body.reads.namespace
    }

    /// Kind and name of everything with a name of its own that pods may get, and what is shared under it.
    pub(crate) fn literal_names(&self) -> impl Iterator<Item = (&'static str, String, Option<Json>)> {
        self.body.literal_names()
    }

    /// The names of its containers that every pod gets.
    pub(crate) fn unconditional_containers(&self) -> impl Iterator<Item = &str> {
        self.body.unconditional_containers()
    }

    /// The names of its containers that are spelt out, also of those that only some pods get.
    pub(crate) fn container_names(&self) -> impl Iterator<Item = &str> {
        self.body.container_names()
    }

    /// Whether an expression names one of its containers.
    pub(crate) fn names_containers_by_expression(&self) -> bool {
        self.body.names_containers_by_expression()
    }

    /// Whether it means to share a volume.
    pub(crate) fn shares(&self, volume: &str) -> bool {
        self.body.shares(volume)
    }

    /// The members of the pod that its expressions read.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The variables that its expressions may name.
    pub(crate) fn variables(&self) -> &[(String, Expression)] {
        &self.variables
    }

    /// What is added to any pod, if it is the same for every one.
    pub(crate) fn constant(&self) -> Option<&Arc<Additions>> {
        self.constant.as_ref()
    }

    /// What is added to the pod that `scope` shows.
    ///
    /// # Errors
    /// Every expression that failed, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, object: &Json) -> Result<Additions, Vec<String>> {
        self.body.evaluate(scope, object)
    }
}

/// 16 hexadecimal digits that stand for `text`.
pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
