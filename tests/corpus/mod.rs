//! What must hold of every patch, and how a case of the golden corpus wants to be decided: `settings.json` beside its input, `values.yaml` for shared
//! values, and the Namespace documents of the input itself.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use sidecar_injector::inject::settings::keys::{Keys, PREFIX};
use sidecar_injector::inject::settings::{EntryPoint, Settings};

/// The settings of a case; without a file the defaults.
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

    /// The same as arguments of `inject` and `serve`.
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

/// The closed list of what may be replaced: the status, and what only grows or stood for a default.
fn may_become(key: &str, before: &Value, after: &Value) -> bool {
    let grows = || after.as_str().zip(before.as_str()).is_some_and(|(after, before)| after.starts_with(before));
    match key {
        "value" | "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" => grows(),
        "serviceAccountName" => before == "default",
        "terminationGracePeriodSeconds" => after.as_i64() > before.as_i64(),
        _ => false,
    }
}

/// Whether everything of `before` is in `after`, equal and in order, but for the closed list. Null may become
/// something.
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
