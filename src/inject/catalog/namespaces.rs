//! What is known of namespaces: labels and annotations, where they are watched or given. It knows no templates.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::inject::template::selector::{NAMESPACE_NAME, Selector};

/// A namespace's labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Namespace {
    /// A namespace with the label that the API server gives each.
    #[must_use]
    pub fn new(name: &str, mut labels: BTreeMap<String, String>, annotations: BTreeMap<String, String>) -> Self {
        labels.entry(NAMESPACE_NAME.to_owned()).or_insert_with(|| name.to_owned());
        Self { labels, annotations }
    }
}

/// All namespaces that are known.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    /// Whether all there are should be known: then one that is not has not been seen yet.
    pub watched: bool,
    /// By name.
    pub known: BTreeMap<String, Namespace>,
}

impl Namespaces {
    /// Whether nothing can be said about `name` yet.
    #[must_use]
    pub fn is_pending(&self, name: &str) -> bool {
        self.watched && !self.known.contains_key(name)
    }

    /// Whether the labels of `name` match. Of one that is not known only its name is.
    #[must_use]
    pub fn matches(&self, selector: &Selector, name: &str) -> bool {
        let labels = self.known.get(name).map(|namespace| &namespace.labels);
        selector.matches(|key| {
            let value = labels.and_then(|labels| labels.get(key)).map(String::as_str);
            value.or((key == NAMESPACE_NAME).then_some(name))
        })
    }

    /// An annotation of `name`.
    #[must_use]
    pub fn annotation(&self, name: &str, key: &str) -> Option<&str> {
        self.known.get(name)?.annotations.get(key).map(String::as_str)
    }

    /// `name` as expressions see it.
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
