//! A template: one document, checked and compiled. Everything that is the same for every pod becomes JSON bytes here,
//! once, so that a request only copies it. This module does not know about pods or catalogs.

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

use crate::inject::cluster_version::ClusterVersion;
use crate::inject::diagnostic::{Diagnostic, Severity, Source};
use crate::inject::expr::paths::Paths;
use crate::inject::expr::types::Type;
use crate::inject::expr::{DeclaredParameter, Expression, Reads, Scope, Vocabulary};
use crate::inject::kube::gates::{self, GateUse};
use crate::inject::kube::schema;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::body::Body;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::parameter::{Parameter, ParameterType, ScalarType};
use crate::inject::template::pod_security::Profile;
use crate::inject::template::selector::Selector;
use crate::inject::template::words::{HostNetwork, Mode, OnConflict, OnProblem, Position};

/// A compiled template: the items that are added to a pod under one name.
#[derive(Debug, Default)]
pub struct Template {
    /// The name, a DNS-1123 label.
    pub name: String,
    /// The version; `None` for a document without one.
    pub version: Option<String>,
    /// True if a request without a version gets this version, whatever its place among the versions.
    pub is_default: bool,
    /// A one-line description.
    pub description: Option<String>,
    /// How sidecars run: as native sidecars or as plain containers.
    pub mode: Mode,
    /// The place of its containers in their list; `None` is the default of each list.
    pub position: Option<Position>,
    /// The effect of a problem on the pod; with `None` it depends on who chose the template.
    pub on_problem: Option<OnProblem>,
    /// The rule for pods on the host's network.
    pub host_network: HostNetwork,
    /// The pods that get it without a request.
    pub auto_inject: Option<AutoInject>,
    /// True if problems always deny the pod, and `false` on the pod does not stop `autoInject`.
    pub required: bool,
    /// The namespaces whose pods may request it; an empty selector allows all.
    pub allowed_namespaces: Selector,
    /// The behavior if the pod already has an item.
    pub on_conflict: OnConflict,
    /// The values that pods may set.
    pub parameters: Vec<Parameter>,
    variables: Vec<(String, Expression)>,
    body: Body,
    paths: Paths,
    /// The additions, if they are the same for every pod.
    constant: Option<Arc<Additions>>,
    /// The Pod Security level that applies to templates of its source.
    pub profile: Profile,
    /// Ids of the lint rules that it silences with a reason.
    silenced: Vec<String>,
    /// Expressions in fields where only the profile privileged allows them.
    pub(crate) sensitive: Vec<Diagnostic>,
    /// Values that need a version of Kubernetes or a feature gate.
    gates: Vec<GateUse>,
    /// Identifies all fields that affect what a pod gets: 16 hexadecimal digits.
    pub hash: String,
}

impl Template {
    /// The errors and warnings about values that need another version than that of the cluster, or a feature gate. They
    /// are in `source`, from which the template was loaded.
    #[must_use]
    pub fn faults(&self, source: &Source<'_>, cluster: Option<ClusterVersion>) -> Vec<Diagnostic> {
        let diagnostic = |(severity, error)| match severity {
            Severity::Error => source.diagnostic(error),
            Severity::Warning => source.diagnostic(error).warning(),
        };
        gates::faults(&self.gates, cluster).into_iter().map(diagnostic).collect()
    }

    /// The declared parameters, with the types of their values in expressions.
    pub(crate) fn declared(&self) -> Vec<DeclaredParameter<'_>> {
        let parameters = self.parameters.iter();
        parameters
            .map(|parameter| DeclaredParameter {
                name: &parameter.name,
                kind: type_of(parameter.kind),
                default: &parameter.default,
            })
            .collect()
    }

    /// The names that expressions can use, with their types. `parameters` is from [`Self::declared`].
    pub(crate) fn vocabulary<'t>(&'t self, parameters: &'t [DeclaredParameter<'t>]) -> Vocabulary<'t> {
        Vocabulary { parameters, variables: &self.variables, container: false, objects: schema::objects() }
    }

    /// `NAME` or `NAME@VERSION`.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        }
    }

    /// Everything that its expressions read.
    pub(crate) fn reads(&self) -> &Reads {
        &self.body.reads
    }

    /// Returns true if it silences the lint rule with the id `rule`, with a reason.
    #[must_use]
    pub fn silences(&self, rule: &str) -> bool {
        self.silenced.iter().any(|silenced| silenced == rule)
    }

    /// The first violation of a level of the Pod Security Standards, a clause such as `the container a is privileged`.
    /// Values that only expressions set are not checked.
    #[must_use]
    pub fn beyond(&self, profile: Profile) -> Option<String> {
        pod_security::violation(profile, &self.body.known(), &Json::Null)
    }

    /// Returns true if it sets the pod's ServiceAccount.
    #[must_use]
    pub fn sets_service_account(&self) -> bool {
        self.body.sets("serviceAccountName")
    }

    /// Returns true if a decision about it needs labels or annotations of a namespace, not only its name.
    #[must_use]
    pub fn needs_namespaces(&self) -> bool {
        let auto = self.auto_inject.as_ref();
        let condition = auto.and_then(|auto| auto.condition.as_ref());
        self.allowed_namespaces.needs_labels()
            || auto.is_some_and(|auto| auto.namespaces.needs_labels())
            || condition.is_some() && auto.is_some_and(|auto| auto.reads_namespace)
            || self.body.reads.namespace
    }

    /// The containers and volumes whose names are written literally: kind, name, and the JSON of a shared volume.
    pub(crate) fn literal_names(&self) -> impl Iterator<Item = (&'static str, String, Option<Json>)> {
        self.body.literal_names()
    }

    /// The names of its containers that every pod gets.
    pub(crate) fn unconditional_containers(&self) -> impl Iterator<Item = &str> {
        self.body.unconditional_containers()
    }

    /// The names of its containers that are written literally, including containers with a condition.
    pub(crate) fn container_names(&self) -> impl Iterator<Item = &str> {
        self.body.container_names()
    }

    /// Returns true if an expression names one of its containers.
    pub(crate) fn names_containers_by_expression(&self) -> bool {
        self.body.names_containers_by_expression()
    }

    /// Returns true if its volume of that name is shared with other templates.
    pub(crate) fn shares(&self, volume: &str) -> bool {
        self.body.shares(volume)
    }

    /// The paths of the pod that its expressions read.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The variables that its expressions can use: name and expression, in order.
    pub(crate) fn variables(&self) -> &[(String, Expression)] {
        &self.variables
    }

    /// The additions, if they are the same for every pod.
    pub(crate) fn constant(&self) -> Option<&Arc<Additions>> {
        self.constant.as_ref()
    }

    /// Evaluates the additions for one pod. `scope` holds the values that expressions can read; `object` holds the
    /// members of the pod that they read.
    ///
    /// # Errors
    /// Every expression that failed, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, object: &Json) -> Result<Additions, Vec<String>> {
        self.body.evaluate(scope, object)
    }
}

/// The type of the values of a parameter. Quantities and durations are strings, as the pod writes them.
fn type_of(kind: ParameterType) -> Type {
    let scalar = |scalar: ScalarType| match scalar {
        ScalarType::String | ScalarType::Quantity | ScalarType::Duration => Type::String,
        ScalarType::Integer => Type::Int,
        ScalarType::Number => Type::Double,
        ScalarType::Boolean => Type::Bool,
    };
    match kind {
        ParameterType::One(kind) => scalar(kind),
        ParameterType::List(kind) => Type::list(scalar(kind)),
        ParameterType::Map(kind) => Type::map(scalar(kind)),
    }
}

/// Hashes `text`: the first 8 bytes of its SHA-256 as 16 hexadecimal digits.
pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
