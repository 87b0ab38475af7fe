//! Rules for pods that share something with their node, and for Windows pods. Each returns its faults in a pod. Source:
//! the named function in `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`.

use crate::inject::decision::reason::Reason;
use crate::inject::plan::cross::CrossFault;
use crate::inject::plan::cross::located::Located;

/// `validatePodHostNetworkDeps`: on the network of the node, each hostPort must be the containerPort.
pub(super) fn ports(pod: &Located<'_>) -> Vec<CrossFault> {
    if pod.value["spec"]["hostNetwork"] != true {
        return Vec::new();
    }
    let mut faults = Vec::new();
    // The API server does not check init containers.
    for container in pod.member("spec").items("containers") {
        let number = |port: &Located<'_>, key: &str| port.value[key].as_i64().unwrap_or(0);
        let differs = |port: &Located<'_>| ![0, number(port, "containerPort")].contains(&number(port, "hostPort"));
        let Some(port) = container.items("ports").find(differs) else { continue };
        let what = format!(
            "the container \"{}\" has a hostPort that differs from its containerPort, and the pod uses hostNetwork",
            container.name()
        );
        let fix = "Remove hostNetwork, or change the template (equal ports)";
        faults.push(CrossFault { reason: Reason::HostNetwork, what, fix, reads: vec![port.at] });
    }
    faults
}

/// Fields of a pod's securityContext that `validateWindows` rejects.
const LINUX_POD: [&str; 11] = [
    "appArmorProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsGroup",
    "runAsUser",
    "seLinuxChangePolicy",
    "seLinuxOptions",
    "seccompProfile",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "sysctls",
];

/// Fields of a container's securityContext that `validateWindows` rejects.
const LINUX_CONTAINER: [&str; 10] = [
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
    "appArmorProfile",
];

/// `validateWindows`: one fault for the pod, and one for each container.
pub(super) fn windows(pod: &Located<'_>) -> Vec<CrossFault> {
    let spec = pod.member("spec");
    if spec.member("os").name() != "windows" {
        return Vec::new();
    }
    let context = spec.member("securityContext");
    let of_pod = [spec.member("shareProcessNamespace")].into_iter();
    let of_pod = of_pod.chain(LINUX_POD.into_iter().map(|field| context.member(field)));
    let fault = |reads: Vec<Located<'_>>, owner: &str| {
        let first = reads.first()?;
        let field = first.at.rsplit('/').next().unwrap_or_default();
        let what = format!("{owner}{field}, which Windows pods must not have");
        let reads = reads.into_iter().map(|field| field.at).collect();
        Some(CrossFault { reason: Reason::WindowsPod, what, fix: "Use a template made for Windows", reads })
    };
    let of_pod = of_pod.filter(Located::exists).filter_map(|field| fault(vec![field], "it sets pod-level "));
    let of_containers = pod.containers().filter_map(|container| {
        let context = container.member("securityContext");
        let fields = LINUX_CONTAINER.into_iter().map(|field| context.member(field)).filter(Located::exists);
        fault(fields.collect(), &format!("the container \"{}\" sets securityContext.", container.name()))
    });
    of_pod.chain(of_containers).collect()
}

/// `validatePodSpecSecurityContext`: a pod has one process namespace.
pub(super) fn process_namespace(pod: &Located<'_>) -> Vec<CrossFault> {
    let spec = pod.member("spec");
    let shares = spec.member("shareProcessNamespace");
    if *shares.value != true || spec.value["hostPID"] != true {
        return Vec::new();
    }
    let what = "it sets pod.shareProcessNamespace, which a pod with hostPID must not have".to_owned();
    let fix = "Remove hostPID, or change the template";
    vec![CrossFault { fix, ..CrossFault::new(what, [shares.at]) }]
}

/// `validateWindowsHostProcessPod`. One mistake breaks several of its rules, so only the first broken one is reported.
pub(super) fn host_process(pod: &Located<'_>) -> Vec<CrossFault> {
    const HOST_PROCESS: [&str; 3] = ["securityContext", "windowsOptions", "hostProcess"];
    let of_pod = pod.member("spec").path(HOST_PROCESS);
    let all: Vec<(Located<'_>, Located<'_>)> =
        pod.containers().map(|container| (container.path(HOST_PROCESS), container)).collect();
    let is_of_host = |own: &Located<'_>| own.value.as_bool().or(of_pod.value.as_bool()) == Some(true);
    let differs = |own: &Located<'_>| own.exists() && of_pod.exists() && own.value != of_pod.value;
    let faults: Vec<CrossFault> = all
        .iter()
        .filter(|(own, _)| differs(own))
        .map(|(own, container)| {
            let name = container.name();
            let what = format!("windowsOptions.hostProcess of the container \"{name}\" differs from that of the pod");
            CrossFault::new(what, [own.at.clone(), of_pod.at.clone()])
        })
        .collect();
    if !faults.is_empty() || !all.iter().any(|(own, _)| is_of_host(own)) {
        return faults;
    }
    let set = all.iter().map(|(own, _)| own).chain([&of_pod]).filter(|own| *own.value == true);
    let of_host = set.map(|own| own.at.clone());
    let others = all.iter().filter(|(own, _)| !is_of_host(own)).map(|(_, container)| container.at.clone());
    // The pod breaks these rules as a whole, so the spec identifies the fault. No template adds it.
    let whole = ["/spec/containers/hostProcess".to_owned()];
    if others.clone().next().is_some() {
        let what = "if one container has windowsOptions.hostProcess, all containers must have it".to_owned();
        return vec![CrossFault::new(what, whole.into_iter().chain(others).chain(of_host).collect::<Vec<_>>())];
    }
    if pod.value["spec"]["hostNetwork"] != true {
        let what = "windowsOptions.hostProcess needs a pod with hostNetwork".to_owned();
        return vec![CrossFault::new(what, whole.into_iter().chain(of_host).collect::<Vec<_>>())];
    }
    Vec::new()
}

/// `ValidateHostSysctl` with the namespaces of `k8s.io/component-helpers/node/util/sysctl`.
pub(super) fn sysctls(pod: &Located<'_>) -> Vec<CrossFault> {
    const IPC: [&str; 10] = [
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.msg",
    ];
    let spec = pod.member("spec");
    let mut faults = Vec::new();
    for sysctl in spec.member("securityContext").items("sysctls") {
        let dotted = sysctl.name().replace('/', ".");
        let is_ipc = IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.");
        let field = match () {
            () if dotted.starts_with("net.") && spec.value["hostNetwork"] == true => "hostNetwork",
            () if is_ipc && spec.value["hostIPC"] == true => "hostIPC",
            () => continue,
        };
        let what = format!("sysctls has {}, which a pod with {field} must not have", sysctl.name());
        faults.push(CrossFault::new(what, [sysctl.at]));
    }
    faults
}

/// `validateLinux`.
pub(super) fn windows_options(pod: &Located<'_>) -> Vec<CrossFault> {
    let spec = pod.member("spec");
    if spec.member("os").name() != "linux" {
        return Vec::new();
    }
    let of_pod = [("the pod".to_owned(), spec)].into_iter();
    let owners = of_pod.chain(pod.containers().map(|own| (format!("the container \"{}\"", own.name()), own)));
    let fault = |(name, owner): (String, Located<'_>)| {
        let options = owner.path(["securityContext", "windowsOptions"]);
        let what = format!("{name} has windowsOptions, which a pod with os.name linux must not have");
        options.exists().then(|| CrossFault::new(what, [options.at]))
    };
    owners.filter_map(fault).collect()
}
