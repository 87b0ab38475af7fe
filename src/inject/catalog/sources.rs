//! The writing side of the catalog: documents as they arrive from files or ConfigMaps, with the last
//! good version of each. One broken document never disturbs the others. Pure: whoever watches calls
//! [`Sources::set`] and publishes what [`Sources::catalog`] gives.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::inject::catalog::Catalog;
use crate::inject::diagnostic::{Diagnostic, Source, shown};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;

/// The identity of a place that holds documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HolderId {
    /// A file, by its path.
    File(String),
    /// A ConfigMap.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::ConfigMap { namespace, name } => write!(f, "ConfigMap {namespace}/{name}"),
        }
    }
}

/// A place that holds documents: a file, or one ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Creation time of the ConfigMap, RFC 3339 (which sorts by time); empty for files. Of two equal
    /// templates, the one in the older ConfigMap serves.
    pub created: String,
    /// Its identity.
    pub id: HolderId,
}

impl Holder {
    /// The holder for a file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self { created: String::new(), id: HolderId::File(path.display().to_string()) }
    }
}

/// An error in a holder or in one of its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// The holder.
    pub holder: HolderId,
    /// The error.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

/// One template document of a holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateText {
    /// Tells it from the others of its holder: its key in the ConfigMap.
    pub key: String,
    /// What people call it, see [`Source::origin`].
    pub origin: String,
    /// The template's name if the document has none.
    pub default_name: String,
    /// The document.
    pub text: String,
    /// See [`Source::lines_before`].
    pub lines_before: usize,
    /// See [`Source::columns_before`].
    pub columns_before: usize,
}

impl TemplateText {
    /// The document as it is read, with its place.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        let Self { origin, text, lines_before, columns_before, .. } = self;
        Source { origin, text, lines_before: *lines_before, columns_before: *columns_before }
    }
}

#[derive(Debug)]
struct TemplateDocument {
    text: TemplateText,
    current: Result<Arc<Template>, Vec<Diagnostic>>,
    warnings: Vec<Diagnostic>,
    last_good: Option<Arc<Template>>,
}

/// All documents, by holder and key.
#[derive(Debug, Default)]
pub struct Sources {
    holders: BTreeMap<Holder, BTreeMap<String, TemplateDocument>>,
    /// Problems of a holder beside those of its documents: errors, then warnings.
    remarks: BTreeMap<Holder, (Vec<Diagnostic>, Vec<Diagnostic>)>,
    /// Names of the documents that were found broken since the last catalog.
    failed: Vec<String>,
    values: BTreeMap<Holder, BTreeMap<String, String>>,
    rules: SourceRules,
    keys: Keys,
}

/// What the templates of a source must obey beyond being templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceRules {
    /// Namespaces are not watched: no template may depend on more of one than its name.
    pub without_namespaces: bool,
    /// They come from the pods' own namespaces, whose owners are not trusted with policies.
    pub of_namespace: bool,
    /// What evaluated templates may do.
    pub profile: Profile,
}

/// What was found in a holder.
#[derive(Debug, Default)]
pub struct FoundDocuments {
    /// Its documents.
    pub texts: Vec<TemplateText>,
    /// Problems of the holder itself.
    pub errors: Vec<Diagnostic>,
    /// What is not read in it.
    pub warnings: Vec<Diagnostic>,
    /// Whether something could not be read, so that documents may be there that were not found.
    pub incomplete: bool,
}

/// What stands in the catalog and what does not.
#[derive(Debug)]
pub struct Published {
    /// The catalog to serve.
    pub catalog: Catalog,
    /// Every error: broken documents, duplicates, unreadable holders.
    pub errors: Vec<SourceError>,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Name of each template that is in use or should be -> whether its newest text is.
    pub valid: BTreeMap<String, bool>,
}

impl Sources {
    /// Sources whose templates must obey `rules`, in an installation with these keys.
    #[must_use]
    pub fn with_rules(rules: SourceRules, keys: Keys) -> Self {
        Self { rules, keys, ..Self::default() }
    }

    /// The keys of the installation.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Replaces the shared values of `holder`; `None` removes it.
    pub fn set_values(&mut self, holder: &Holder, values: Option<BTreeMap<String, String>>) {
        self.values.retain(|known, _| known.id != holder.id);
        self.values.extend(values.map(|values| (holder.clone(), values)));
    }

    /// Replaces all documents of `holder`. Documents whose text did not change are kept as they are.
    pub fn set(&mut self, holder: &Holder, found: FoundDocuments) {
        // A ConfigMap that was deleted and made anew is the same holder with another age.
        let mut before = self.take(&holder.id);
        let mut documents = BTreeMap::new();
        for text in found.texts {
            let key = text.key.clone();
            let document = match before.remove(&key) {
                Some(document) if document.text == text => document,
                known => {
                    let last_good = known.and_then(|known| known.last_good);
                    let document = TemplateDocument::load(text, last_good, self.rules, &self.keys);
                    self.failed.extend(document.current.is_err().then(|| document.name().to_owned()));
                    document
                }
            };
            documents.insert(key, document);
        }
        // A file that was cut while it was written has lost its documents only for a moment.
        let cut = holder.created.is_empty() && documents.values().all(|document| document.current.is_err());
        if found.incomplete || cut {
            documents.extend(before);
        }
        self.holders.insert(holder.clone(), documents);
        if !(found.errors.is_empty() && found.warnings.is_empty()) {
            self.remarks.insert(holder.clone(), (found.errors, found.warnings));
        }
    }

    /// How many holders there are beside one, and how many bytes of text in them.
    #[must_use]
    pub fn others(&self, id: &HolderId) -> (usize, usize) {
        let others = || self.holders.iter().filter(|(holder, _)| holder.id != *id);
        let bytes = others().flat_map(|(_, documents)| documents.values()).map(|document| document.text.text.len());
        (others().count(), bytes.sum())
    }

    /// All holders of documents.
    pub fn holders(&self) -> impl Iterator<Item = &HolderId> {
        self.holders.keys().map(|holder| &holder.id)
    }

    /// All holders of shared values.
    pub fn value_holders(&self) -> impl Iterator<Item = &HolderId> {
        self.values.keys().map(|holder| &holder.id)
    }

    /// The names of documents that were found broken since the last call, one for each time.
    pub fn take_failed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failed)
    }

    /// Removes a holder and what it held.
    pub fn remove(&mut self, id: &HolderId) {
        self.take(id);
    }

    /// Removes every holder for which `stays` returns false.
    pub fn retain(&mut self, stays: impl Fn(&HolderId) -> bool) {
        self.holders.retain(|holder, _| stays(&holder.id));
        self.remarks.retain(|holder, _| stays(&holder.id));
    }

    fn take(&mut self, id: &HolderId) -> BTreeMap<String, TemplateDocument> {
        self.remarks.retain(|holder, _| holder.id != *id);
        let known = self.holders.keys().find(|holder| holder.id == *id).cloned();
        known.and_then(|holder| self.holders.remove(&holder)).unwrap_or_default()
    }

    /// The catalog of all documents. Good ones first, oldest holder first; then the last good versions
    /// of broken ones, where nothing better has the name.
    #[must_use]
    pub fn catalog(&self) -> Published {
        let error = |holder: &Holder, diagnostic| SourceError { holder: holder.id.clone(), diagnostic };
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for (holder, (of_holder, warnings_of_holder)) in &self.remarks {
            errors.extend(of_holder.iter().map(|diagnostic| error(holder, diagnostic.clone())));
            warnings.extend(warnings_of_holder.iter().cloned());
        }
        let (mut served, mut broken) = (Vec::new(), BTreeMap::new());
        let mut valid = BTreeMap::new();
        let mut origin_of: BTreeMap<(String, Option<String>), String> = BTreeMap::new();
        for (holder, document) in self.documents() {
            warnings.extend(document.warnings.iter().cloned());
            let Ok(template) = &document.current else { continue };
            let identity = (template.name.clone(), template.version.clone());
            let origin = document.text.origin.clone();
            if let Some(first) = origin_of.get(&identity) {
                let message = format!("{} is defined by {first} already, which serves", template.display());
                errors.push(error(holder, Diagnostic::of_document(&origin, message)));
                continue;
            }
            origin_of.insert(identity, origin);
            valid.insert(template.name.clone(), true);
            served.push(Arc::clone(template));
        }
        for (holder, document) in self.documents() {
            let Err(diagnostics) = &document.current else { continue };
            errors.extend(diagnostics.iter().map(|diagnostic| error(holder, diagnostic.clone())));
            let name = document.name();
            valid.insert(name.to_owned(), false);
            match &document.last_good {
                Some(template) => served.push(Arc::clone(template)),
                None => {
                    let why = diagnostics.first().map(Diagnostic::one_line).unwrap_or_default();
                    broken.insert(name.to_owned(), why);
                }
            }
        }
        let catalog = Catalog::new(served, broken).with_values(&self.merged_values(&mut errors));
        Published { catalog, errors, warnings, valid }
    }

    fn documents(&self) -> impl Iterator<Item = (&Holder, &TemplateDocument)> {
        self.holders.iter().flat_map(|(holder, documents)| documents.values().map(move |document| (holder, document)))
    }

    /// The shared values. Of equal keys, the one in the older ConfigMap serves.
    fn merged_values(&self, errors: &mut Vec<SourceError>) -> BTreeMap<String, String> {
        let mut merged: BTreeMap<String, String> = BTreeMap::new();
        let mut holder_of: BTreeMap<&str, &HolderId> = BTreeMap::new();
        for (holder, values) in &self.values {
            for (key, value) in values {
                if let Some(first) = holder_of.get(key.as_str()) {
                    let message = format!("the value {} is defined by {first} already, which serves", shown(key, 80));
                    let diagnostic = Diagnostic::of_document(&holder.id.to_string(), message);
                    errors.push(SourceError { holder: holder.id.clone(), diagnostic });
                    continue;
                }
                holder_of.insert(key, &holder.id);
                merged.insert(key.clone(), value.clone());
            }
        }
        merged
    }
}

impl SourceRules {
    /// What of a sound template its source does not allow.
    #[must_use]
    pub fn broken_by(self, template: &Template, origin: &str) -> Vec<Diagnostic> {
        let mut broken = Vec::new();
        let mut refuse = |message: &str, help: &str| {
            broken.push(Diagnostic::of_document(origin, message).help(help));
        };
        if self.without_namespaces && template.needs_namespaces() {
            let message = "the template depends on labels or annotations of namespaces, which are not watched";
            refuse(message, "start serve with --watch-namespaces");
        }
        let policies = template.required || template.auto_inject.is_some() || !template.allowed_namespaces.is_empty();
        if self.of_namespace && policies {
            let message = "required, autoInject and allowedNamespaces are for central templates only";
            refuse(message, "remove them, or have the template installed centrally");
        }
        if self.of_namespace && template.sets_service_account() {
            refuse("a namespace's template cannot set pod.serviceAccountName", "remove it");
        }
        if self.profile != Profile::Privileged {
            broken.extend(template.sensitive.iter().cloned());
        }
        broken
    }
}

impl TemplateDocument {
    fn name(&self) -> &str {
        self.last_good.as_ref().map_or(&self.text.default_name, |template| &template.name)
    }

    fn load(text: TemplateText, last_good: Option<Arc<Template>>, rules: SourceRules, keys: &Keys) -> Self {
        match Template::load(&text.source(), &text.default_name, keys) {
            Ok(loaded) => {
                let broken = rules.broken_by(&loaded.template, &text.origin);
                if !broken.is_empty() {
                    return Self { text, current: Err(broken), warnings: Vec::new(), last_good };
                }
                let mut template = loaded.template;
                template.profile = rules.profile;
                let template = Arc::new(template);
                Self { text, last_good: Some(Arc::clone(&template)), current: Ok(template), warnings: loaded.warnings }
            }
            Err(errors) => Self { text, current: Err(errors), warnings: Vec::new(), last_good },
        }
    }
}

pub(crate) fn not_read(key: &str) -> String {
    format!("key {} does not end in .yaml or .yml and is not read", shown(key, 80))
}

/// The template documents of a ConfigMap from the API server: `data` and the name of its holder.
#[must_use]
pub fn of_config_map(holder: &Holder, data: impl IntoIterator<Item = (String, String)>) -> FoundDocuments {
    let mut found = FoundDocuments::default();
    for (key, text) in data {
        let origin = format!("{} key {key}", holder.id);
        if let Some(name) = template_name(&key) {
            let default_name = name.to_owned();
            found.texts.push(TemplateText { key, origin, default_name, text, lines_before: 0, columns_before: 0 });
        } else {
            found.warnings.push(Diagnostic::of_document(&holder.id.to_string(), not_read(&key)).warning());
        }
    }
    if found.texts.is_empty() && found.warnings.is_empty() {
        found.warnings.push(Diagnostic::of_document(&holder.id.to_string(), "it holds no template").warning());
    }
    found
}

/// The default name of the template in a file or ConfigMap key: its name without the ending `.yaml` or `.yml`. `None` for a
/// name with another ending, which holds no template.
#[must_use]
pub fn template_name(key: &str) -> Option<&str> {
    key.strip_suffix(".yaml").or_else(|| key.strip_suffix(".yml"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::template::reference::TemplateRef;

    fn config_map(name: &str) -> HolderId {
        HolderId::ConfigMap { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    fn holder(name: &str, created: &str) -> Holder {
        Holder { created: created.to_owned(), id: config_map(name) }
    }

    fn text(key: &str, image: &str) -> TemplateText {
        let text = format!("sidecars: [{{name: x, image: {image}}}]\n");
        let origin = format!("key {key}.yaml");
        TemplateText {
            key: format!("{key}.yaml"),
            origin,
            default_name: key.to_owned(),
            text,
            ..TemplateText::default()
        }
    }

    fn found(texts: Vec<TemplateText>) -> FoundDocuments {
        FoundDocuments { texts, ..FoundDocuments::default() }
    }

    fn image(sources: &Sources, name: &str) -> Option<String> {
        let published = sources.catalog();
        let template = published.catalog.get(TemplateRef { name, version: None }).ok()?;
        Some(template.constant()?.init_containers[0].value["image"].as_str()?.to_owned())
    }

    #[test]
    fn a_broken_document_keeps_its_last_good_version_and_disturbs_no_other() {
        let mut sources = Sources::default();
        let one = holder("one", "2026");
        sources.set(&one, found(vec![text("a", "i:1"), text("b", "i:1")]));
        let broken = TemplateText { text: "sidecars: [".to_owned(), ..text("a", "") };
        sources.set(&one, found(vec![broken.clone(), text("b", "i:2")]));
        assert_eq!(image(&sources, "a").as_deref(), Some("i:1"));
        assert_eq!(image(&sources, "b").as_deref(), Some("i:2"));
        let published = sources.catalog();
        assert_eq!(published.errors.len(), 1);
        assert_eq!(published.valid.get("a"), Some(&false));
        // A good definition elsewhere beats the last good one.
        sources.set(&holder("two", "2027"), found(vec![text("a", "i:9")]));
        assert_eq!(image(&sources, "a").as_deref(), Some("i:9"));
        sources.remove(&config_map("two"));
        assert_eq!(image(&sources, "a").as_deref(), Some("i:1"));
        // Mended, then gone.
        sources.set(&one, found(vec![text("a", "i:3")]));
        assert_eq!(image(&sources, "a").as_deref(), Some("i:3"));
        assert_eq!(image(&sources, "b"), None);
        sources.remove(&config_map("one"));
        assert_eq!(image(&sources, "a"), None);
    }

    #[test]
    fn deletes_take_effect_also_beside_keys_that_are_not_read() {
        let mut sources = Sources::default();
        let one = holder("one", "2026");
        let remark = || vec![Diagnostic::of_document("README.md", "is not read")];
        sources.set(&one, FoundDocuments { warnings: remark(), ..found(vec![text("a", "i:1"), text("b", "i:1")]) });
        sources.set(&one, FoundDocuments { warnings: remark(), ..found(vec![text("a", "i:2")]) });
        assert_eq!((image(&sources, "a").as_deref(), image(&sources, "b")), (Some("i:2"), None));
        assert!(sources.catalog().errors.is_empty());
    }

    #[test]
    fn a_file_that_is_cut_or_cannot_be_read_keeps_what_it_held() {
        let mut sources = Sources::default();
        let file = Holder::file(Path::new("all.yaml"));
        let whole = || found(vec![text("a", "i:1"), text("b", "i:1")]);
        sources.set(&file, whole());
        let empty = TemplateText { key: String::new(), text: String::new(), ..text("all", "") };
        sources.set(&file, found(vec![empty]));
        assert_eq!((image(&sources, "a").as_deref(), image(&sources, "b").as_deref()), (Some("i:1"), Some("i:1")));
        sources.set(&file, FoundDocuments { incomplete: true, ..FoundDocuments::default() });
        assert_eq!(image(&sources, "b").as_deref(), Some("i:1"));
        sources.set(&file, whole());
        sources.set(&file, found(vec![text("a", "i:2")]));
        assert_eq!((image(&sources, "a").as_deref(), image(&sources, "b")), (Some("i:2"), None));
        assert_eq!(sources.take_failed(), ["all"]);
    }

    #[test]
    fn a_broken_one_that_never_was_good_is_named() {
        let mut sources = Sources::default();
        let broken = TemplateText { text: "sidecar: []".to_owned(), ..text("a", "") };
        sources.set(&holder("one", "2026"), found(vec![broken]));
        let published = sources.catalog();
        let Err(crate::inject::catalog::NotFound::Name { broken: Some(why) }) =
            published.catalog.get(TemplateRef { name: "a", version: None })
        else {
            panic!("unknown")
        };
        assert_eq!(why, "key a.yaml:1:1: unknown key \"sidecar\" (did you mean \"sidecars\"?)");
    }

    #[test]
    fn the_older_of_two_equal_definitions_serves_and_the_other_is_an_error() {
        let mut sources = Sources::default();
        sources.set(&holder("a-younger", "2027"), found(vec![text("a", "i:2")]));
        sources.set(&holder("z-older", "2026"), found(vec![text("a", "i:1")]));
        assert_eq!(image(&sources, "a").as_deref(), Some("i:1"));
        let errors = sources.catalog().errors;
        assert_eq!(errors[0].diagnostic.one_line(), "key a.yaml: a is defined by key a.yaml already, which serves");
    }

    #[test]
    fn a_template_is_named_after_its_key_without_one_ending() {
        let keys = ["a.yaml", "a.yml", "a.yaml.yml", "a.yaml.yaml", "a", "a.json", ".yaml"];
        let names = [Some("a"), Some("a"), Some("a.yaml"), Some("a.yaml"), None, None, Some("")];
        assert_eq!(keys.map(template_name), names);
        let data = keys.map(|key| (key.to_owned(), String::new()));
        let found = of_config_map(&holder("one", "2026"), data);
        let found: Vec<&str> = found.texts.iter().map(|text| text.default_name.as_str()).collect();
        assert_eq!(found, ["a", "a", "a.yaml", "a.yaml", ""]);
    }
}
