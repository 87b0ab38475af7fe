//! `metadata`: the labels and annotations that a template adds. This module checks and evaluates them. The plan decides
//! which of them a pod has already.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::shown;
use crate::inject::document::{Key, Node, Value};
use crate::inject::expr::{Interpolation, Scope};
use crate::inject::kube::formats::{ANNOTATION_KEY, LABEL_VALUE, QUALIFIED};
use crate::inject::kube::names::is_label_value;
use crate::inject::kube::rules::annotations;
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::compile::Compiler;

/// The labels or the annotations of a template.
#[derive(Debug, Default)]
pub(super) struct MetadataMap(Vec<(String, MetadataValue)>);

#[derive(Debug)]
enum MetadataValue {
    Constant(String),
    Interpolated(Arc<Interpolation>),
}

/// Reads `metadata`: first its labels, then its annotations. `keys` are the annotation keys of the installation.
pub(super) fn load(compiler: &mut Compiler<'_, '_>, node: Option<&Node>, keys: &Keys) -> [MetadataMap; 2] {
    let (mut labels, mut annotations) = (MetadataMap::default(), MetadataMap::default());
    let Some(node) = node else { return [labels, annotations] };
    let Value::Map(entries) = &node.value else {
        compiler.checker.error(node.span, "metadata must be a map with the keys labels and annotations", "");
        return [labels, annotations];
    };
    for (key, value) in entries {
        match key.name.as_str() {
            "labels" => labels = map(compiler, value, true, keys),
            "annotations" => annotations = map(compiler, value, false, keys),
            other => {
                let message = format!("metadata has no key \"{other}\"");
                compiler.checker.error(key.span, message, "a template can add labels and annotations");
            }
        }
    }
    [labels, annotations]
}

fn map(compiler: &mut Compiler<'_, '_>, node: &Node, are_labels: bool, keys: &Keys) -> MetadataMap {
    let path = if are_labels { "metadata.labels" } else { "metadata.annotations" };
    let (node, _) = compiler.strings(node);
    compiler.checker.json(&node, "{}string", path);
    if !node.is_known() {
        compiler.checker.error(node.span, format!("{path} cannot be a single expression"), "");
    }
    let mut map = Vec::with_capacity(node.entries().len());
    for (key, value) in node.entries() {
        check_key(compiler, key, are_labels, keys);
        match &value.value {
            Value::String(text) => {
                if are_labels && !is_label_value(text) {
                    compiler.checker.error(
                        value.span,
                        format!("\"{text}\" is not a valid label value"),
                        LABEL_VALUE.help,
                    );
                }
                if let Some(message) = annotation_fault(&key.name, text).filter(|_| !are_labels) {
                    compiler.checker.error(value.span, message, "");
                }
                map.push((key.name.clone(), MetadataValue::Constant(text.clone())));
            }
            Value::Interpolated(text) => map.push((key.name.clone(), MetadataValue::Interpolated(Arc::clone(text)))),
            _ => {}
        }
    }
    MetadataMap(map)
}

fn check_key(compiler: &mut Compiler<'_, '_>, key: &Key, of_label: bool, keys: &Keys) {
    let format = if of_label { &QUALIFIED } else { &ANNOTATION_KEY };
    if keys.is_own(&key.name) {
        compiler.checker.error(key.span, format!("{} is reserved for the injector", key.name), "");
    } else if !(format.is_valid)(&key.name) {
        let message = format!("\"{}\" is not a valid key of a label or annotation", key.name);
        compiler.checker.error(key.span, message, format.help);
    }
}

/// The rule of the API server that the value of an annotation breaks, a sentence without full stop.
fn annotation_fault(key: &str, text: &str) -> Option<String> {
    let what = annotations::broken(key, text)?;
    Some(format!("metadata.annotations: {key} must be {what}, not \"{}\"", shown(text, 80)))
}

impl MetadataMap {
    /// The pairs whose values are the same for every pod.
    pub(super) fn known(&self) -> Vec<(String, String)> {
        let constant = |(key, value): &(String, MetadataValue)| match value {
            MetadataValue::Constant(text) => Some((key.clone(), text.clone())),
            MetadataValue::Interpolated(_) => None,
        };
        self.0.iter().filter_map(constant).collect()
    }

    /// All pairs, if all are the same for every pod.
    pub(super) fn constant(&self) -> Option<Vec<(String, String)>> {
        let known = self.known();
        (known.len() == self.0.len()).then_some(known)
    }

    /// Evaluates the pairs for one pod. A null result drops its pair. `what` is `label` or `annotation`. Adds to
    /// `problems` one sentence without full stop for each expression that failed or returned a value that is not valid.
    pub(super) fn evaluate(&self, what: &str, scope: &Scope<'_>, problems: &mut Vec<String>) -> Vec<(String, String)> {
        let mut evaluated = Vec::with_capacity(self.0.len());
        for (key, value) in &self.0 {
            let text = match value {
                MetadataValue::Constant(text) => text.clone(),
                MetadataValue::Interpolated(text) => match text.evaluate(scope) {
                    Ok(Json::Null) => continue,
                    Ok(Json::String(text)) => text,
                    Ok(scalar @ (Json::Bool(_) | Json::Number(_))) => scalar.to_string(),
                    Ok(_) => {
                        problems.push(format!("the {what} {key} must be a string, not a list or a map"));
                        continue;
                    }
                    Err(why) => {
                        problems.push(why);
                        continue;
                    }
                },
            };
            if what == "label" && !is_label_value(&text) {
                problems.push(format!("the label {key} cannot have the value \"{}\"", shown(&text, 80)));
            }
            problems.extend(annotation_fault(key, &text).filter(|_| what == "annotation"));
            evaluated.push((key.clone(), text));
        }
        evaluated
    }
}
