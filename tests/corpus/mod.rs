//! The invariant of every patch, and the inputs of a case in the golden corpus: `settings.json` contains its settings
//! and `values.yaml` its shared values. The input itself contains the Namespaces.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use sidecar_injector::inject::settings::keys::{Keys, PREFIX};
use sidecar_injector::inject::settings::{EntryPoint, Settings};

/// The settings of a case. Without `settings.json`, the defaults apply.
pub(crate) struct CaseSettings {
    json: Value,
}

impl CaseSettings {
    pub(crate) fn of(case: &Path) -> Self {
        let text = fs::read_to_string(case.join("settings.json")).unwrap_or_else(|_| "{}".to_owned());
        Self { json: serde_json::from_str(&text).expect("settings.json") }
    }

    fn list(&self, key: &str) -> Vec<String> {
        self.json[key].as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    pub(crate) fn entry(&self) -> EntryPoint {
        if self.json["policy"] == true { EntryPoint::Policy } else { EntryPoint::Requests }
    }

    /// The keys of annotations.
    pub(crate) fn keys(&self) -> Keys {
        Keys::with_prefix(self.json["annotationPrefix"].as_str().unwrap_or(PREFIX)).expect("a prefix")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            keys: self.keys(),
            default_templates: self.list("defaultTemplates"),
            request_annotations: self.list("requestAnnotations"),
            skip_unknown: self.json["unknownTemplate"] == "Skip",
            excluded_namespaces: self.list("excludedNamespaces"),
            ..Settings::default()
        }
    }

    /// The settings as arguments of `inject` and `serve`.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (key, flag) in [
            ("defaultTemplates", "--default-templates"),
            ("requestAnnotations", "--request-annotation"),
            ("excludedNamespaces", "--exclude-namespace"),
        ] {
            arguments.extend(self.list(key).into_iter().flat_map(|value| [flag.to_owned(), value]));
        }
        if let Some(prefix) = self.json["annotationPrefix"].as_str() {
            arguments.extend(["--annotation-prefix".to_owned(), prefix.to_owned()]);
        }
        if self.json["unknownTemplate"] == "Skip" {
            arguments.extend(["--unknown-template".to_owned(), "Skip".to_owned()]);
        }
        arguments
    }
}

/// The shared values of a case.
pub(crate) fn values(case: &Path) -> BTreeMap<String, String> {
    let Ok(text) = fs::read_to_string(case.join("values.yaml")) else { return BTreeMap::new() };
    let document = sidecar_injector::manifest::template_files::manifest("values.yaml", 0, &text).expect("YAML");
    let pairs = document.as_object().expect("a map").iter();
    pairs.map(|(key, value)| (key.clone(), value.as_str().expect("a string").to_owned())).collect()
}

/// Returns true if a patch may replace the value of `key`. Only these values may be replaced: values that only grow,
/// and defaults of the API server.
fn may_become(key: &str, before: &Value, after: &Value) -> bool {
    let grows = || after.as_str().zip(before.as_str()).is_some_and(|(after, before)| after.starts_with(before));
    match key {
        "value" | "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" => grows(),
        "serviceAccountName" => before == "default",
        "terminationGracePeriodSeconds" => after.as_i64() > before.as_i64(),
        _ => false,
    }
}

/// Returns true if `after` contains every value of `before`, equal and in order. Exceptions are the status, the values
/// that [`may_become`] allows, and null, which can become any value.
pub(crate) fn contains(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Null, _) => true,
        (Value::Object(before), Value::Object(after)) => before.iter().all(|(key, value)| {
            let kept = |after: &Value| contains(value, after) || may_become(key, value, after);
            key.ends_with("/status") || after.get(key).is_some_and(kept)
        }),
        (Value::Array(before), Value::Array(after)) => {
            let mut rest = after.iter();
            before.iter().all(|item| rest.any(|after| contains(item, after)))
        }
        (before, after) => before == after,
    }
}
