//! Fits containers into a pod with pod-level resources (KEP-2837). The sum of the containers' requests must not exceed
//! the pod's request, and no limit can exceed the pod's limit. Removing requests does not help: the API server defaults
//! them from limits, and a LimitRange adds them back. So requests become an explicit "0", and limits are capped. Huge
//! pages cannot be overcommitted: a request must equal its limit, so they stay as they are. Whether they fit is judged
//! with the containers of the whole pod. This module does not depend on templates.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::inject::kube::quantity::{HUGE_PAGES, quantity};
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::item::Item;

/// Fits `additions` into a pod with the pod-level `resources`. Returns the fitted additions and the changes, one
/// sentence without full stop for each changed container; `None` if no change is needed.
pub(crate) fn fit(additions: &Additions, resources: &Json) -> Option<(Additions, Vec<String>)> {
    let member = |key: &str| resources[key].as_object().into_iter().flatten();
    let mut names: Vec<&str> = member("requests").chain(member("limits")).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let (mut fitted, mut changes) = (additions.clone(), Vec::new());
    for item in fitted.init_containers.iter_mut().chain(&mut fitted.containers) {
        let mut value = item.value.clone();
        let mut parts = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with(HUGE_PAGES)) {
            let limit = &resources["limits"][*name];
            if cap(&mut value, name, limit) {
                parts.push(format!("limit of {name}"));
            }
            let own = &value["resources"]["requests"][*name];
            let has_limit = !value["resources"]["limits"][*name].is_null();
            if own != "0" && (!own.is_null() || has_limit) {
                value["resources"]["requests"][*name] = json!("0");
                parts.push(format!("request of {name}"));
            }
        }
        if !parts.is_empty() {
            changes.push(format!("{} of {} changed to fit the pod-level resources", parts.join(", "), item.name));
            *item = Arc::new(Item { json: value.to_string(), value, ..Item::clone(item) });
        }
    }
    (!changes.is_empty()).then_some((fitted, changes))
}

/// Lowers the limit of a container for the resource `name` to the pod's `limit`. Returns true if it was higher.
fn cap(container: &mut Json, name: &str, limit: &Json) -> bool {
    let own = container["resources"]["limits"][name].as_str().and_then(quantity);
    // A manifest can have a number instead of a string.
    let text = limit.as_str().map(str::to_owned).or_else(|| limit.as_number().map(ToString::to_string));
    let (Some(own), Some(text)) = (own, text) else { return false };
    let above = quantity(&text).is_some_and(|limit| own > limit);
    if above {
        container["resources"]["limits"][name] = json!(text);
    }
    above
}
