//! Rules about several templates together, and about manifests that ask for them.

use std::collections::BTreeMap;

use super::Finding;
use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::{Diagnostic, nearest};
use crate::inject::keys::Keys;
use crate::inject::select::{self, Dialect, Item, Selection, TemplateRef};
use crate::inject::template::Template;

/// Names that two templates of different names both add.
#[must_use]
pub fn across(templates: &[(String, &Template)]) -> Vec<Finding> {
    let mut owners: BTreeMap<(&str, String), &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for (origin, template) in templates {
        for (kind, name) in template.literal_names() {
            match owners.get(&(kind, name.clone())) {
                Some(other) if *other != template.name && !template.silences("duplicate-name") => {
                    let message = format!("the {kind} {name} is added by the template {other} too");
                    let diagnostic = Diagnostic::of_document(origin, message);
                    findings.push(Finding::new("duplicate-name", diagnostic, &template.name));
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
            let unknown = items.iter().filter_map(named).filter(|wanted| catalog.get(*wanted).is_err());
            let message = |wanted: TemplateRef<'_>| {
                let names = catalog.names();
                let hint = nearest(wanted.name, names.iter().copied());
                let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                let version = wanted.version.map(|version| format!("@{version}")).unwrap_or_default();
                format!("there is no template {}{version}{hint}", wanted.name)
            };
            unknown.map(message).collect()
        }
        Ok(_) => Vec::new(),
    }
}

/// What is wrong with the parameters that a manifest's `annotations` give, where `request` is its request.
#[must_use]
pub fn parameters<'k>(
    annotations: impl Iterator<Item = &'k str>,
    request: Option<&str>,
    catalog: &Catalog,
    keys: &Keys,
) -> Vec<String> {
    let Some(Ok(Selection::Templates(items))) = request.map(|text| select::parse(&keys.request, text, Dialect::Own))
    else {
        return Vec::new();
    };
    let named: Vec<TemplateRef<'_>> = items.iter().filter_map(named).collect();
    let wrong = |key: &'k str| {
        let (template, name) = keys.as_parameter(key)?;
        let Some(wanted) = named.iter().find(|wanted| wanted.name == template) else {
            // Which the defaults are is not known here.
            let hint = nearest(template, named.iter().map(|wanted| wanted.name));
            let hint = hint.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
            return (named.len() == items.len())
                .then(|| format!("{key} is for a template that is not asked for{hint}"));
        };
        let declared = &catalog.get(*wanted).ok()?.parameters;
        let word = name.split('.').next().unwrap_or(name);
        let hint = nearest(word, declared.iter().map(|parameter| parameter.name.as_str()));
        let hint = hint.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        let unknown = declared.iter().all(|parameter| parameter.name != word);
        unknown.then(|| format!("{key}: the template {template} has no parameter {word}{hint}"))
    };
    annotations.filter_map(wrong).collect()
}

fn named<'a>(item: &Item<'a>) -> Option<TemplateRef<'a>> {
    match item {
        Item::Named(wanted) => Some(*wanted),
        Item::Defaults => None,
    }
}
