//! Rules between containers, volumes and pod-level fields. Each returns its faults in a pod. Source: the named function
//! in `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`.

use serde_json::Value as Json;

use crate::inject::decision::reason::Reason;
use crate::inject::kube::names::is_subdomain;
use crate::inject::plan::cross::{CrossFault, PodPart};

/// The items of a list.
fn items<'j>(value: &'j Json, field: &str) -> impl Iterator<Item = &'j Json> + use<'j> {
    value[field].as_array().into_iter().flatten()
}

/// The containers and init containers of a pod.
pub(super) fn containers(pod: &Json) -> impl Iterator<Item = &Json> {
    items(&pod["spec"], "containers").chain(items(&pod["spec"], "initContainers"))
}

pub(super) fn text<'j>(value: &'j Json, field: &str) -> &'j str {
    value[field].as_str().unwrap_or_default()
}

/// The container as a part of the pod.
pub(super) fn part(container: &Json) -> PodPart {
    PodPart::Container(text(container, "name").to_owned())
}

/// A fault in each container for which `is_broken` returns true. `why` completes the sentence behind its name.
fn broken(pod: &Json, is_broken: impl Fn(&Json) -> bool, why: &str) -> Vec<CrossFault> {
    let fault = |container: &Json| {
        CrossFault::new(format!("the container \"{}\" {why}", text(container, "name")), [part(container)])
    };
    containers(pod).filter(|container| is_broken(container)).map(fault).collect()
}

fn volume<'j>(pod: &'j Json, name: &str) -> Option<&'j Json> {
    items(&pod["spec"], "volumes").find(|volume| volume["name"] == name)
}

/// `validateResourceClaimNames`.
pub(super) fn claims(pod: &Json) -> Vec<CrossFault> {
    let known = |name: &str| items(&pod["spec"], "resourceClaims").any(|claim| claim["name"] == name);
    let mut faults = Vec::new();
    for container in containers(pod) {
        for claim in items(&container["resources"], "claims").filter(|claim| !known(text(claim, "name"))) {
            let (name, claim) = (text(container, "name"), text(claim, "name"));
            let what = format!(
                "the container \"{name}\" has the name {claim} in resources.claims, which the pod's resourceClaims \
                 do not have"
            );
            faults.push(CrossFault::new(what, [part(container)]));
        }
    }
    faults
}

/// `validateResizePolicy`.
pub(super) fn resize(pod: &Json) -> Vec<CrossFault> {
    if pod["spec"]["restartPolicy"] != "Never" {
        return Vec::new();
    }
    let restarts = |policy: &Json| policy["restartPolicy"] == "RestartContainer";
    let why = "has the restartPolicy RestartContainer in resizePolicy, but the pod has the restartPolicy Never";
    broken(pod, |container| items(container, "resizePolicy").any(restarts), why)
}

/// `validateSleepAction`. The API server sets a negative grace period to 1.
pub(super) fn sleep(pod: &Json) -> Vec<CrossFault> {
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let grace = if grace < 0 { 1 } else { grace };
    let mut faults = Vec::new();
    for container in containers(pod) {
        for hook in ["preStop", "postStart"] {
            let seconds = container["lifecycle"][hook]["sleep"]["seconds"].as_i64().unwrap_or(0);
            if seconds > grace {
                let name = text(container, "name");
                let what = format!(
                    "the container \"{name}\" has lifecycle.{hook}.sleep.seconds {seconds}, more than the \
                     terminationGracePeriodSeconds of the pod, {grace}"
                );
                faults.push(CrossFault::new(what, [part(container), PodPart::Field("terminationGracePeriodSeconds")]));
            }
        }
    }
    faults
}

/// `validateHostUsers`.
pub(super) fn devices_in_user_namespace(pod: &Json) -> Vec<CrossFault> {
    if pod["spec"]["hostUsers"] != false {
        return Vec::new();
    }
    let has_devices = |container: &Json| items(container, "volumeDevices").next().is_some();
    broken(pod, has_devices, "has volumeDevices, which a pod with hostUsers: false must not have")
}

/// `ValidateVolumeDevices`.
pub(super) fn device_sources(pod: &Json) -> Vec<CrossFault> {
    let mut faults = Vec::new();
    for container in containers(pod) {
        for device in items(container, "volumeDevices") {
            let name = text(device, "name");
            let is_claim = |volume: &Json| volume.get("persistentVolumeClaim").or(volume.get("ephemeral")).is_some();
            if volume(pod, name).is_some_and(|volume| !is_claim(volume)) {
                let what = format!(
                    "the container \"{}\" has the volume {name} in volumeDevices, which is not a persistentVolumeClaim",
                    text(container, "name")
                );
                faults.push(CrossFault::new(what, [part(container), PodPart::Volume(name.to_owned())]));
            }
        }
    }
    faults
}

/// `validateFileKeyRefVolumes`.
pub(super) fn file_keys(pod: &Json) -> Vec<CrossFault> {
    let mut faults = Vec::new();
    for container in containers(pod) {
        for variable in items(container, "env") {
            let Some(name) = variable["valueFrom"]["fileKeyRef"]["volumeName"].as_str() else { continue };
            let (reason, why) = match volume(pod, name) {
                None => (Reason::MissingVolume, "which neither the pod nor a template has"),
                Some(volume) if volume["emptyDir"].is_null() => (Reason::Conflict, "which is not an emptyDir"),
                Some(_) => continue,
            };
            let what = format!(
                "the variable {} of the container \"{}\" has fileKeyRef.volumeName {name}, {why}",
                text(variable, "name"),
                text(container, "name")
            );
            let reads = vec![part(container), PodPart::Volume(name.to_owned())];
            faults.push(CrossFault { reason, what, reads });
        }
    }
    faults
}

/// `ValidateSecurityContext`.
pub(super) fn proc_mount(pod: &Json) -> Vec<CrossFault> {
    if pod["spec"]["hostUsers"] == false {
        return Vec::new();
    }
    let unmasks = |container: &Json| container["securityContext"]["procMount"] == "Unmasked";
    broken(pod, unmasks, "has procMount Unmasked, but the pod does not have hostUsers: false")
}

/// `validateMountPropagation`.
pub(super) fn bidirectional(pod: &Json) -> Vec<CrossFault> {
    let is_broken = |container: &Json| {
        container["securityContext"]["privileged"] != true
            && items(container, "volumeMounts").any(|mount| mount["mountPropagation"] == "Bidirectional")
    };
    broken(pod, is_broken, "has a mount with mountPropagation Bidirectional, but it is not privileged")
}

/// `validateWindowsHostProcessPod`.
pub(super) fn host_process(pod: &Json) -> Vec<CrossFault> {
    let read = |context: &Json| context["windowsOptions"]["hostProcess"].as_bool();
    let of_pod = read(&pod["spec"]["securityContext"]);
    let all: Vec<(&Json, Option<bool>)> =
        containers(pod).map(|container| (container, read(&container["securityContext"]))).collect();
    let is_of_host = |own: Option<bool>| own.or(of_pod) == Some(true);
    let mut faults = Vec::new();
    for (container, own) in &all {
        if own.zip(of_pod).is_some_and(|(own, of_pod)| own != of_pod) {
            let what = format!(
                "windowsOptions.hostProcess of the container \"{}\" differs from that of the pod",
                text(container, "name")
            );
            faults.push(CrossFault::new(what, [part(container), PodPart::Field("securityContext")]));
        }
    }
    if !all.iter().any(|(_, own)| is_of_host(*own)) {
        return faults;
    }
    let others = all.iter().filter(|(_, own)| !is_of_host(*own)).map(|(container, _)| part(container));
    let mut reads: Vec<PodPart> = others.collect();
    if !reads.is_empty() {
        reads.extend(all.iter().filter(|(_, own)| *own == Some(true)).map(|(container, _)| part(container)));
        let what = "if one container has windowsOptions.hostProcess, all containers must have it";
        faults.push(CrossFault::new(what.to_owned(), reads));
    }
    if pod["spec"]["hostNetwork"] != true {
        let reads = all.iter().filter(|(_, own)| is_of_host(*own)).map(|(container, _)| part(container));
        let what = "windowsOptions.hostProcess needs a pod with hostNetwork";
        let reads: Vec<PodPart> = reads.chain([PodPart::Field("securityContext")]).collect();
        faults.push(CrossFault::new(what.to_owned(), reads));
    }
    faults
}

/// `ValidateHostSysctl` with the namespaces of `k8s.io/component-helpers/node/util/sysctl`.
pub(super) fn host_sysctls(pod: &Json) -> Vec<CrossFault> {
    const IPC: [&str; 3] = ["kernel.shm", "kernel.msg", "fs.mqueue."];
    let mut faults = Vec::new();
    for sysctl in items(&pod["spec"]["securityContext"], "sysctls") {
        let name = text(sysctl, "name");
        let dotted = name.replace('/', ".");
        let is_ipc = dotted == "kernel.sem" || IPC.iter().any(|prefix| dotted.starts_with(prefix));
        let field = match () {
            () if dotted.starts_with("net.") && pod["spec"]["hostNetwork"] == true => "hostNetwork",
            () if is_ipc && pod["spec"]["hostIPC"] == true => "hostIPC",
            () => continue,
        };
        let what = format!("sysctls has {name}, which a pod with {field} must not have");
        faults.push(CrossFault::new(what, [PodPart::Field("securityContext")]));
    }
    faults
}

/// `validateLinux`.
pub(super) fn windows_options(pod: &Json) -> Vec<CrossFault> {
    if pod["spec"]["os"]["name"] != "linux" {
        return Vec::new();
    }
    let has = |value: &Json| !value["securityContext"]["windowsOptions"].is_null();
    let why = "has windowsOptions, which a pod with os.name linux must not have";
    let mut faults = broken(pod, has, why);
    if has(&pod["spec"]) {
        faults.insert(0, CrossFault::new(format!("the pod {why}"), [PodPart::Field("securityContext")]));
    }
    faults
}

/// `validateVolumeSource`, `ValidateVolumes`: the claim of an ephemeral volume is named POD-VOLUME.
pub(super) fn claim_names(pod: &Json) -> Vec<CrossFault> {
    let metadata = &pod["metadata"];
    // The API server adds five characters to the first 58 of generateName (`MaxGeneratedNameLength`).
    let name = match text(metadata, "name") {
        "" => format!("{}xxxxx", text(metadata, "generateName").chars().take(58).collect::<String>()),
        name => name.to_owned(),
    };
    let volumes = || items(&pod["spec"], "volumes");
    let mut faults = Vec::new();
    for volume in volumes().filter(|volume| !volume["ephemeral"].is_null()) {
        let own = text(volume, "name");
        let claim = format!("{name}-{own}");
        if !is_subdomain(&claim) {
            let what =
                format!("the ephemeral volume {own} needs a claim whose name is not valid: POD-VOLUME is too long");
            faults.push(CrossFault::new(what, [PodPart::Volume(own.to_owned())]));
        }
        for other in volumes().filter(|other| other["persistentVolumeClaim"]["claimName"] == claim.as_str()) {
            let other = text(other, "name");
            let what =
                format!("the volume {other} has the claimName {claim}, which the ephemeral volume {own} creates");
            faults.push(CrossFault::new(what, [PodPart::Volume(own.to_owned()), PodPart::Volume(other.to_owned())]));
        }
    }
    faults
}
