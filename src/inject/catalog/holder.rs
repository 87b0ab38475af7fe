//! Holders of template documents: files and ConfigMaps, and the documents found in them. The module does not load
//! templates.

use std::fmt;
use std::path::Path;

use crate::inject::diagnostic::{Diagnostic, Source, shown};

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

/// A place that holds documents: a file, or one ConfigMap. The order is from the oldest to the newest.
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
    /// Its key in the ConfigMap, which is unique in the holder.
    pub key: String,
    /// Its name in messages; see [`Source::origin`].
    pub origin: String,
    /// The template's name if the document does not set one.
    pub default_name: String,
    /// The namespace that the manifest of its ConfigMap sets. `None` for documents that are not in a manifest.
    pub namespace: Option<String>,
    /// The document.
    pub text: String,
    /// See [`Source::lines_before`].
    pub lines_before: usize,
    /// See [`Source::columns_before`].
    pub columns_before: usize,
}

impl TemplateText {
    /// The document with its place, to be loaded.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        let Self { origin, text, lines_before, columns_before, .. } = self;
        Source { origin, text, lines_before: *lines_before, columns_before: *columns_before }
    }

    /// The document in messages: its origin and, if it begins after the first line of its file, that line.
    #[must_use]
    pub fn place(&self) -> String {
        match self.lines_before {
            0 => self.origin.clone(),
            lines => format!("{}:{}", self.origin, lines + 1),
        }
    }

    /// An error about the whole document, at its beginning.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        let mut error = Diagnostic::of_document(&self.origin, message);
        if self.lines_before > 0 {
            (error.line, error.column) = (self.lines_before + 1, self.columns_before + 1);
        }
        error
    }
}

/// The content of a holder.
#[derive(Debug, Default)]
pub struct FoundDocuments {
    /// Its documents.
    pub texts: Vec<TemplateText>,
    /// Errors of the holder itself.
    pub errors: Vec<Diagnostic>,
    /// Warnings, such as keys that are not read.
    pub warnings: Vec<Diagnostic>,
    /// True if a part could not be read, so documents can be missing.
    pub incomplete: bool,
}

/// The warning for a key that is not read.
pub(crate) fn not_read(key: &str) -> String {
    format!("key {} does not end in .yaml or .yml and is not read", shown(key, 80))
}

/// The template documents in the `data` of the ConfigMap `holder`.
#[must_use]
pub fn of_config_map(holder: &HolderId, data: impl IntoIterator<Item = (String, String)>) -> FoundDocuments {
    let warning = |message: String| Diagnostic::of_document(&holder.to_string(), message).warning();
    let mut found = FoundDocuments::default();
    for (key, text) in data {
        let origin = format!("{holder} key {key}");
        if let Some(name) = template_name(&key) {
            let default_name = name.to_owned();
            found.texts.push(TemplateText { key, origin, default_name, text, ..TemplateText::default() });
        } else {
            found.warnings.push(warning(not_read(&key)));
        }
    }
    if found.texts.is_empty() && found.warnings.is_empty() {
        found.warnings.push(warning("the ConfigMap contains no templates".to_owned()));
    }
    found
}

/// The default name of the template in a file or ConfigMap key: its name without the extension `.yaml` or `.yml`.
/// `None` for a name with another extension, which contains no template.
#[must_use]
pub fn template_name(key: &str) -> Option<&str> {
    key.strip_suffix(".yaml").or_else(|| key.strip_suffix(".yml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_named_after_its_key_without_one_extension() {
        let keys = ["a.yaml", "a.yml", "a.yaml.yml", "a.yaml.yaml", "a", "a.json", ".yaml"];
        let names = [Some("a"), Some("a"), Some("a.yaml"), Some("a.yaml"), None, None, Some("")];
        assert_eq!(keys.map(template_name), names);
        let data = keys.map(|key| (key.to_owned(), String::new()));
        let id = HolderId::ConfigMap { namespace: "ns".to_owned(), name: "one".to_owned() };
        let found = of_config_map(&id, data);
        let found: Vec<&str> = found.texts.iter().map(|text| text.default_name.as_str()).collect();
        assert_eq!(found, ["a", "a", "a.yaml", "a.yaml", ""]);
    }
}
