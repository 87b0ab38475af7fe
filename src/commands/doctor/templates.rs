//! Checks that the templates in the cluster load.
//!
//! Each ConfigMap is read on its own. This module does not check templates against each other.

use serde_json::Value;

use crate::commands::common::api::Api;
use crate::commands::doctor::check::DoctorCheck;
use crate::commands::doctor::installation::items;
use crate::inject::catalog::holder::{HolderId, of_config_map};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;

/// Returns the names of the templates that load, and the check.
pub(super) async fn check(api: &Api, namespace: &str, keys: &Keys) -> (Vec<String>, DoctorCheck) {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps?labelSelector={}%3Dtrue", keys.template);
    match api.get(&path).await {
        Ok(list) => load_all(&list, namespace, keys),
        Err(error) => (Vec::new(), DoctorCheck::unknown("templates", &error)),
    }
}

/// Loads the templates in a list of ConfigMaps.
fn load_all(list: &Value, namespace: &str, keys: &Keys) -> (Vec<String>, DoctorCheck) {
    let (mut names, mut broken) = (Vec::new(), String::new());
    for object in items(list) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let holder = HolderId::ConfigMap { namespace: namespace.to_owned(), name: name.to_owned() };
        let data = object["data"].as_object().into_iter().flatten();
        let data = data.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned())));
        for text in of_config_map(&holder, data).texts {
            match Template::load(&text.source(), &text.default_name, keys) {
                Ok(loaded) => names.push(loaded.template.display()),
                Err(errors) => broken.extend(errors.iter().map(|error| format!("{error}\n"))),
            }
        }
    }
    names.sort();
    let check = match (names.as_slice(), broken.trim_end()) {
        ([], "") => DoctorCheck::warning("templates", format!("there are no templates in {namespace}")).remedy(
            format!("set templates in the chart's values, or create a ConfigMap with the label {}=true", keys.template),
        ),
        (names, "") => DoctorCheck::ok("templates", format!("{} in {namespace}: {}", names.len(), names.join(", "))),
        (_, broken) => DoctorCheck::failed("templates", broken)
            .remedy("fix the template in the ConfigMap; sidecar-injector lint reports details"),
    };
    (names, check)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::Health;
    use super::*;

    #[test]
    fn broken_templates_are_reported_with_their_place() {
        let map = |name: &str, text: &str| json!({"metadata": {"name": name}, "data": {format!("{name}.yaml"): text}});
        let good = map("b", "sidecars: [{name: b, image: i}]");
        let (names, check) =
            load_all(&json!({"items": [good, map("a", "sidecars: [{name: a, image: i}]")]}), "tools", &Keys::default());
        assert_eq!((names.join(" ").as_str(), check.health), ("a b", Health::Ok));
        let (names, check) = load_all(&json!({"items": [good, map("c", "sidecar: []")]}), "tools", &Keys::default());
        assert_eq!((names.join(" ").as_str(), check.health), ("b", Health::Failed));
        assert!(
            check.text.contains("ConfigMap tools/c key c.yaml:1:1") && check.text.contains("sidecars"),
            "{}",
            check.text
        );
        assert_eq!(load_all(&json!({"items": []}), "tools", &Keys::default()).1.health, Health::Warning);
    }
}
