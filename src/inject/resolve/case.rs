//! One pod with the inputs that resolving its templates needs: the request, the catalog and the settings.

use crate::inject::catalog::view::View;
use crate::inject::evaluate::Evaluation;
use crate::inject::plan::PodContext;
use crate::inject::review::Request;
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::settings::{Embedding, Settings};
use crate::inject::template::reference::TemplateRef;

/// A pod that requests templates.
pub(crate) struct Case<'p> {
    pub(crate) request: &'p Request<'p>,
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) spec: &'p Spec<'p>,
    pub(crate) catalog: View<'p>,
    pub(crate) settings: &'p Settings,
    pub(crate) origin: RequestOrigin<'p>,
}

/// The place where the author of the pod changes its annotations.
pub(crate) struct RequestOrigin<'p> {
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) embedding: &'p Embedding,
}

impl RequestOrigin<'_> {
    /// The sentence that names the place of the request, e.g. `Change spec.template.metadata.annotations.`
    pub(crate) fn fix(&self) -> String {
        let path = if self.embedding.pointer.is_empty() {
            let owned = self.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
            if owned { "spec.template.".to_owned() } else { String::new() }
        } else {
            format!("{}.", self.embedding.pointer[1..].replace('/', "."))
        };
        format!("Change {path}metadata.annotations.")
    }
}

/// The contents of a status, compared with the templates of the catalog.
pub(super) struct StatusFacts<'s> {
    /// Sidecars: containers of other injectors, and containers that templates of the catalog have added.
    pub(super) foreign: Vec<&'s str>,
    /// All containers that the status lists. A status can be forged.
    pub(super) unconfirmed: Vec<&'s str>,
    /// Volumes of the status that templates share.
    pub(super) shared: Vec<&'s str>,
}

impl<'p> Case<'p> {
    /// The inputs for evaluating templates for the pod.
    pub(super) fn evaluation(&self) -> Evaluation<'p> {
        Evaluation {
            request: self.request,
            keys: &self.settings.keys,
            metadata: self.metadata,
            spec: self.spec,
            catalog: self.catalog,
        }
    }

    /// The pod as the input of a plan.
    pub(super) fn pod_context<'r>(&'r self, listed: &'r StatusFacts<'r>) -> PodContext<'r> {
        PodContext {
            request: self.request,
            shared: &listed.shared,
            metadata: self.metadata,
            spec: self.spec,
            foreign: &listed.foreign,
            listed: &listed.unconfirmed,
            of_job: self.origin.embedding.of_job || self.metadata.is_of_job(),
            claims: &self.origin.embedding.claims,
        }
    }

    /// Returns true if the version of the template that a request without version selects is required.
    pub(super) fn is_required(&self, name: &str) -> bool {
        self.catalog.get(TemplateRef { name, version: None }).is_ok_and(|serving| serving.required)
    }
}
