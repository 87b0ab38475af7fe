//! The catalog: the immutable set of compiled templates that requests are answered from, found by name
//! and version. It must not know where templates come from; [`Sources`](super::sources::Sources) does.

pub mod namespaces;
pub mod sources;
mod version;
pub(crate) mod view;

use crate::inject::EntryPoint;
use crate::inject::catalog::namespaces::Namespaces;
use crate::inject::catalog::version::compare;
use crate::inject::template::Template;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::reference::TemplateRef;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

/// Templates by name, and what is known of names that have none.
#[derive(Debug, Default)]
pub struct Catalog {
    templates: HashMap<String, Versions>,
    /// Name -> why its template is broken, for names without a usable one.
    broken: BTreeMap<String, String>,
    /// Shared values: an object of strings.
    values: Json,
    namespaces: Arc<Namespaces>,
    /// Templates of the pods' own namespaces, and whether those win over central ones.
    local: BTreeMap<String, Arc<Catalog>>,
    prefers_local: bool,
    /// Names of templates that choose pods themselves, sorted.
    auto: Vec<String>,
}

/// All versions of one name.
#[derive(Debug, Default)]
struct Versions {
    unversioned: Option<Arc<Template>>,
    /// Ascending in the order of `sort -V`.
    versioned: Vec<Arc<Template>>,
}

/// Why a look-up found nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum NotFound<'c> {
    /// No template of that name.
    Name {
        /// Why the one that would have the name is broken.
        broken: Option<&'c str>,
    },
    /// The name exists, the version does not.
    Version {
        /// What exists, highest first; `None` is the document without a version.
        known: Vec<Option<&'c str>>,
    },
}

impl Catalog {
    /// A catalog of these templates. Of two with equal name and version the first counts.
    #[must_use]
    pub fn new(templates: impl IntoIterator<Item = Arc<Template>>, broken: BTreeMap<String, String>) -> Self {
        let mut by_name: HashMap<String, Versions> = HashMap::new();
        for template in templates {
            let versions = by_name.entry(template.name.clone()).or_default();
            match &template.version {
                None => {
                    versions.unversioned.get_or_insert(template);
                }
                Some(version) => {
                    let order = |other: &Arc<Template>| compare(other.version.as_deref().unwrap_or(""), version);
                    if let Err(at) = versions.versioned.binary_search_by(order) {
                        versions.versioned.insert(at, template);
                    }
                }
            }
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

    /// The same with what is known of namespaces.
    #[must_use]
    pub fn with_namespaces(self, namespaces: Arc<Namespaces>) -> Self {
        Self { namespaces, ..self }
    }

    /// The same with templates of the pods' own namespaces; `prefer` lets them win over central ones.
    #[must_use]
    pub fn with_local(self, local: BTreeMap<String, Arc<Self>>, prefer: bool) -> Self {
        Self { local, prefers_local: prefer, ..self }
    }

    /// Whether there is a template of that name, or a broken one.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.templates.contains_key(name) || self.broken.contains_key(name)
    }

    /// Whether a template of that name must reach pods whatever others say.
    pub(crate) fn must_reach(&self, name: &str) -> bool {
        let must = |template: &Arc<Template>| template.required || template.auto_inject.is_some();
        self.templates.get(name).is_some_and(|all| all.versioned.iter().chain(&all.unversioned).any(must))
    }

    /// What is known of namespaces.
    #[must_use]
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Whether a decision may depend on the namespace.
    #[must_use]
    pub fn needs_namespaces(&self, entry: EntryPoint) -> bool {
        let needs = |template: &Arc<Template>| template.needs_namespaces();
        let all = |versions: &Versions| versions.versioned.iter().chain(&versions.unversioned).any(needs);
        entry == EntryPoint::Policy || self.templates.values().any(all)
    }

    /// The templates that choose pods themselves, by name, in the version that an unversioned request means.
    pub(crate) fn auto_inject(&self) -> impl Iterator<Item = (&Template, &AutoInject)> {
        self.auto.iter().filter_map(|name| {
            let template = self.get(TemplateRef { name, version: None }).ok()?;
            Some((template, template.auto_inject.as_ref()?))
        })
    }

    /// The same with shared values.
    #[must_use]
    pub fn with_values(self, values: &BTreeMap<String, String>) -> Self {
        let values = values.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str()))).collect();
        Self { values: Json::Object(values), ..self }
    }

    /// The shared values: an object of strings.
    pub(crate) fn values(&self) -> &Json {
        &self.values
    }

    /// The template asked for. Without a version: the document without one, else the highest.
    ///
    /// # Errors
    /// What is unknown.
    pub fn get(&self, wanted: TemplateRef<'_>) -> Result<&Template, NotFound<'_>> {
        let Some(versions) = self.templates.get(wanted.name) else {
            return Err(NotFound::Name { broken: self.broken.get(wanted.name).map(String::as_str) });
        };
        let found = match wanted.version {
            None => versions.unversioned.as_ref().or(versions.versioned.last()),
            Some(version) => versions.versioned.iter().find(|template| template.version.as_deref() == Some(version)),
        };
        found.map(Arc::as_ref).ok_or_else(|| {
            let mut known: Vec<Option<&str>> = versions.versioned.iter().rev().map(|t| t.version.as_deref()).collect();
            known.extend(versions.unversioned.as_ref().map(|_| None));
            NotFound::Version { known }
        })
    }

    /// All versions of a template.
    pub(crate) fn versions(&self, name: &str) -> impl Iterator<Item = &Template> {
        let versions = self.templates.get(name);
        versions.into_iter().flat_map(|all| all.versioned.iter().chain(&all.unversioned)).map(Arc::as_ref)
    }

    /// Whether there is a template of that name, in any version.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// All names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.templates.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// How many templates there are, each version counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.templates.values().map(|v| v.versioned.len() + usize::from(v.unversioned.is_some())).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }
}
