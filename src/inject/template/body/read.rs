//! Reads the lists and metadata of a template document into what the blueprint keeps. It compiles; it evaluates nothing.

use std::sync::Arc;

use crate::inject::document::yaml::{Key, Node, Value};
use crate::inject::kube::names;
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::compile::Compiler;
use crate::inject::template::body::item::{self, Item, Kind};
use crate::inject::template::body::{Entry, Pairs, Words};
use crate::inject::template::position;

impl Compiler<'_, '_, '_> {
    pub(super) fn list(&mut self, node: Option<&Node>, kind: Kind, files: &str, names: &mut item::Names) -> Vec<Entry> {
        let items = self.checker.items(node, kind.key());
        let entry = |(index, node)| self.entry(node, kind, files, format!("{}[{index}]", kind.key()), names);
        items.iter().enumerate().filter_map(entry).collect()
    }

    fn entry(&mut self, node: &Node, kind: Kind, files: &str, path: String, names: &mut item::Names) -> Option<Entry> {
        let condition = node.get("if").and_then(|node| self.expression(node, "if"));
        let place = if kind.is_container() { position(self.checker, node.get("position")) } else { None };
        let mut dynamic = false;
        let own = |key: &Key| key.name == "if" || key.name == "position" && kind.is_container();
        let node = match &node.value {
            Value::Map(entries) => {
                let fields = entries.iter().filter(|(key, _)| !own(key)).cloned().collect();
                self.strings(&Node { value: Value::Map(fields), ..node.clone() }, &mut dynamic)
            }
            _ => self.strings(node, &mut dynamic),
        };
        if let Value::Text(_) = &node.value {
            let help = "write the item, with expressions in its values and `if` beside them";
            self.checker.error(node.span, format!("{path} cannot be an expression as a whole"), help);
        }
        names.conditional = condition.is_some();
        let item = item::read(self.checker, &node, kind, files, &path, names)?;
        let item = Arc::new(Item { position: place, ..item });
        Some(Entry { kind, item, condition, node: dynamic.then_some((node, path)) })
    }

    pub(super) fn metadata(&mut self, node: Option<&Node>, keys: &Keys) -> (Pairs, Pairs) {
        let (mut labels, mut annotations) = (Vec::new(), Vec::new());
        let Some(node) = node else { return (labels, annotations) };
        let Value::Map(entries) = &node.value else {
            self.checker.error(node.span, "metadata is a map of labels and annotations", "");
            return (labels, annotations);
        };
        for (key, value) in entries {
            match key.name.as_str() {
                "labels" => labels = self.pairs(value, true, keys),
                "annotations" => annotations = self.pairs(value, false, keys),
                other => {
                    let message = format!("metadata has no key \"{other}\"");
                    self.checker.error(key.span, message, "a template can add labels and annotations");
                }
            }
        }
        (labels, annotations)
    }

    fn pairs(&mut self, node: &Node, are_labels: bool, keys: &Keys) -> Pairs {
        let path = if are_labels { "metadata.labels" } else { "metadata.annotations" };
        let node = self.strings(node, &mut false);
        self.checker.json(&node, "{}string", path);
        let Value::Map(entries) = node.value else {
            if let Value::Text(_) = node.value {
                self.checker.error(node.span, format!("{path} cannot be an expression as a whole"), "");
            }
            return Vec::new();
        };
        let mut pairs = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if keys.is_own(&key.name) {
                self.checker.error(key.span, format!("{} is written by the injector alone", key.name), "");
            } else if !names::is_qualified_name(&key.name) {
                let message = format!("\"{}\" is no key of a label or annotation", key.name);
                let help = "write NAME or PREFIX/NAME; a name has 1 to 63 of A-Z, a-z, 0-9, -, _ and .";
                self.checker.error(key.span, message, help);
            }
            let words = match value.value {
                Value::String(text) => Words::Constant(text),
                Value::Text(text) => Words::Text(text),
                _ => continue,
            };
            if let Words::Constant(text) = &words
                && are_labels
                && !names::is_label_value(text)
            {
                let help = "use up to 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends";
                self.checker.error(value.span, format!("\"{text}\" is no value of a label"), help);
            }
            pairs.push((key, words));
        }
        pairs
    }
}
