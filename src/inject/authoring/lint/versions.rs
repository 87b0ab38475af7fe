//! What a request without a version gets, as notes for authors of templates with several versions. A note is not a
//! finding. This module does not know which version serves; the catalog does.

use crate::inject::catalog::Catalog;
use crate::inject::template::Template;
use crate::inject::template::reference::TemplateRef;

/// One note for each template with several versions, or with only pre-releases, sorted by name.
///
/// Each is a sentence without a full stop, such as `logs without a version means 4.1.0; other versions: 4.2.0-rc1`.
#[must_use]
pub fn notes(catalog: &Catalog) -> Vec<String> {
    catalog.names().into_iter().filter_map(|name| note(catalog, name)).collect()
}

fn note(catalog: &Catalog, name: &str) -> Option<String> {
    let mut versions: Vec<&Template> = catalog.versions(name).collect();
    versions.reverse();
    let Ok(serving) = catalog.get(TemplateRef { name, version: None }) else {
        let versions: Vec<String> = versions.into_iter().map(Template::display).collect();
        return Some(format!("{name} has only pre-releases; pods must request a version: {}", versions.join(", ")));
    };
    let others = versions.into_iter().filter(|version| !std::ptr::eq(*version, serving));
    let others: Vec<&str> = others.map(described).collect();
    let means = format!("{name} without a version means {}", described(serving));
    (!others.is_empty()).then(|| format!("{means}; other versions: {}", others.join(", ")))
}

fn described(template: &Template) -> &str {
    template.version.as_deref().unwrap_or("the document without a version")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::inject::diagnostic::Source;
    use crate::inject::settings::keys::Keys;

    #[test]
    fn templates_with_several_versions_have_a_note() {
        let template = |name: &str, version: Option<&str>| {
            let version = version.map(|version| format!("version: '{version}'"));
            let text = version.unwrap_or("{}".to_owned());
            let loaded = Template::load(&Source::new("t", &text), name, &Keys::default());
            Arc::new(loaded.expect("a template").template)
        };
        let versions = [Some("4.1.0"), Some("4.2.0-rc1"), Some("latest"), Some("4.10.0")];
        let logs = versions.map(|version| template("logs", version));
        let more =
            [("alone", Some("1")), ("new", Some("1-a")), ("new", Some("1-b")), ("old", Some("1")), ("old", None)];
        let more = more.map(|(name, version)| template(name, version));
        let catalog = Catalog::new(logs.into_iter().chain(more), BTreeMap::new());
        assert_eq!(
            notes(&catalog),
            [
                "logs without a version means 4.10.0; other versions: 4.2.0-rc1, 4.1.0, latest",
                "new has only pre-releases; pods must request a version: new@1-b, new@1-a",
                "old without a version means the document without a version; other versions: 1",
            ]
        );
    }
}
