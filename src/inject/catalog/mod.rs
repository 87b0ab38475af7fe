//! The catalog: the immutable set of compiled templates for requests, found by name and version. This module does not
//! depend on where templates come from; [`sources`] does.

pub mod changes;
pub mod definitions;
pub mod holder;
pub mod namespaces;
pub mod sources;
mod version;
pub(crate) mod view;

use crate::inject::catalog::definitions::{Definition, Duplicate, settle};
use crate::inject::catalog::namespaces::Namespaces;
use crate::inject::catalog::version::{Rank, compare};
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::settings::EntryPoint;
use crate::inject::template::Template;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::reference::TemplateRef;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

/// Templates by name, the errors of broken templates, shared values, and the known namespaces.
#[derive(Debug, Default)]
pub struct Catalog {
    templates: HashMap<String, Versions>,
    /// The error of each broken template, by name, for names without a usable template.
    broken: BTreeMap<String, String>,
    /// Shared values: an object of strings.
    values: Json,
    namespaces: Arc<Namespaces>,
    /// The version of the cluster; `None` if it is not known.
    cluster: Option<ClusterVersion>,
    /// Templates of the pods' own namespaces, by namespace.
    local: BTreeMap<String, Arc<Catalog>>,
    /// True if templates of namespaces take precedence over central ones.
    prefers_local: bool,
    /// Names of templates with `autoInject`, sorted.
    auto: Vec<String>,
    /// The definitions of the templates, from the oldest to the newest, including those that do not serve.
    definitions: Vec<Definition>,
}

/// All versions of one template.
#[derive(Debug, Default)]
struct Versions {
    unversioned: Option<Arc<Template>>,
    /// In ascending order.
    versioned: Vec<Arc<Template>>,
    /// The version that a request without a version gets; `None` if all versions are pre-releases.
    serving: Option<Arc<Template>>,
}

impl Versions {
    /// Adds a version, unless it is there already. The first of two defaults serves.
    fn add(&mut self, template: Arc<Template>) {
        match &template.version {
            None if self.unversioned.is_some() => return,
            None => self.unversioned = Some(Arc::clone(&template)),
            Some(version) => {
                let order = |other: &Arc<Template>| compare(other.version.as_deref().unwrap_or(""), version);
                let Err(at) = self.versioned.binary_search_by(order) else { return };
                self.versioned.insert(at, Arc::clone(&template));
            }
        }
        if rank(&template) > self.serving.as_deref().and_then(rank) {
            self.serving = Some(template);
        }
    }
}

/// How a template competes for requests without a version.
fn rank(template: &Template) -> Option<Rank<'_>> {
    Rank::of(template.version.as_deref(), template.is_default)
}

/// The cause why a lookup found no template.
#[derive(Debug, PartialEq, Eq)]
pub enum NotFound<'c> {
    /// There is no template of that name.
    Name {
        /// The error of the broken template of that name; `None` if there is no such template.
        broken: Option<&'c str>,
    },
    /// The name exists, but the version does not.
    Version {
        /// The versions that exist, highest first; `None` is the document without a version.
        known: Vec<Option<&'c str>>,
    },
    /// The request does not set a version, and all versions are pre-releases.
    OnlyPreReleases {
        /// The versions, highest first.
        known: Vec<&'c str>,
    },
}

impl Catalog {
    /// Creates a catalog of `templates`. Of two templates with the same name and version, and of two
    /// defaults, the first serves. `broken` is the error of each broken template, by name.
    ///
    /// ```
    /// use sidecar_injector::inject::catalog::Catalog;
    /// use sidecar_injector::inject::diagnostic::Source;
    /// use sidecar_injector::inject::settings::keys::Keys;
    /// use sidecar_injector::inject::template::Template;
    /// use sidecar_injector::inject::template::reference::TemplateRef;
    ///
    /// let load = |version: &str| {
    ///     let text = format!("version: '{version}'\nsidecars: [{{name: logs, image: 'logs:{version}'}}]");
    ///     Template::load(&Source::new("logs.yaml", &text), "logs", &Keys::default()).unwrap().template.into()
    /// };
    /// let catalog = Catalog::new([load("1.9"), load("1.10")], Default::default());
    /// // A request without a version gets the highest release.
    /// let template = catalog.get(TemplateRef { name: "logs", version: None }).unwrap();
    /// assert_eq!(template.display(), "logs@1.10");
    /// assert!(catalog.get(TemplateRef { name: "logs", version: Some("2") }).is_err());
    /// ```
    #[must_use]
    pub fn new(templates: impl IntoIterator<Item = Arc<Template>>, broken: BTreeMap<String, String>) -> Self {
        let mut by_name: HashMap<String, Versions> = HashMap::new();
        for template in templates {
            by_name.entry(template.name.clone()).or_default().add(template);
        }
        let mut catalog = Self { templates: by_name, broken, values: Json::Object(Map::new()), ..Self::default() };
        let serves = |name: &&String| {
            let template = catalog.get(TemplateRef { name, version: None });
            template.is_ok_and(|template| template.auto_inject.is_some())
        };
        let mut auto: Vec<String> = catalog.templates.keys().filter(serves).cloned().collect();
        auto.sort_unstable();
        catalog.auto = auto;
        catalog
    }

    /// Creates a catalog of `definitions`, which are sorted from the oldest to the newest. Also returns their clashes.
    pub(crate) fn of_definitions(
        definitions: Vec<Definition>,
        broken: BTreeMap<String, String>,
    ) -> (Self, Vec<Duplicate>) {
        let documents: Vec<_> = definitions.iter().map(Definition::document).collect();
        let settled = settle(&documents);
        let served = settled.served.iter().map(|at| Arc::clone(&definitions[*at].template));
        let catalog = Self::new(served, broken);
        (Self { definitions, ..catalog }, settled.clashes)
    }

    /// The definitions of the templates, from the oldest to the newest, including those that do not serve.
    pub(crate) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Returns the catalog with the known namespaces.
    #[must_use]
    pub fn with_namespaces(self, namespaces: Arc<Namespaces>) -> Self {
        Self { namespaces, ..self }
    }

    /// Returns the catalog with templates of the pods' own namespaces, by namespace. If `prefer` is true, they take
    /// precedence over central templates.
    #[must_use]
    pub fn with_local(self, local: BTreeMap<String, Arc<Self>>, prefer: bool) -> Self {
        Self { local, prefers_local: prefer, ..self }
    }

    /// Returns true if there is a template of that name, usable or broken.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.templates.contains_key(name) || self.broken.contains_key(name)
    }

    /// Returns true if the template is required or has `autoInject` in the version that a request without a version
    /// gets, so that no other template can replace it.
    pub(crate) fn must_reach(&self, name: &str) -> bool {
        let serving = self.get(TemplateRef { name, version: None });
        serving.is_ok_and(|template| template.required || template.auto_inject.is_some())
    }

    /// The known namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Returns true if a decision at the entry point can depend on labels or annotations of the namespace.
    #[must_use]
    pub fn needs_namespaces(&self, entry: EntryPoint) -> bool {
        let needs = |template: &Arc<Template>| template.needs_namespaces();
        let all = |versions: &Versions| versions.versioned.iter().chain(&versions.unversioned).any(needs);
        entry == EntryPoint::Policy || self.templates.values().any(all)
    }

    /// The templates with `autoInject`, by name, each in the version that a request without a version gets.
    pub(crate) fn auto_inject(&self) -> impl Iterator<Item = (&Template, &AutoInject)> {
        self.auto.iter().filter_map(|name| {
            let template = self.get(TemplateRef { name, version: None }).ok()?;
            Some((template, template.auto_inject.as_ref()?))
        })
    }

    /// Returns the catalog with shared values.
    #[must_use]
    pub fn with_values(self, values: &BTreeMap<String, String>) -> Self {
        let values = values.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str()))).collect();
        Self { values: Json::Object(values), ..self }
    }

    /// Returns the catalog for a cluster of this version; `None` if it is not known.
    #[must_use]
    pub fn with_cluster(self, cluster: Option<ClusterVersion>) -> Self {
        Self { cluster, ..self }
    }

    /// The version of the cluster; `None` if it is not known.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterVersion> {
        self.cluster
    }

    /// The shared values: an object of strings.
    pub(crate) fn values(&self) -> &Json {
        &self.values
    }

    /// Finds a template. Without a version: the document with `default: true`, else the document without a version,
    /// else the highest release.
    ///
    /// # Errors
    /// [`NotFound`] if the name or the version is unknown, or the reference does not set a version and there are only
    /// pre-releases.
    pub fn get(&self, wanted: TemplateRef<'_>) -> Result<&Template, NotFound<'_>> {
        let Some(versions) = self.templates.get(wanted.name) else {
            return Err(NotFound::Name { broken: self.broken.get(wanted.name).map(String::as_str) });
        };
        let highest_first = || versions.versioned.iter().rev().map(|template| template.version.as_deref());
        let Some(version) = wanted.version else {
            let only_pre_releases = || NotFound::OnlyPreReleases { known: highest_first().flatten().collect() };
            return versions.serving.as_deref().ok_or_else(only_pre_releases);
        };
        let found = versions.versioned.iter().find(|template| template.version.as_deref() == Some(version));
        found.map(Arc::as_ref).ok_or_else(|| {
            let unversioned = versions.unversioned.iter().map(|_| None);
            NotFound::Version { known: highest_first().chain(unversioned).collect() }
        })
    }

    /// All versions of a template in ascending order, then the document without a version.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = &Template> {
        let versions = self.templates.get(name);
        versions.into_iter().flat_map(|all| all.versioned.iter().chain(&all.unversioned)).map(Arc::as_ref)
    }

    /// Returns true if there is a usable template of that name, in any version.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// The names of all usable templates, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.templates.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The number of templates. Each version counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.templates.values().map(|v| v.versioned.len() + usize::from(v.unversioned.is_some())).sum()
    }

    /// Returns true if there are no templates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }
}
