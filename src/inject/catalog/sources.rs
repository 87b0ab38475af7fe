//! The sources of the catalog: the loaded documents of all files and ConfigMaps, with the last valid template of each. An
//! invalid document does not affect the others. The module does not read files or watch the cluster: its callers set the
//! content of holders with [`Sources::set`], and publish the result of [`Sources::catalog`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::inject::catalog::Catalog;
use crate::inject::catalog::definitions::{Definition, Duplicate, DuplicateKind};
use crate::inject::catalog::holder::{FoundDocuments, Holder, HolderId, SourceError, TemplateText};
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::diagnostic::{Diagnostic, Severity, shown};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;
use crate::inject::template::pod_security::Profile;

/// A document with the result of loading it.
#[derive(Debug)]
struct TemplateDocument {
    text: TemplateText,
    current: Result<Arc<Template>, Vec<Diagnostic>>,
    warnings: Vec<Diagnostic>,
    /// The last template that this document, or an earlier text of it, defined.
    last_good: Option<Arc<Template>>,
}

/// The documents of one holder.
#[derive(Debug, Default)]
struct HeldDocuments {
    /// See [`Holder::created`].
    created: String,
    /// The documents by key.
    documents: BTreeMap<String, TemplateDocument>,
    /// Errors and warnings of the holder itself.
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// The shared values of one holder.
#[derive(Debug)]
struct HeldValues {
    /// See [`Holder::created`].
    created: String,
    values: BTreeMap<String, String>,
}

/// All documents and shared values, by holder.
#[derive(Debug, Default)]
pub struct Sources {
    holders: BTreeMap<HolderId, HeldDocuments>,
    values: BTreeMap<HolderId, HeldValues>,
    /// Names of the documents that were invalid when they were set, since the last call of [`Self::take_failed`].
    failed: Vec<String>,
    rules: SourceRules,
    keys: Keys,
}

/// The rules for the templates of a source, besides those for all templates.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceRules {
    /// Namespaces are not watched, so templates can only depend on the names of namespaces.
    pub without_namespaces: bool,
    /// The templates are in the pods' own namespaces, whose users must not set policies.
    pub of_namespace: bool,
    /// The Pod Security level that applies to evaluated templates.
    pub profile: Profile,
    /// The version of the cluster; `None` if it is not known.
    pub cluster: Option<ClusterVersion>,
}

/// A catalog, with the errors and warnings of its sources.
#[derive(Debug)]
pub struct Published {
    /// The catalog to serve.
    pub catalog: Catalog,
    /// Every error: broken documents, duplicates, unreadable holders.
    pub errors: Vec<SourceError>,
    /// Probable mistakes.
    pub warnings: Vec<Diagnostic>,
    /// The name of each template -> true if its current text is valid.
    pub valid: BTreeMap<String, bool>,
}

impl Sources {
    /// Sources whose templates must obey `rules`, in an installation with these keys.
    #[must_use]
    pub fn with_rules(rules: SourceRules, keys: Keys) -> Self {
        Self { rules, keys, ..Self::default() }
    }

    /// Loads all documents again for a cluster of this version, if they were loaded for another one.
    pub fn set_cluster(&mut self, cluster: Option<ClusterVersion>) {
        if self.rules.cluster == cluster {
            return;
        }
        self.rules.cluster = cluster;
        for document in self.holders.values_mut().flat_map(|held| held.documents.values_mut()) {
            let (text, last_good) = (document.text.clone(), document.last_good.take());
            *document = TemplateDocument::load(text, last_good, self.rules, &self.keys);
        }
    }

    /// The keys of the installation.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Replaces the shared values of `holder`.
    pub fn set_values(&mut self, holder: Holder, values: BTreeMap<String, String>) {
        self.values.insert(holder.id, HeldValues { created: holder.created, values });
    }

    /// Removes the shared values of a holder.
    pub fn remove_values(&mut self, id: &HolderId) {
        self.values.remove(id);
    }

    /// Replaces all documents of `holder`. Documents whose text did not change are kept as they are.
    pub fn set(&mut self, holder: &Holder, found: FoundDocuments) {
        let mut before = self.holders.remove(&holder.id).unwrap_or_default().documents;
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
        // A file that is read while it is written can be incomplete for a moment. Its earlier documents are kept.
        let cut =
            matches!(holder.id, HolderId::File(_)) && documents.values().all(|document| document.current.is_err());
        if found.incomplete || cut {
            documents.extend(before);
        }
        let (created, errors, warnings) = (holder.created.clone(), found.errors, found.warnings);
        self.holders.insert(holder.id.clone(), HeldDocuments { created, documents, errors, warnings });
    }

    /// The number of holders other than `id`, and the size of their documents in bytes.
    #[must_use]
    pub fn others(&self, id: &HolderId) -> (usize, usize) {
        let others = || self.holders.iter().filter(|(other, _)| *other != id);
        let bytes = others().flat_map(|(_, held)| held.documents.values()).map(|document| document.text.text.len());
        (others().count(), bytes.sum())
    }

    /// All holders of documents.
    pub fn holders(&self) -> impl Iterator<Item = &HolderId> {
        self.holders.keys()
    }

    /// All holders of shared values.
    pub fn value_holders(&self) -> impl Iterator<Item = &HolderId> {
        self.values.keys()
    }

    /// The names of documents that were invalid when they were set, since the last call. A name can occur several times.
    pub fn take_failed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failed)
    }

    /// Removes a holder with its documents.
    pub fn remove(&mut self, id: &HolderId) {
        self.holders.remove(id);
    }

    /// Removes every holder of documents for which `stays` returns false.
    pub fn retain(&mut self, stays: impl Fn(&HolderId) -> bool) {
        self.holders.retain(|id, _| stays(id));
    }

    /// The catalog of all documents. Of equal templates, and of defaults, the one in the oldest holder serves. For an
    /// invalid document, the last valid template serves, unless another document defines it.
    #[must_use]
    pub fn catalog(&self) -> Published {
        let error = |holder: &HolderId, diagnostic| SourceError { holder: holder.clone(), diagnostic };
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        let (mut broken, mut valid) = (BTreeMap::new(), BTreeMap::new());
        let (mut definitions, mut texts) = (Vec::new(), Vec::new());
        for (id, held) in by_age(&self.holders, |held| &held.created) {
            errors.extend(held.errors.iter().map(|diagnostic| error(id, diagnostic.clone())));
            warnings.extend(held.warnings.iter().cloned());
            for document in held.documents.values() {
                warnings.extend(document.warnings.iter().cloned());
                *valid.entry(document.name().to_owned()).or_insert(true) &= document.current.is_ok();
                if let Err(diagnostics) = &document.current {
                    errors.extend(diagnostics.iter().map(|diagnostic| error(id, diagnostic.clone())));
                }
                match document.definition(id, &held.created) {
                    Ok(definition) => {
                        definitions.push(definition);
                        texts.push(&document.text);
                    }
                    Err(why) => drop(broken.insert(document.name().to_owned(), why)),
                }
            }
        }
        let (catalog, clashes) = Catalog::of_definitions(definitions, broken);
        for Duplicate { kind, at, first } in clashes {
            let (document, first) = (&catalog.definitions()[at], &catalog.definitions()[first]);
            let message = kind.message(document.document(), first.document()) + ", which serves";
            errors.push(error(&document.holder.id, texts[at].error(message)));
            if kind == DuplicateKind::Version {
                valid.insert(document.template.name.clone(), false);
            }
        }
        let catalog = catalog.with_values(&self.merged_values(&mut errors)).with_cluster(self.rules.cluster);
        Published { catalog, errors, warnings, valid }
    }

    /// The shared values. Of equal keys, the one in the older ConfigMap serves.
    fn merged_values(&self, errors: &mut Vec<SourceError>) -> BTreeMap<String, String> {
        let mut merged: BTreeMap<String, String> = BTreeMap::new();
        let mut holder_of: BTreeMap<&str, &HolderId> = BTreeMap::new();
        for (holder, held) in by_age(&self.values, |held| &held.created) {
            for (key, value) in &held.values {
                if let Some(first) = holder_of.get(key.as_str()) {
                    let message = format!("the value {} is already defined by {first}, which serves", shown(key, 80));
                    let diagnostic = Diagnostic::of_document(&holder.to_string(), message);
                    errors.push(SourceError { holder: holder.clone(), diagnostic });
                    continue;
                }
                holder_of.insert(key, holder);
                merged.insert(key.clone(), value.clone());
            }
        }
        merged
    }
}

/// The holders from the oldest to the newest. Holders of the same age are sorted by id.
fn by_age<T>(holders: &BTreeMap<HolderId, T>, created: impl Fn(&T) -> &str) -> Vec<(&HolderId, &T)> {
    let mut sorted: Vec<_> = holders.iter().collect();
    sorted.sort_by(|(_, one), (_, other)| created(one).cmp(created(other)));
    sorted
}

impl SourceRules {
    /// The errors, if the source must not define this valid template.
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
            refuse(message, "remove them, or install the template centrally");
        }
        if self.of_namespace && template.sets_service_account() {
            refuse("a template of a namespace cannot set pod.serviceAccountName", "remove it");
        }
        if self.profile != Profile::Privileged {
            broken.extend(template.sensitive.iter().cloned());
        }
        broken
    }
}

impl TemplateDocument {
    /// The template that the document of the holder `id` defines: its current or else its last valid one.
    ///
    /// # Errors
    /// The first error of a document that never defined one.
    fn definition(&self, id: &HolderId, created: &str) -> Result<Definition, String> {
        let (template, is_current) = match (&self.current, &self.last_good) {
            (Ok(template), _) => (template, true),
            (Err(_), Some(template)) => (template, false),
            (Err(errors), None) => return Err(errors.first().map(Diagnostic::one_line).unwrap_or_default()),
        };
        let holder = Holder { created: created.to_owned(), id: id.clone() };
        Ok(Definition { template: Arc::clone(template), holder, place: self.text.place(), is_current })
    }

    fn name(&self) -> &str {
        self.last_good.as_ref().map_or(&self.text.default_name, |template| &template.name)
    }

    fn load(text: TemplateText, last_good: Option<Arc<Template>>, rules: SourceRules, keys: &Keys) -> Self {
        match Template::load(&text.source(), &text.default_name, keys) {
            Ok(loaded) => {
                let of_cluster = loaded.template.faults(&text.source(), rules.cluster);
                let (mut broken, of_cluster): (Vec<_>, Vec<_>) =
                    of_cluster.into_iter().partition(|fault| fault.severity == Severity::Error);
                broken.extend(rules.broken_by(&loaded.template, &text.origin));
                if !broken.is_empty() {
                    return Self { text, current: Err(broken), warnings: Vec::new(), last_good };
                }
                let mut template = loaded.template;
                template.profile = rules.profile;
                let template = Arc::new(template);
                let warnings = loaded.warnings.into_iter().chain(loaded.doubts).chain(of_cluster).collect();
                Self { text, last_good: Some(Arc::clone(&template)), current: Ok(template), warnings }
            }
            Err(errors) => Self { text, current: Err(errors), warnings: Vec::new(), last_good },
        }
    }
}

#[cfg(test)]
mod tests;
