//! The templates that the documents of one place define, and which of them serve: of documents with the same name and
//! version, and of documents with `default: true`, the oldest serves. This module does not know how documents are read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::inject::catalog::holder::Holder;
use crate::inject::template::Template;

/// A template with the document that defines it.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The template.
    pub template: Arc<Template>,
    /// The holder of the document.
    pub holder: Holder,
    /// The document in messages.
    pub place: String,
    /// False if the document is now invalid, and this is its last valid template.
    pub is_current: bool,
}

impl Definition {
    /// The part that [`settle`] needs.
    pub(crate) fn document(&self) -> Document<'_> {
        Document { template: &self.template, place: &self.place, is_current: self.is_current }
    }
}

/// A document that defines a template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'t> {
    /// The template.
    pub(crate) template: &'t Template,
    /// See [`Definition::place`].
    pub(crate) place: &'t str,
    /// See [`Definition::is_current`].
    pub(crate) is_current: bool,
}

/// What two documents must not both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DuplicateKind {
    /// The same name and version. Only the older document is in the catalog.
    Version,
    /// The same name and `default: true`. Only the older document serves requests without a version.
    Default,
}

impl DuplicateKind {
    /// The problem of `document`, a clause without the document's place.
    pub(crate) fn message(self, document: Document<'_>, other: Document<'_>) -> String {
        let (display, place) = (document.template.display(), other.place);
        match self {
            Self::Version => format!("{display} is already defined by {place}"),
            Self::Default => {
                format!("{display} sets default: true, and so does {} of {place}", other.template.display())
            }
        }
    }
}

/// Two documents that clash, by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// What both have.
    pub(crate) kind: DuplicateKind,
    /// The document with the problem.
    pub(crate) at: usize,
    /// The document that serves.
    pub(crate) first: usize,
}

/// Which documents serve.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// The documents in the catalog, from the oldest to the newest.
    pub(crate) served: Vec<usize>,
    /// The clashes.
    pub(crate) clashes: Vec<Duplicate>,
}

/// Decides which of `documents` serve. They are sorted from the oldest to the newest. A valid document takes precedence
/// over the last valid template of an invalid one. Only valid documents have clashes.
pub(crate) fn settle(documents: &[Document<'_>]) -> Settled {
    let mut settled = Settled::default();
    let mut version_at: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for is_current in [true, false] {
        for (at, Document { template, .. }) in
            documents.iter().enumerate().filter(|(_, it)| it.is_current == is_current)
        {
            match version_at.entry((&template.name, template.version.as_deref())) {
                Entry::Vacant(entry) => {
                    entry.insert(at);
                    settled.served.push(at);
                }
                Entry::Occupied(entry) if is_current => {
                    settled.clashes.push(Duplicate { kind: DuplicateKind::Version, at, first: *entry.get() });
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    settled.served.sort_unstable();
    let mut default_at: HashMap<&str, usize> = HashMap::new();
    for &at in settled.served.iter().filter(|at| documents[**at].template.is_default) {
        let first = *default_at.entry(&documents[at].template.name).or_insert(at);
        if first != at && documents[at].is_current {
            settled.clashes.push(Duplicate { kind: DuplicateKind::Default, at, first });
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::diagnostic::Source;
    use crate::inject::settings::keys::Keys;

    fn default_version(version: &str) -> Template {
        let text = format!("{{version: '{version}', default: true}}");
        Template::load(&Source::new("t", &text), "logs", &Keys::default()).expect("a template").template
    }

    #[test]
    fn the_oldest_document_of_a_version_and_the_oldest_default_serve() {
        let (one, two) = (default_version("1"), default_version("2"));
        let old = |template, place| Document { template, place, is_current: false };
        let document = |template, place| Document { template, place, is_current: true };
        let documents = [old(&one, "a"), document(&two, "b"), document(&one, "c"), document(&one, "d")];
        let settled = settle(&documents);
        assert_eq!(settled.served, [1, 2], "a valid document takes precedence over an older invalid one");
        let same = Duplicate { kind: DuplicateKind::Version, at: 3, first: 2 };
        let default = Duplicate { kind: DuplicateKind::Default, at: 2, first: 1 };
        assert_eq!(settled.clashes, [same, default]);
        let message = |clash: &Duplicate| clash.kind.message(documents[clash.at], documents[clash.first]);
        assert_eq!(message(&same), "logs@1 is already defined by c");
        assert_eq!(message(&default), "logs@1 sets default: true, and so does logs@2 of b");
        // The errors of an invalid document are reported instead of its clashes.
        assert_eq!(settle(&[document(&two, "b"), old(&one, "a")]).clashes, []);
        // The last valid template of an invalid document stays the default that it was.
        let settled = settle(&[old(&one, "a"), document(&two, "b")]);
        assert_eq!(
            (settled.served, settled.clashes),
            (vec![0, 1], vec![Duplicate { kind: DuplicateKind::Default, at: 1, first: 0 }])
        );
    }
}
