//! The rule between the resources of a pod as a whole (KEP-2837) and those of its containers. Source:
//! `validatePodResourceConsistency` in `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use crate::inject::decision::reason::Reason;
use crate::inject::kube::quantity::{HUGE_PAGES, quantity};
use crate::inject::plan::cross::CrossFault;
use crate::inject::plan::cross::located::Located;

/// The value of a resource in `requests` or `limits`; `None` if it is absent or not a quantity.
fn amount(owner: &Located<'_>, list: &str, name: &str) -> Option<i128> {
    match &owner.value["resources"][list][name] {
        serde_json::Value::String(text) => quantity(text),
        serde_json::Value::Number(number) => quantity(&number.to_string()),
        _ => None,
    }
}

/// What the containers use together at most, as `AggregateContainerRequests` adds it: the containers run beside all
/// native sidecars, and each init container runs beside the native sidecars before it.
fn together(pod: &Located<'_>, of: impl Fn(&Located<'_>) -> i128) -> i128 {
    let spec = pod.member("spec");
    let (mut sidecars, mut most) = (0_i128, 0_i128);
    for container in spec.items("initContainers") {
        let own = of(&container);
        if container.text("restartPolicy") == "Always" {
            sidecars = sidecars.saturating_add(own);
            most = most.max(sidecars);
        } else {
            most = most.max(sidecars.saturating_add(own));
        }
    }
    most.max(spec.items("containers").fold(sidecars, |sum, container| sum.saturating_add(of(&container))))
}

/// The containers must fit into the resources of the pod. A request that is absent is the limit.
pub(super) fn of_pod(pod: &Located<'_>) -> Vec<CrossFault> {
    let spec = pod.member("spec");
    let member = |list: &str| spec.value["resources"][list].as_object().into_iter().flatten().map(|(name, _)| name);
    let names: BTreeSet<&String> = member("requests").chain(member("limits")).collect();
    let mut faults = Vec::new();
    for name in names {
        let limit = amount(&spec, "limits", name);
        let request = |own: &Located<'_>| amount(own, "requests", name).or(amount(own, "limits", name)).unwrap_or(0);
        let limit_of = |own: &Located<'_>| amount(own, "limits", name).unwrap_or(0);
        let requests_exceed =
            amount(&spec, "requests", name).or(limit).is_some_and(|most| together(pod, request) > most);
        let limits_exceed = limit.is_some_and(|most| {
            let exceeds = |container: Located<'_>| limit_of(&container) > most;
            spec.items("containers").any(exceeds) || name.starts_with(HUGE_PAGES) && together(pod, limit_of) > most
        });
        if requests_exceed || limits_exceed {
            let list = if requests_exceed { "requests" } else { "limits" };
            let what = format!("the containers use more {name} than the {list} of the pod-level resources allow");
            let uses = |own: &Located<'_>| request(own) > 0 || limit_of(own) > 0;
            let at = spec.path(["resources", list, name]).at;
            let reads = std::iter::once(at).chain(pod.containers().filter(uses).map(|own| own.at)).collect();
            let fix = "Remove the resource from the pod-level resources, or do not use the template";
            faults.push(CrossFault { reason: Reason::ResourcesExceeded, what, fix, reads });
        }
    }
    faults
}
