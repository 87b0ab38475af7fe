//! How two catalogs differ for requests without a version. This module does not know which version serves;
//! [`Catalog::get`] does.

use std::fmt;
use std::sync::Arc;

use crate::inject::catalog::Catalog;
use crate::inject::catalog::holder::HolderId;
use crate::inject::catalog::view::View;
use crate::inject::template::Template;
use crate::inject::template::reference::TemplateRef;

/// Another version of a template now serves requests without a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChange {
    /// The name of the template.
    pub name: String,
    /// The holder of the version that serves now or, if there is none, of the newest document of the template. `None` if
    /// the catalog does not know the holders of its templates.
    pub holder: Option<HolderId>,
    before: Meaning,
    after: Meaning,
}

/// What a request without a version gets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Version(String),
    WithoutVersion,
    /// None: there are only pre-releases.
    Nothing,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => f.write_str(version),
            Self::WithoutVersion => f.write_str("the document without a version"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for VersionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, before, after, .. } = self;
        match (before, after) {
            (_, Meaning::Nothing) => {
                write!(f, "{name} without a version no longer means {before}: there are only pre-releases")
            }
            (Meaning::Nothing, _) => write!(f, "{name} without a version now means {after}"),
            _ => write!(f, "{name} without a version now means {after} instead of {before}"),
        }
    }
}

/// The templates for which a request without a version gets another version in `after` than in `before`: the central
/// ones, then those of namespaces. A name that is in only one of the catalogs is not a change of its version.
#[must_use]
pub fn changes(before: &Catalog, after: &Catalog) -> Vec<VersionChange> {
    let mut changes = of_place(before, after, View::central(after));
    for (namespace, own) in &after.local {
        if let Some(before) = before.local.get(namespace).filter(|before| !Arc::ptr_eq(before, own)) {
            changes.extend(of_place(before, own, View::of(after, namespace)));
        }
    }
    changes
}

/// The changes from the catalog `before` to the catalog `after` of one place: the central catalog or that of one
/// namespace. Pods see the templates through `view`, so only names that `after` serves there count.
pub(crate) fn of_place(before: &Catalog, after: &Catalog, view: View<'_>) -> Vec<VersionChange> {
    let names = after.names().into_iter().filter(|name| before.has(name) && std::ptr::eq(view.serving(name), after));
    names.filter_map(|name| change(before, after, name)).collect()
}

fn change(before: &Catalog, after: &Catalog, name: &str) -> Option<VersionChange> {
    let serving = |catalog: &'_ Catalog| catalog.get(TemplateRef { name, version: None }).ok().map(meaning);
    let (was, is) = (serving(before).unwrap_or(Meaning::Nothing), serving(after).unwrap_or(Meaning::Nothing));
    (was != is).then(|| VersionChange { name: name.to_owned(), holder: holder(after, name), before: was, after: is })
}

fn meaning(template: &Template) -> Meaning {
    template.version.clone().map_or(Meaning::WithoutVersion, Meaning::Version)
}

/// The holder of the version that serves requests without a version or, if there is none, of the newest document.
fn holder(catalog: &Catalog, name: &str) -> Option<HolderId> {
    let serving = catalog.get(TemplateRef { name, version: None });
    let is_it = |template: &Template| match serving {
        Ok(serving) => std::ptr::eq(template, serving),
        Err(_) => template.name == name,
    };
    let definition = catalog.definitions.iter().rev().find(|definition| is_it(&definition.template));
    definition.map(|definition| definition.holder.id.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::inject::catalog::holder::{Holder, of_config_map};
    use crate::inject::catalog::sources::Sources;

    fn config_map(name: &str) -> HolderId {
        HolderId::ConfigMap { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    /// A catalog of ConfigMaps with one document each: the name of the ConfigMap, the name of the template and its
    /// other fields.
    fn catalog(documents: &[(&str, &str, &str)]) -> Catalog {
        let mut sources = Sources::default();
        for (holder, template, fields) in documents {
            let id = config_map(holder);
            let found = of_config_map(&id, [(format!("{template}.yaml"), format!("{{{fields}}}"))]);
            sources.set(&Holder { created: String::new(), id }, found);
        }
        sources.catalog().catalog
    }

    fn found(before: &[(&str, &str, &str)], after: &[(&str, &str, &str)]) -> Vec<(String, Option<HolderId>)> {
        let changes = changes(&catalog(before), &catalog(after));
        changes.into_iter().map(|change| (change.to_string(), change.holder)).collect()
    }

    #[test]
    fn a_change_names_both_versions_and_the_config_map_that_serves_now() {
        let one = ("one", "logs", "version: 1.0.0");
        let expect = |after: &[(&str, &str, &str)], text: &str, holder: &str| {
            assert_eq!(found(&[one], after), [(text.to_owned(), Some(config_map(holder)))]);
        };
        expect(
            &[one, ("two", "logs", "version: 2.0.0")],
            "logs without a version now means 2.0.0 instead of 1.0.0",
            "two",
        );
        expect(&[("two", "logs", "version: 0.9.0")], "logs without a version now means 0.9.0 instead of 1.0.0", "two");
        expect(
            &[("rc", "logs", "version: 1.0.0-rc1")],
            "logs without a version no longer means 1.0.0: there are only pre-releases",
            "rc",
        );
        for same in [&[one, ("rc", "logs", "version: 2.0.0-rc1")], &[one, ("other", "other", "version: '9'")]] {
            assert_eq!(found(&[one], same), []);
        }
        let pre_release = ("rc", "logs", "version: 2.0.0-rc1");
        let now = "logs without a version now means 1.0.0".to_owned();
        assert_eq!(found(&[pre_release], &[pre_release, one]), [(now, Some(config_map("one")))]);
        assert_eq!(found(&[one], &[]), [], "a template that is deleted");
        assert_eq!(found(&[], &[one]), [], "a new template");
    }

    #[test]
    fn templates_of_namespaces_count_unless_a_central_one_serves() {
        let with = |central: &[(&str, &str, &str)], version: &str, prefer| {
            let own = Arc::new(catalog(&[("own", "logs", version)]));
            catalog(central).with_local(BTreeMap::from([("ns".to_owned(), own)]), prefer)
        };
        let central: &[(&str, &str, &str)] = &[("central", "logs", "version: '7'")];
        for (central, prefer, count) in [(&[][..], false, 1), (central, true, 1), (central, false, 0)] {
            let found = changes(&with(central, "version: '1'", prefer), &with(central, "version: '2'", prefer));
            assert_eq!(found.len(), count, "{found:?}");
        }
    }
}
