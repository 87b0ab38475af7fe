//! Rules between volumes and the containers that use them. Each returns its faults in a pod. Source: the named function
//! in `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`.

use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::inject::kube::names::is_subdomain;
use crate::inject::plan::cross::CrossFault;
use crate::inject::plan::cross::located::Located;

/// A use of a volume by a container.
struct Use<'j> {
    at: String,
    /// The use in words: `the container "app" mounts the volume`.
    what: String,
    volume: &'j str,
}

/// The uses of volumes in a pod, container by container.
fn uses<'j>(pod: &Located<'j>) -> Vec<Use<'j>> {
    let mut uses = Vec::new();
    for container in pod.containers() {
        let name = shown(container.name(), 63);
        for mount in container.items("volumeMounts") {
            uses.push(Use {
                volume: mount.name(),
                what: format!("the container \"{name}\" mounts the volume"),
                at: mount.at,
            });
        }
        for device in container.items("volumeDevices") {
            let what = format!("the container \"{name}\" has in volumeDevices the volume");
            uses.push(Use { volume: device.name(), what, at: device.at });
        }
        for (variable, volume) in file_key_volumes(&container) {
            let what =
                format!("the variable {} of the container \"{name}\" has fileKeyRef.volumeName", variable.name());
            uses.push(Use { at: variable.at, what, volume });
        }
    }
    uses
}

/// The variables of a container that read a file, each with the name of the file's volume.
fn file_key_volumes<'j>(container: &Located<'j>) -> impl Iterator<Item = (Located<'j>, &'j str)> {
    container.items("env").filter_map(|variable| {
        let volume = variable.value["valueFrom"]["fileKeyRef"]["volumeName"].as_str()?;
        Some((variable, volume))
    })
}

/// `ValidateVolumeMounts`, `ValidateVolumeDevices`, `validateFileKeyRefVolumes`: one fault for each volume that is used
/// and does not exist.
pub(super) fn missing(pod: &Located<'_>) -> Vec<CrossFault> {
    let mut faults: Vec<(&str, CrossFault)> = Vec::new();
    for Use { at, what, volume } in uses(pod) {
        if pod.volume(volume).is_some() {
            continue;
        }
        if let Some((_, fault)) = faults.iter_mut().find(|(known, _)| *known == volume) {
            fault.reads.push(at);
            continue;
        }
        let what = format!("{what} \"{}\", which neither the pod nor a template has", shown(volume, 63));
        let (reason, fix) = (Reason::MissingVolume, "Add the volume to the pod or the template");
        faults.push((volume, CrossFault { reason, what, fix, reads: vec![at] }));
    }
    faults.into_iter().map(|(_, fault)| fault).collect()
}

/// `validateHostUsers`.
pub(super) fn devices_in_user_namespace(pod: &Located<'_>) -> Vec<CrossFault> {
    if pod.value["spec"]["hostUsers"] != false {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for container in pod.containers() {
        let what = format!(
            "the container \"{}\" has volumeDevices, which a pod with hostUsers: false must not have",
            container.name()
        );
        faults.extend(container.items("volumeDevices").map(|device| CrossFault::new(what.clone(), [device.at])));
    }
    faults
}

/// `ValidateVolumeDevices`.
pub(super) fn device_sources(pod: &Located<'_>) -> Vec<CrossFault> {
    let mut faults = Vec::new();
    for container in pod.containers() {
        for device in container.items("volumeDevices") {
            let Some(volume) = pod.volume(device.name()) else { continue };
            if volume.member("persistentVolumeClaim").exists() || volume.member("ephemeral").exists() {
                continue;
            }
            let what = format!(
                "the container \"{}\" has the volume {} in volumeDevices, which is not a persistentVolumeClaim",
                container.name(),
                device.name()
            );
            faults.push(CrossFault::new(what, [device.at, volume.at]));
        }
    }
    faults
}

/// `validateFileKeyRefVolumes`.
pub(super) fn file_keys(pod: &Located<'_>) -> Vec<CrossFault> {
    let mut faults = Vec::new();
    for container in pod.containers() {
        for (variable, name) in file_key_volumes(&container) {
            let Some(volume) = pod.volume(name).filter(|volume| !volume.member("emptyDir").exists()) else { continue };
            let what = format!(
                "the variable {} of the container \"{}\" has fileKeyRef.volumeName {name}, which is not an emptyDir",
                variable.name(),
                container.name()
            );
            faults.push(CrossFault::new(what, [variable.at, volume.at]));
        }
    }
    faults
}

/// `validateVolumeSource`, `ValidateVolumes`: the claim of an ephemeral volume is named POD-VOLUME.
pub(super) fn claim_names(pod: &Located<'_>) -> Vec<CrossFault> {
    let metadata = pod.member("metadata");
    // The API server adds five characters to the first 58 of generateName (`MaxGeneratedNameLength`).
    let name = match metadata.name() {
        "" => format!("{}xxxxx", metadata.text("generateName").chars().take(58).collect::<String>()),
        name => name.to_owned(),
    };
    let volumes = || pod.member("spec").items("volumes");
    let mut faults = Vec::new();
    for volume in volumes().filter(|volume| volume.member("ephemeral").exists()) {
        let own = volume.name();
        let claim = format!("{name}-{own}");
        if !is_subdomain(&claim) {
            let what =
                format!("the ephemeral volume {own} needs a claim whose name is not valid: POD-VOLUME is too long");
            faults.push(CrossFault::new(what, [volume.at.clone()]));
        }
        for other in volumes().filter(|other| other.path(["persistentVolumeClaim"]).text("claimName") == claim) {
            let what = format!(
                "the volume {} has the claimName {claim}, which the ephemeral volume {own} creates",
                other.name()
            );
            faults.push(CrossFault::new(what, [volume.at.clone(), other.at]));
        }
    }
    faults
}
