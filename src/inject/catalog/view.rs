//! What one namespace sees of all templates: the central ones and, where that is switched on, its own. It knows who
//! wins where both have a name.

use serde_json::Value as Json;

use crate::inject::catalog::namespaces::Namespaces;
use crate::inject::catalog::{Catalog, NotFound};
use crate::inject::decision::TemplateOrigin;
use crate::inject::template::Template;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::reference::TemplateRef;

/// The templates of a namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'c> {
    pub(crate) central: &'c Catalog,
    /// The namespace's own.
    pub(crate) own: Option<&'c Catalog>,
    /// Whether the namespace's win.
    pub(crate) prefers_own: bool,
}

impl<'c> View<'c> {
    /// The templates that pods of `namespace` can get.
    pub(crate) fn of(catalog: &'c Catalog, namespace: &str) -> Self {
        let own = catalog.local.get(namespace).map(AsRef::as_ref);
        Self { central: catalog, own, prefers_own: catalog.prefers_local }
    }

    /// The catalog that serves `name`: by name as a whole, all versions. A central template that must reach pods is
    /// never shadowed.
    fn serving(&self, name: &str) -> &'c Catalog {
        match self.own.filter(|own| own.knows(name)) {
            Some(own) if !self.central.knows(name) => own,
            Some(own) if self.prefers_own && !self.central.must_reach(name) => own,
            _ => self.central,
        }
    }

    /// The template asked for.
    ///
    /// # Errors
    /// What is unknown.
    pub(crate) fn get(&self, wanted: TemplateRef<'_>) -> Result<&'c Template, NotFound<'c>> {
        self.serving(wanted.name).get(wanted)
    }

    /// All versions of a template.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = &'c Template> {
        self.serving(name).versions(name)
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Vec<&'c str> {
        let mut names = self.central.names();
        names.extend(self.own.iter().flat_map(|own| own.names()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where the template of that name is from.
    pub(crate) fn origin(&self, name: &str) -> TemplateOrigin {
        match self.serving(name) {
            serving if !serving.has(name) => TemplateOrigin::Unknown,
            serving if std::ptr::eq(serving, self.central) => TemplateOrigin::Central,
            _ => TemplateOrigin::Namespace,
        }
    }

    pub(crate) fn values(&self) -> &'c Json {
        self.central.values()
    }

    pub(crate) fn namespaces(&self) -> &'c Namespaces {
        self.central.namespaces()
    }

    pub(crate) fn auto_inject(&self) -> impl Iterator<Item = (&'c Template, &'c AutoInject)> {
        self.central.auto_inject()
    }
}
