//! Rules between a container and fields of the pod. Each returns its faults in a pod. Source: the named function in
//! `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`.

use crate::inject::plan::cross::CrossFault;
use crate::inject::plan::cross::located::Located;

/// `validateResourceClaimNames`.
pub(super) fn claims(pod: &Located<'_>) -> Vec<CrossFault> {
    let known = |name: &str| pod.member("spec").items("resourceClaims").any(|claim| claim.name() == name);
    let mut faults = Vec::new();
    for container in pod.containers() {
        for claim in container.member("resources").items("claims").filter(|claim| !known(claim.name())) {
            let what = format!(
                "the container \"{}\" has the name {} in resources.claims, which the pod's resourceClaims do not have",
                container.name(),
                claim.name()
            );
            faults.push(CrossFault::new(what, [claim.at]));
        }
    }
    faults
}

/// `validateResizePolicy`.
pub(super) fn resize(pod: &Located<'_>) -> Vec<CrossFault> {
    if pod.value["spec"]["restartPolicy"] != "Never" {
        return Vec::new();
    }
    let restarts = |policy: &Located<'_>| policy.text("restartPolicy") == "RestartContainer";
    let fault = |container: Located<'_>| {
        let policy = container.items("resizePolicy").find(restarts)?;
        let what = format!(
            "the container \"{}\" has the restartPolicy RestartContainer in resizePolicy, but the pod has the \
             restartPolicy Never",
            container.name()
        );
        Some(CrossFault::new(what, [policy.at]))
    };
    pod.containers().filter_map(fault).collect()
}

/// `validateSleepAction`. The API server sets a negative grace period to 1. Templates only raise the grace period, so it
/// is never the cause.
pub(super) fn sleep(pod: &Located<'_>) -> Vec<CrossFault> {
    let grace = pod.value["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let grace = if grace < 0 { 1 } else { grace };
    let mut faults = Vec::new();
    for container in pod.containers() {
        for hook in ["preStop", "postStart"] {
            let sleep = container.path(["lifecycle", hook, "sleep"]);
            let seconds = sleep.value["seconds"].as_i64().unwrap_or(0);
            if seconds > grace {
                let what = format!(
                    "the container \"{}\" has lifecycle.{hook}.sleep.seconds {seconds}, more than the \
                     terminationGracePeriodSeconds of the pod, {grace}",
                    container.name()
                );
                faults.push(CrossFault::new(what, [sleep.at]));
            }
        }
    }
    faults
}

/// `ValidateSecurityContext`.
pub(super) fn proc_mount(pod: &Located<'_>) -> Vec<CrossFault> {
    if pod.value["spec"]["hostUsers"] == false {
        return Vec::new();
    }
    let fault = |container: Located<'_>| {
        let proc_mount = container.path(["securityContext", "procMount"]);
        let what = format!(
            "the container \"{}\" has procMount Unmasked, but the pod does not have hostUsers: false",
            container.name()
        );
        (*proc_mount.value == "Unmasked").then(|| CrossFault::new(what, [proc_mount.at]))
    };
    pod.containers().filter_map(fault).collect()
}

/// `validateMountPropagation`.
pub(super) fn bidirectional(pod: &Located<'_>) -> Vec<CrossFault> {
    let mut faults = Vec::new();
    for container in pod.containers().filter(|own| own.value["securityContext"]["privileged"] != true) {
        for mount in container.items("volumeMounts").filter(|mount| mount.text("mountPropagation") == "Bidirectional") {
            let what = format!(
                "the container \"{}\" has a mount at {} with mountPropagation Bidirectional, but it is not privileged",
                container.name(),
                mount.text("mountPath")
            );
            faults.push(CrossFault::new(what, [mount.at]));
        }
    }
    faults
}
