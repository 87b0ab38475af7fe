//! Rules about several templates together, and about manifests that ask for them.

use std::collections::BTreeMap;

use super::Finding;
use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::{Diagnostic, nearest};
use crate::inject::select::{self, Dialect, Item, Selection};
use crate::inject::template::Template;

/// Names that two templates of different names both add.
#[must_use]
pub fn across(templates: &[(String, &Template)]) -> Vec<Finding> {
    let mut owners: BTreeMap<(&str, String), &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for (origin, template) in templates {
        for (kind, name) in template.literal_names() {
            match owners.get(&(kind, name.clone())) {
                Some(other) if *other != template.name => {
                    let message = format!("the {kind} {name} is added by the template {other} too");
                    findings.push(Finding {
                        rule: "duplicate-name",
                        diagnostic: Diagnostic::of_document(origin, message).warning(),
                        template: template.name.clone(),
                    });
                }
                Some(_) => {}
                None => drop(owners.insert((kind, name), &template.name)),
            }
        }
    }
    findings
}

/// What is wrong with a request in a manifest, before any pod is created.
#[must_use]
pub fn request(key: &str, value: &str, catalog: &Catalog) -> Vec<String> {
    match select::parse(key, value, Dialect::Own) {
        Err(why) => vec![why],
        Ok(Selection::Templates(items)) => {
            let unknown = |item: Item<'_>| match item {
                Item::Named(wanted) if catalog.get(wanted).is_err() => {
                    let names = catalog.names();
                    let hint = nearest(wanted.name, names.iter().copied());
                    let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                    let version = wanted.version.map(|version| format!("@{version}")).unwrap_or_default();
                    Some(format!("there is no template {}{version}{hint}", wanted.name))
                }
                _ => None,
            };
            items.into_iter().filter_map(unknown).collect()
        }
        Ok(_) => Vec::new(),
    }
}
