//! The labels and annotations of namespaces, from a watch or from files. This module does not depend on templates, only
//! on their selectors.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::inject::template::selector::{NAMESPACE_NAME, Selector};

/// A namespace's labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// The labels, by key.
    pub labels: BTreeMap<String, String>,
    /// The annotations, by key.
    pub annotations: BTreeMap<String, String>,
}

impl Namespace {
    /// Creates a namespace, with the label `kubernetes.io/metadata.name` that the API server sets on each.
    #[must_use]
    pub fn new(name: &str, mut labels: BTreeMap<String, String>, annotations: BTreeMap<String, String>) -> Self {
        labels.entry(NAMESPACE_NAME.to_owned()).or_insert_with(|| name.to_owned());
        Self { labels, annotations }
    }
}

/// The known namespaces.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    /// True if namespaces are watched. Then an unknown namespace is one that the watch has not reported yet.
    pub watched: bool,
    /// The known namespaces, by name.
    pub known: BTreeMap<String, Namespace>,
}

impl Namespaces {
    /// Returns true if the watch has not reported the namespace `name` yet.
    #[must_use]
    pub fn is_pending(&self, name: &str) -> bool {
        self.watched && !self.known.contains_key(name)
    }

    /// Returns true if the labels of the namespace `name` match. An unknown namespace has only the label with its name.
    #[must_use]
    pub fn matches(&self, selector: &Selector, name: &str) -> bool {
        let labels = self.known.get(name).map(|namespace| &namespace.labels);
        selector.matches(|key| {
            let value = labels.and_then(|labels| labels.get(key)).map(String::as_str);
            value.or((key == NAMESPACE_NAME).then_some(name))
        })
    }

    /// The value of an annotation of the namespace `name`; `None` if the annotation or the namespace is not known.
    #[must_use]
    pub fn annotation(&self, name: &str, key: &str) -> Option<&str> {
        self.known.get(name)?.annotations.get(key).map(String::as_str)
    }

    /// The namespace `name` as JSON for expressions: `metadata` with `name`, `labels` and `annotations`.
    #[must_use]
    pub fn object(&self, name: &str) -> Json {
        match self.known.get(name) {
            Some(namespace) => json!({
                "metadata": {"name": name, "labels": namespace.labels, "annotations": namespace.annotations},
            }),
            None => json!({"metadata": {"name": name, "labels": {NAMESPACE_NAME: name}, "annotations": {}}}),
        }
    }
}
