//! Label selectors with the fields of `metav1.LabelSelector`. This module matches labels. It does not know which object
//! has them.

use crate::inject::document::{Node, Value};
use crate::inject::kube::checker::Checker;
use crate::inject::kube::names::{is_label_value, is_qualified_name};

/// The label with the name of a namespace, which every namespace has (`NamespaceDefaultLabelName`).
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// A selector: labels that must be present, absent, or in or not in a set of values. Without requirements it matches
/// everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Returns true if it has no requirements and matches everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Returns true if it needs labels other than the name of a namespace.
    #[must_use]
    pub fn needs_labels(&self) -> bool {
        self.requirements.iter().any(|requirement| requirement.key != NAMESPACE_NAME)
    }

    /// Returns true if the labels match. `get` returns the value of a label, or `None` if it is absent.
    pub fn matches<'l>(&self, get: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = get(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
                // As in Kubernetes, an absent label matches `NotIn`.
                Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    /// Reads a selector of a template. `path` is its path in messages. Errors go to `checker`.
    pub(crate) fn read(checker: &mut Checker, node: &Node, path: &str) -> Self {
        let mut selector = Self::default();
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return selector,
            other => {
                let message = format!("{path} must be a map, not {}", other.kind());
                checker.error(node.span, message, "write {matchLabels: {KEY: VALUE}}");
                return selector;
            }
        };
        for (key, value) in entries {
            match key.name.as_str() {
                "matchLabels" => selector.labels(checker, value, &format!("{path}.matchLabels")),
                "matchExpressions" => selector.expressions(checker, value, &format!("{path}.matchExpressions")),
                other => {
                    let message = format!("{path} has no key \"{other}\"");
                    checker.error(key.span, message, "known keys: matchLabels, matchExpressions");
                }
            }
        }
        selector
    }

    fn labels(&mut self, checker: &mut Checker, node: &Node, path: &str) {
        let json = checker.json(node, "{}string", path);
        for (key, value) in json.as_object().into_iter().flatten() {
            let Some(value) = value.as_str() else { continue };
            if !is_qualified_name(key) || !is_label_value(value) {
                checker.error(node.span, format!("{path}: \"{key}: {value}\" is not a valid label"), "");
            }
            self.requirements.push(Requirement { key: key.clone(), operator: Operator::In(vec![value.to_owned()]) });
        }
    }

    fn expressions(&mut self, checker: &mut Checker, node: &Node, path: &str) {
        let json = checker.json(node, "[]LabelSelectorRequirement", path);
        for item in json.as_array().into_iter().flatten() {
            let values: Vec<String> = item["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect();
            let key = item["key"].as_str().unwrap_or_default().to_owned();
            let operator = match (item["operator"].as_str(), values.is_empty()) {
                (Some("In"), false) => Some(Operator::In(values)),
                (Some("NotIn"), false) => Some(Operator::NotIn(values)),
                (Some("Exists"), true) => Some(Operator::Exists),
                (Some("DoesNotExist"), true) => Some(Operator::DoesNotExist),
                _ => None,
            };
            // A requirement that is not valid is an error of the check above.
            self.requirements.extend(operator.map(|operator| Requirement { key, operator }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::diagnostic::Source;
    use crate::inject::document::yaml;

    fn read(text: &str) -> (Selector, Vec<String>) {
        let source = Source::new("t", text);
        let mut checker = Checker::default();
        let selector = Selector::read(&mut checker, &yaml::parse(&source).expect("YAML"), "s");
        (selector, checker.errors.into_iter().map(|error| error.message).collect())
    }

    #[test]
    fn selects_as_kubernetes_does() {
        let text = "matchLabels: {a: \"1\"}\n\
            matchExpressions:\n\
            - {key: b, operator: In, values: [x, z]}\n\
            - {key: c, operator: NotIn, values: [x]}\n\
            - {key: d, operator: Exists}\n\
            - {key: e, operator: DoesNotExist}\n";
        let (selector, errors) = read(text);
        assert_eq!(errors, [""; 0]);
        let matches = |labels: &[(&str, &str)]| {
            selector.matches(|key| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
        };
        assert!(matches(&[("a", "1"), ("b", "z"), ("d", "")]));
        assert!(!matches(&[("a", "2"), ("b", "z"), ("d", "")]));
        assert!(!matches(&[("a", "1"), ("b", "y"), ("d", "")]));
        assert!(!matches(&[("a", "1"), ("b", "x"), ("c", "x"), ("d", "")]));
        assert!(!matches(&[("a", "1"), ("b", "x"), ("d", ""), ("e", "")]));
        assert!(read("{}").0.matches(|_| None) && read("{}").0.is_empty());
        assert!(!read(&format!("matchLabels: {{{NAMESPACE_NAME}: a}}")).0.needs_labels());
    }

    #[test]
    fn invalid_selectors_are_reported() {
        for text in [
            "a: b",
            "[]",
            "matchLabels: {a b: c}",
            "matchExpressions: [{key: a, operator: In}]",
            "matchExpressions: [{key: a, operator: Exists, values: [b]}]",
        ] {
            assert_eq!(read(text).1.len(), 1, "{text}");
        }
    }
}
