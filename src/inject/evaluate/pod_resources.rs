//! Containers that join a pod with resources of its own (KEP-2837): the sum of the containers' requests may not
//! exceed the pod's, and no limit may. Leaving requests out does not help: the API server defaults them from limits,
//! and a LimitRange adds them back. So they become an explicit "0", and limits are capped. Huge pages cannot be
//! overcommitted: a request must equal its limit, so there a container that wants some does not fit.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::inject::kube::quantity::quantity;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::item::Item;

/// What the names of the resources begin with of which a request must equal its limit (`IsOvercommitAllowed`).
const HUGE_PAGES: &str = "hugepages-";

/// `additions` as they fit into a pod with these `resources`, with what was changed; `None` where nothing has to be.
///
/// # Errors
/// What does not fit, a sentence without full stop.
pub(crate) fn fit(additions: &Additions, resources: &Json) -> Result<Option<(Additions, Vec<String>)>, String> {
    let member = |key: &str| resources[key].as_object().into_iter().flatten();
    let mut names: Vec<&str> = member("requests").chain(member("limits")).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let (mut fitted, mut changes) = (additions.clone(), Vec::new());
    for item in fitted.init_containers.iter_mut().chain(&mut fitted.containers) {
        let mut value = item.value.clone();
        let mut parts = Vec::new();
        for name in &names {
            let limit = &resources["limits"][*name];
            if cap(&mut value, name, limit) {
                parts.push(format!("limit of {name}"));
            }
            let own = &value["resources"]["requests"][*name];
            let has_limit = !value["resources"]["limits"][*name].is_null();
            if name.starts_with(HUGE_PAGES) && (has_limit || !own.is_null()) {
                return Err(format!("its container \"{}\" needs {name}, which the pod shares out itself", item.name));
            }
            if own != "0" && (!own.is_null() || has_limit) {
                value["resources"]["requests"][*name] = json!("0");
                parts.push(format!("request of {name}"));
            }
        }
        if !parts.is_empty() {
            changes.push(format!("{} of {} follow the pod's own resources", parts.join(", "), item.name));
            *item = Arc::new(Item { json: value.to_string(), value, ..Item::clone(item) });
        }
    }
    Ok((!changes.is_empty()).then_some((fitted, changes)))
}

/// Lowers the limit of a container to the pod's.
fn cap(container: &mut Json, name: &str, limit: &Json) -> bool {
    let own = container["resources"]["limits"][name].as_str().and_then(quantity);
    // A manifest may have a number.
    let text = limit.as_str().map(str::to_owned).or_else(|| limit.as_number().map(ToString::to_string));
    let (Some(own), Some(text)) = (own, text) else { return false };
    let above = quantity(&text).is_some_and(|limit| own > limit);
    if above {
        container["resources"]["limits"][name] = json!(text);
    }
    above
}
