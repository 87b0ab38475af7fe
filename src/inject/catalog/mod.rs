//! The catalog: the immutable set of compiled templates that requests are answered from, found by name
//! and version. It must not know where templates come from; [`Sources`](super::sources::Sources) does.

pub mod namespaces;
pub mod sources;
pub(crate) mod view;

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::inject::Entry;
use crate::inject::catalog::namespaces::Namespaces;
use crate::inject::catalog::view::View;
use crate::inject::select::request::TemplateRef;
use crate::inject::template::{AutoInject, Template};

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
pub enum Unknown<'c> {
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

    /// What `namespace` sees.
    pub(crate) fn view(&self, namespace: &str) -> View<'_> {
        let own = self.local.get(namespace).map(AsRef::as_ref);
        View { central: self, own, prefers_own: self.prefers_local }
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
    pub fn needs_namespaces(&self, entry: Entry) -> bool {
        let needs = |template: &Arc<Template>| template.needs_namespaces();
        let all = |versions: &Versions| versions.versioned.iter().chain(&versions.unversioned).any(needs);
        entry == Entry::Policy || self.templates.values().any(all)
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
    pub fn get(&self, wanted: TemplateRef<'_>) -> Result<&Template, Unknown<'_>> {
        let Some(versions) = self.templates.get(wanted.name) else {
            return Err(Unknown::Name { broken: self.broken.get(wanted.name).map(String::as_str) });
        };
        let found = match wanted.version {
            None => versions.unversioned.as_ref().or(versions.versioned.last()),
            Some(version) => versions.versioned.iter().find(|template| template.version.as_deref() == Some(version)),
        };
        found.map(Arc::as_ref).ok_or_else(|| {
            let mut known: Vec<Option<&str>> = versions.versioned.iter().rev().map(|t| t.version.as_deref()).collect();
            known.extend(versions.unversioned.as_ref().map(|_| None));
            Unknown::Version { known }
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

/// The order of GNU `sort -V`; equal only for equal strings.
fn compare(a: &str, b: &str) -> Ordering {
    compare_runs(without_suffix(a), without_suffix(b)).then_with(|| compare_runs(a, b)).then_with(|| a.cmp(b))
}

/// Without what looks like file endings, `(\.[A-Za-z~][A-Za-z0-9~]*)*$`, as `filevercmp` compares first.
fn without_suffix(version: &str) -> &str {
    let mut rest = version;
    while let Some((before, ending)) = rest.rsplit_once('.') {
        let is_ending = ending.starts_with(|c: char| c.is_ascii_alphabetic())
            && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_ending || before.is_empty() {
            break;
        }
        rest = before;
    }
    rest
}

/// Compares runs of non-digits by character (letters before other characters) and runs of digits as
/// numbers, in turn.
fn compare_runs(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (text_a, text_b) = (take(&mut a, false), take(&mut b, false));
        let order = (0..text_a.len().max(text_b.len()))
            .map(|at| weight(text_a.get(at)).cmp(&weight(text_b.get(at))))
            .find(|order| order.is_ne());
        if let Some(order) = order {
            return order;
        }
        let (digits_a, digits_b) = (take(&mut a, true), take(&mut b, true));
        let (digits_a, digits_b) = (without_zeros(digits_a), without_zeros(digits_b));
        let order = digits_a.len().cmp(&digits_b.len()).then_with(|| digits_a.cmp(digits_b));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The run of digits (or of anything else) at the front of `text`, taken off.
fn take<'t>(text: &mut &'t [u8], digits: bool) -> &'t [u8] {
    let end = text.iter().position(|byte| byte.is_ascii_digit() != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

/// A digit or the end sorts before letters, letters before everything else.
fn weight(byte: Option<&u8>) -> u16 {
    match byte {
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => u16::from(*byte),
        Some(byte) => u16::from(*byte) + 256,
    }
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    &digits[first..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_sort_v_does() {
        // The output of `printf … | LC_ALL=C sort -V`.
        let sorted = [
            "1.0",
            "1.0.rc",
            "1.0.a1.b",
            "1.0-rc1",
            "1.0-rc2",
            "1.0.1",
            "1.2",
            "1.10",
            "2",
            "4.1",
            "4.10",
            "4.10-rc.1",
            "10",
            "a",
            "v4.2",
        ];
        let mut ours = sorted;
        ours.reverse();
        ours.sort_by(|a, b| compare(a, b));
        let by_number = |list: &[&str]| {
            list.iter()
                .filter(|v| v.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(by_number(&ours), by_number(&sorted));
        for window in ours.windows(2) {
            assert_eq!(compare(window[0], window[1]), Ordering::Less);
        }
        assert_eq!(compare("4.1", "4.10"), Ordering::Less);
        assert_eq!(compare("4.9", "4.10"), Ordering::Less);
        assert_eq!(compare("1.01", "1.1"), Ordering::Less, "equal as numbers, ordered as text");
    }
}
