//! Evaluates a template for one pod: reads the pod's parameters, evaluates the expressions, fits the result into the
//! pod, and computes a hash with the parameters and values that were used. This module does not depend on the other
//! templates of the request.

pub(crate) mod parameters;
mod pod_resources;

use crate::inject::catalog::view::View;
use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::expr::{Expression, Roots, Scope};
use crate::inject::review::Request;
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::words::OnConflict;
use crate::inject::template::{self, Template, pod_security};
use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

/// The parts of a request that the expressions of one template can read.
pub(crate) struct Seen<'p> {
    pub(crate) request: &'p Request<'p>,
    pub(crate) catalog: View<'p>,
    /// The members of the pod that the expressions read.
    pub(crate) object: &'p Json,
    /// Every declared parameter; null if it is not set.
    pub(crate) params: &'p Json,
}

impl Seen<'_> {
    /// Calls `evaluate` with the scope of these values and the template's variables.
    pub(crate) fn by<T>(&self, variables: &[(String, Expression)], evaluate: impl FnOnce(&Scope<'_>) -> T) -> T {
        let request = json!({
            "namespace": self.request.namespace.as_str(),
            "operation": self.request.subject.operation.as_str(),
            "dryRun": self.request.dry_run,
        });
        let namespace = self.catalog.namespaces().object(self.request.namespace.as_str());
        let (object, params, values) = (self.object, self.params, self.catalog.values());
        let cluster = self.catalog.cluster();
        let roots = Roots { object, request: &request, params, values, namespace: &namespace, cluster };
        evaluate(&Scope::new(&roots, variables))
    }
}

/// The request and the pod that templates are evaluated for.
pub(crate) struct Evaluation<'p> {
    pub(crate) request: &'p Request<'p>,
    pub(crate) keys: &'p Keys,
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) spec: &'p Spec<'p>,
    pub(crate) catalog: View<'p>,
}

impl<'p> Evaluation<'p> {
    /// Evaluates `template` for the pod.
    ///
    /// # Errors
    /// Parameters that are not valid, expressions that fail, or additions that the profile does not allow.
    pub(crate) fn of(&self, template: &'p Template) -> Result<Ready<'p>, Vec<Problem>> {
        let problems = |reason, fix| {
            move |why: Vec<String>| why.into_iter().map(|what| Problem { reason, what, fix }).collect::<Vec<_>>()
        };
        let params = parameters::values(self.keys, &template.name, &template.parameters, self.metadata)
            .map_err(problems(Reason::InvalidParameter, ""))?;
        if let Some(additions) = template.constant() {
            return self.ready(template, Arc::clone(additions), Cow::Borrowed(&template.hash));
        }
        let reads = template.reads();
        let object = template.paths().read(self.request.document, self.request.at).unwrap_or_default();
        let seen = Seen { request: self.request, catalog: self.catalog, object: &object, params: &params };
        let fix = "Change the template, or the values that its expression reads";
        let additions = seen
            .by(template.variables(), |scope| template.evaluate(scope, &object))
            .map_err(problems(Reason::ExpressionFailed, fix))?;
        let values = self.catalog.values();
        let used = |all: &Json, names: &mut dyn Iterator<Item = &String>| -> Json {
            let pair = |name: &String| (name.clone(), all[name.as_str()].clone());
            Json::Object(names.map(pair).collect::<Map<_, _>>())
        };
        let used_values = if reads.all_values { values.clone() } else { used(values, &mut reads.values.iter()) };
        let used_params = used(&params, &mut reads.parameters.iter());
        let hash = if reads.parameters.is_empty() && reads.values.is_empty() && !reads.all_values {
            Cow::Borrowed(template.hash.as_str())
        } else {
            let mut used = json!([template.hash, used_params, used_values]);
            used.sort_all_objects();
            Cow::Owned(template::hash(&used.to_string()))
        };
        self.ready(template, Arc::new(additions), hash)
    }

    /// Fits the evaluated template into the pod.
    ///
    /// # Errors
    /// A violation of the profile of the template's source.
    fn ready(
        &self,
        template: &'p Template,
        additions: Arc<Additions>,
        hash: Cow<'p, str>,
    ) -> Result<Ready<'p>, Vec<Problem>> {
        let read = |json: Option<&RawValue>| json.and_then(|json| serde_json::from_str::<Json>(json.get()).ok());
        let context = read(self.spec.security_context).unwrap_or_default();
        if let Some(why) = pod_security::violation(template.profile, &additions, &context) {
            let what = format!("{why}, which the profile {} does not allow", template.profile.as_str());
            let fix = "Change the template, or the profile that applies to its source";
            return Err(vec![Problem { reason: Reason::NotAllowed, what, fix }]);
        }
        let on_conflict = template.on_conflict;
        let fitted = read(self.spec.resources).and_then(|resources| pod_resources::fit(&additions, &resources));
        Ok(match fitted {
            Some((additions, changes)) => {
                Ready { template, additions: Arc::new(additions), hash, changes, on_conflict, verifies: false }
            }
            None => Ready { template, additions, hash, changes: Vec::new(), on_conflict, verifies: false },
        })
    }
}

/// A template evaluated for the pod.
#[derive(Debug)]
pub(crate) struct Ready<'c> {
    pub(crate) template: &'c Template,
    pub(crate) additions: Arc<Additions>,
    /// The template's hash, with the parameters and values that were used.
    pub(crate) hash: Cow<'c, str>,
    /// Differences from the template that the pod requires, each a sentence without full stop.
    pub(crate) changes: Vec<String>,
    /// The behavior if the pod already has an item.
    pub(crate) on_conflict: OnConflict,
    /// True if the pod already has a part of the additions. Then a text is not appended to a variable that ends with
    /// it.
    pub(crate) verifies: bool,
}
