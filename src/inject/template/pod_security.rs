//! Pod Security Standards for the additions of a template: `--template-profile` and `--namespace-templates-profile`
//! limit evaluated templates to a level. The API server does not replace this check, since it checks only whole pods,
//! and only in namespaces that enforce a level. Source: `k8s.io/pod-security-admission/policy`, with the changes of
//! 1.34 (probe hosts). This module does not depend on how templates are loaded.

use serde_json::Value as Json;

use crate::inject::template::body::additions::Additions;

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Requires hardened containers.
    Restricted,
    /// Prevents known privilege escalations.
    Baseline,
    /// Allows everything.
    #[default]
    Privileged,
}

impl Profile {
    /// The name of the level in flags and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Capabilities that containers can add under baseline.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
/// Sysctls that baseline allows, since they affect only the pod.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
/// Volume sources that restricted allows.
const RESTRICTED_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The first violation of `profile` in `additions`, a clause such as `the container a is privileged`; `None` if there
/// is none. `pod` is the pod's own `securityContext`, which applies to containers that do not set a field.
#[must_use]
pub fn violation(profile: Profile, additions: &Additions, pod: &Json) -> Option<String> {
    if profile == Profile::Privileged {
        return None;
    }
    let added = additions.pod.get("securityContext").unwrap_or(&Json::Null);
    let restricted = profile == Profile::Restricted;
    pod_context(added)
        .or_else(|| additions.annotations.iter().find_map(|(key, value)| app_armor(key, value)))
        .or_else(|| restricted.then(|| root(added))?)
        .or_else(|| additions.volumes.iter().find_map(|volume| source(&volume.value, restricted)))
        .or_else(|| {
            additions.all_containers().find_map(|item| {
                let why = baseline(&item.value).or_else(|| restricted.then(|| hardened(&item.value, [added, pod]))?);
                why.map(|why| format!("the container {} {why}", item.name))
            })
        })
}

fn words(value: &Json) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// The first baseline violation in fields that pod-level and container-level security contexts share.
fn context(context: &Json) -> Option<String> {
    if context["seccompProfile"]["type"] == "Unconfined" {
        return Some("sets seccompProfile Unconfined".to_owned());
    }
    if context["appArmorProfile"]["type"] == "Unconfined" {
        return Some("sets appArmorProfile Unconfined".to_owned());
    }
    let selinux = &context["seLinuxOptions"];
    let unsafe_type = !SELINUX_TYPES.contains(&selinux["type"].as_str().unwrap_or_default());
    let named = |key: &str| selinux[key].as_str().is_some_and(|value| !value.is_empty());
    if unsafe_type || named("user") || named("role") {
        return Some("sets seLinuxOptions".to_owned());
    }
    (context["windowsOptions"]["hostProcess"] == true).then(|| "sets windowsOptions.hostProcess".to_owned())
}

/// Checks the AppArmor annotation of a container, which predates the field. Both apply.
fn app_armor(key: &str, value: &str) -> Option<String> {
    let container = key.strip_prefix("container.apparmor.security.beta.kubernetes.io/")?;
    let allowed = matches!(value, "" | "runtime/default") || value.starts_with("localhost/");
    (!allowed).then(|| format!("the AppArmor annotation of {container} is {value}"))
}

/// The first violation of restricted in a pod-level security context: running as root.
fn root(added: &Json) -> Option<String> {
    if added["runAsUser"] == 0 {
        return Some("pod.securityContext runs as user 0".to_owned());
    }
    (added["runAsNonRoot"] == false).then(|| "pod.securityContext sets runAsNonRoot: false".to_owned())
}

fn pod_context(added: &Json) -> Option<String> {
    let sysctl = added["sysctls"].as_array().into_iter().flatten().filter_map(|sysctl| sysctl["name"].as_str());
    let mut unsafe_ones = sysctl.filter(|name| !SAFE_SYSCTLS.contains(name));
    let sysctl = unsafe_ones.next().map(|name| format!("sets the sysctl {name}"));
    sysctl.or_else(|| context(added)).map(|why| format!("pod.securityContext {why}"))
}

fn source(volume: &Json, restricted: bool) -> Option<String> {
    let name = volume["name"].as_str().unwrap_or_default();
    let mut sources = volume.as_object()?.keys().map(String::as_str).filter(|key| *key != "name");
    let refused = |source: &&str| *source == "hostPath" || restricted && !RESTRICTED_VOLUMES.contains(source);
    sources.find(refused).map(|source| format!("the volume {name} uses {source}"))
}

fn baseline(container: &Json) -> Option<String> {
    let security = &container["securityContext"];
    if security["privileged"] == true {
        return Some("is privileged".to_owned());
    }
    let proc_mount = security["procMount"].as_str().unwrap_or("Default");
    if proc_mount != "Default" {
        return Some(format!("sets procMount {proc_mount}"));
    }
    let mut capabilities = words(&security["capabilities"]["add"]);
    if let Some(capability) = capabilities.find(|capability| !BASELINE_CAPABILITIES.contains(capability)) {
        return Some(format!("adds the capability {capability}"));
    }
    let mut ports = container["ports"].as_array().into_iter().flatten();
    if let Some(port) = ports.find_map(|port| port["hostPort"].as_u64().filter(|port| *port > 0)) {
        return Some(format!("uses port {port} of the node"));
    }
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
    let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
    let is_set = |host: &Json| host.as_str().is_some_and(|host| !host.is_empty());
    let host = |handler: &&Json| ["httpGet", "tcpSocket"].iter().any(|action| is_set(&handler[*action]["host"]));
    if probes.iter().chain(&hooks).any(host) {
        return Some("sets a host in a probe or hook".to_owned());
    }
    context(security)
}

/// The first violation of restricted that baseline allows. A field that a container does not set is inherited from the
/// pod-level security contexts in `pods`: that of the template, then that of the pod.
fn hardened(container: &Json, pods: [&Json; 2]) -> Option<String> {
    let security = &container["securityContext"];
    let inherited = |path: &[&str]| {
        let get = |context: &Json| path.iter().try_fold(context.clone(), |at, key| at.get(*key).cloned());
        get(security).or_else(|| pods.iter().find_map(|pod| get(pod)))
    };
    if security["allowPrivilegeEscalation"] != false {
        return Some("does not set allowPrivilegeEscalation: false".to_owned());
    }
    if words(&security["capabilities"]["drop"]).all(|capability| capability != "ALL") {
        return Some("does not drop ALL capabilities".to_owned());
    }
    if let Some(capability) = words(&security["capabilities"]["add"]).find(|name| *name != "NET_BIND_SERVICE") {
        return Some(format!("adds the capability {capability}"));
    }
    if inherited(&["runAsNonRoot"]) != Some(Json::Bool(true)) {
        return Some("does not set runAsNonRoot: true".to_owned());
    }
    if inherited(&["runAsUser"]) == Some(Json::from(0)) {
        return Some("runs as user 0".to_owned());
    }
    let seccomp = inherited(&["seccompProfile", "type"]);
    let confined =
        seccomp.as_ref().and_then(Json::as_str).is_some_and(|kind| matches!(kind, "RuntimeDefault" | "Localhost"));
    (!confined).then(|| "has no seccompProfile RuntimeDefault or Localhost".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::diagnostic::Source;
    use crate::inject::settings::keys::Keys;
    use crate::inject::template::Template;
    use serde_json::json;

    fn of(text: &str, profile: Profile, pod: &Json) -> Option<String> {
        let template = Template::load(&Source::new("t", text), "a", &Keys::default()).expect("valid").template;
        violation(profile, template.constant().expect("constant"), pod)
    }

    fn sidecar(security: &str, more: &str) -> String {
        format!("sidecars: [{{name: a, image: i, securityContext: {security}{more}}}]")
    }

    const HARD: &str = "{allowPrivilegeEscalation: false, runAsNonRoot: true, \
        seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL]}}";

    #[test]
    fn baseline_rejects_privilege_escalation() {
        for (text, why) in [
            (sidecar("{privileged: true}", ""), "the container a is privileged"),
            (sidecar("{capabilities: {add: [SYS_ADMIN]}}", ""), "adds the capability SYS_ADMIN"),
            (sidecar("{procMount: Unmasked}", ""), "sets procMount Unmasked"),
            (sidecar("{seccompProfile: {type: Unconfined}}", ""), "sets seccompProfile Unconfined"),
            (sidecar("{appArmorProfile: {type: Unconfined}}", ""), "sets appArmorProfile Unconfined"),
            (sidecar("{seLinuxOptions: {type: spc_t}}", ""), "sets seLinuxOptions"),
            (sidecar("{seLinuxOptions: {user: u}}", ""), "sets seLinuxOptions"),
            (sidecar("{windowsOptions: {hostProcess: true}}", ""), "hostProcess"),
            (sidecar("{}", ", ports: [{containerPort: 1, hostPort: 1}]"), "uses port 1 of the node"),
            (sidecar("{}", ", livenessProbe: {tcpSocket: {port: 1, host: 127.0.0.1}}"), "sets a host in a probe"),
            (sidecar("{}", ", lifecycle: {preStop: {httpGet: {port: 1, host: x}}}"), "sets a host in a probe"),
            ("volumes: [{name: v, hostPath: {path: /}}]".to_owned(), "the volume v uses hostPath"),
            (
                "pod: {securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}}".to_owned(),
                "the sysctl kernel.msgmax",
            ),
        ] {
            let found = of(&text, Profile::Baseline, &Json::Null).expect(&text);
            assert!(found.contains(why), "{text}: {found}");
            assert_eq!(of(&text, Profile::Privileged, &Json::Null), None, "{text}");
        }
        for fine in [
            sidecar("{capabilities: {add: [CHOWN]}, runAsUser: 0}", ", ports: [{containerPort: 1}]"),
            "volumes: [{name: v, nfs: {server: s, path: /}}]".to_owned(),
        ] {
            assert_eq!(of(&fine, Profile::Baseline, &Json::Null), None, "{fine}");
        }
    }

    #[test]
    fn restricted_requires_hardening() {
        assert_eq!(of(&sidecar(HARD, ""), Profile::Restricted, &Json::Null), None);
        for (leave_out, why) in [
            ("allowPrivilegeEscalation: false, ", "allowPrivilegeEscalation"),
            ("runAsNonRoot: true, ", "runAsNonRoot"),
            ("seccompProfile: {type: RuntimeDefault}, ", "seccompProfile"),
            (", capabilities: {drop: [ALL]}", "drop ALL"),
        ] {
            let text = sidecar(&HARD.replace(leave_out, ""), "");
            assert!(of(&text, Profile::Restricted, &Json::Null).expect(&text).contains(why), "{text}");
        }
        let inherits = sidecar("{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}", "");
        let pod = json!({"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}});
        assert_eq!(of(&inherits, Profile::Restricted, &pod), None, "the pod's context applies");
        let nfs = "volumes: [{name: v, nfs: {server: s, path: /}}]";
        assert_eq!(of(nfs, Profile::Restricted, &Json::Null).as_deref(), Some("the volume v uses nfs"));
        let root = sidecar(&HARD.replace("runAsNonRoot: true", "runAsNonRoot: true, runAsUser: 0"), "");
        assert!(of(&root, Profile::Restricted, &Json::Null).expect("root").contains("user 0"));
    }
}
