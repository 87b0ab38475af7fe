//! The templates that one namespace can use: the central templates and, if namespace templates are enabled, its own.
//! This module decides which template takes precedence if both catalogs have the name. It does not know about pods.

use serde_json::Value as Json;

use crate::inject::catalog::namespaces::Namespaces;
use crate::inject::catalog::{Catalog, NotFound};
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::decision::TemplateOrigin;
use crate::inject::template::Template;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::reference::TemplateRef;

/// The templates that pods of one namespace can use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'c> {
    /// The central templates.
    pub(crate) central: &'c Catalog,
    /// The templates of the namespace; `None` if it does not have any.
    pub(crate) own: Option<&'c Catalog>,
    /// True if the templates of the namespace take precedence.
    pub(crate) prefers_own: bool,
}

impl<'c> View<'c> {
    /// The templates of `catalog` alone.
    pub(crate) fn central(catalog: &'c Catalog) -> Self {
        Self { central: catalog, own: None, prefers_own: false }
    }

    /// The templates that pods of `namespace` can use.
    pub(crate) fn of(catalog: &'c Catalog, namespace: &str) -> Self {
        let own = catalog.local.get(namespace).map(AsRef::as_ref);
        Self { central: catalog, own, prefers_own: catalog.prefers_local }
    }

    /// The catalog that serves all versions of `name`. A template of a namespace never overrides a central template
    /// that is required or has `autoInject`.
    pub(super) fn serving(&self, name: &str) -> &'c Catalog {
        match self.own.filter(|own| own.knows(name)) {
            Some(own) if !self.central.knows(name) => own,
            Some(own) if self.prefers_own && !self.central.must_reach(name) => own,
            _ => self.central,
        }
    }

    /// Finds a template; see [`Catalog::get`].
    ///
    /// # Errors
    /// [`NotFound`] as in [`Catalog::get`].
    pub(crate) fn get(&self, wanted: TemplateRef<'_>) -> Result<&'c Template, NotFound<'c>> {
        self.serving(wanted.name).get(wanted)
    }

    /// All versions of a template.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = &'c Template> {
        self.serving(name).versions(name)
    }

    /// The names of all templates, sorted.
    pub(crate) fn names(&self) -> Vec<&'c str> {
        let mut names = self.central.names();
        names.extend(self.own.iter().flat_map(|own| own.names()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The origin of the template of that name.
    pub(crate) fn origin(&self, name: &str) -> TemplateOrigin {
        match self.serving(name) {
            serving if !serving.has(name) => TemplateOrigin::Unknown,
            serving if std::ptr::eq(serving, self.central) => TemplateOrigin::Central,
            _ => TemplateOrigin::Namespace,
        }
    }

    /// The version of the cluster; `None` if it is not known.
    pub(crate) fn cluster(&self) -> Option<ClusterVersion> {
        self.central.cluster()
    }

    /// The shared values: an object of strings.
    pub(crate) fn values(&self) -> &'c Json {
        self.central.values()
    }

    /// The known namespaces.
    pub(crate) fn namespaces(&self) -> &'c Namespaces {
        self.central.namespaces()
    }

    /// The central templates with `autoInject`, by name; see [`Catalog::auto_inject`].
    pub(crate) fn auto_inject(&self) -> impl Iterator<Item = (&'c Template, &'c AutoInject)> {
        self.central.auto_inject()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::inject::diagnostic::Source;
    use crate::inject::settings::keys::Keys;

    /// `required` is read from the version that a request without a version gets.
    #[test]
    fn only_the_serving_version_keeps_namespaces_from_replacing_a_template() {
        let load = |text: &str| {
            Arc::new(Template::load(&Source::new("t", text), "logs", &Keys::default()).expect(text).template)
        };
        let of = |texts: &[&str]| Catalog::new(texts.iter().map(|text| load(text)), BTreeMap::new());
        for (central, expected) in [
            (&["version: '1'\nrequired: true"][..], TemplateOrigin::Central),
            (&["version: '1'\nrequired: true", "version: 2-rc1"], TemplateOrigin::Central),
            (&["version: '1'", "version: 2-rc1\nrequired: true"], TemplateOrigin::Namespace),
            (&["version: 2-rc1\nrequired: true"], TemplateOrigin::Namespace),
            (&["version: '1'", "version: 2-rc1\nrequired: true\ndefault: true"], TemplateOrigin::Central),
        ] {
            let local = BTreeMap::from([("ns".to_owned(), Arc::new(of(&["description: own"])))]);
            let catalog = of(central).with_local(local, true);
            assert_eq!(View::of(&catalog, "ns").origin("logs"), expected, "{central:?}");
        }
    }
}
