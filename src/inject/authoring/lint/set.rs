//! Rules about several templates together, and about manifests that ask for them.

use crate::inject::authoring::lint::Finding;
use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::{Diagnostic, nearest};
use crate::inject::evaluate::parameters;
use crate::inject::kube::defaults::equal;
use crate::inject::review::pod::{Metadata, StringMap};
use crate::inject::select::request::{self, Dialect, RequestItem, Selection};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::reference::TemplateRef;
use std::collections::BTreeMap;

use serde_json::Value as Json;

/// Names that two templates of different names both add, other than for one volume that both share.
#[must_use]
pub fn across(templates: &[(String, &Template)]) -> Vec<Finding> {
    let mut owners: BTreeMap<(&str, String), (&str, Option<Json>)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (origin, template) in templates {
        for (kind, name, shared) in template.literal_names() {
            match owners.get(&(kind, name.clone())) {
                Some((_, Some(known))) if shared.as_ref().is_some_and(|shared| equal(known, shared)) => {}
                Some((other, _)) if *other != template.name && !template.silences("duplicate-name") => {
                    let message = format!("the {kind} {name} is added by the template {other} too");
                    let diagnostic = Diagnostic::of_document(origin, message);
                    findings.push(Finding::new("duplicate-name", diagnostic, &template.name));
                }
                Some(_) => {}
                None => drop(owners.insert((kind, name), (&template.name, shared))),
            }
        }
    }
    findings
}

/// What is wrong with a request in a manifest, before any pod is created.
#[must_use]
pub fn request(key: &str, value: &str, catalog: &Catalog) -> Vec<String> {
    match request::parse(key, value, Dialect::Own) {
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

/// What is wrong with the parameters that the metadata of a pod give, where `request` is its request.
#[must_use]
pub fn parameters(metadata: &Metadata<'_>, request: Option<&str>, catalog: &Catalog, keys: &Keys) -> Vec<String> {
    let Some(Ok(Selection::Templates(items))) = request.map(|text| request::parse(&keys.request, text, Dialect::Own))
    else {
        return Vec::new();
    };
    let asked_for: Vec<TemplateRef<'_>> = items.iter().filter_map(named).collect();
    let mut found = Vec::new();
    // Which the defaults are is not known here.
    let strays = metadata.annotations.iter().flat_map(StringMap::iter).filter(|_| asked_for.len() == items.len());
    for (key, _) in strays {
        let Some((template, _)) = keys.as_parameter(key) else { continue };
        if asked_for.iter().all(|wanted| wanted.name != template) {
            let hint = nearest(template, asked_for.iter().map(|wanted| wanted.name));
            let hint = hint.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
            found.push(format!("{key} is for a template that is not asked for{hint}"));
        }
    }
    for template in asked_for.iter().filter_map(|wanted| catalog.get(*wanted).ok()) {
        found.extend(
            parameters::values(keys, &template.name, &template.parameters, metadata).err().into_iter().flatten(),
        );
    }
    found
}

fn named<'a>(item: &RequestItem<'a>) -> Option<TemplateRef<'a>> {
    match item {
        RequestItem::Named(wanted) => Some(*wanted),
        RequestItem::Defaults => None,
    }
}
