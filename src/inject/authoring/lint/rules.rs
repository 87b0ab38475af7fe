//! The rules: what each is called, how bad it is, and why it is there. The reference in the docs is made of this.

use crate::inject::diagnostic::Severity;

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is called in output, and in `lint:` of a template.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What goes wrong, and what to do: one paragraph.
    pub explanation: &'static str,
}

const fn error(id: &'static str, explanation: &'static str) -> Rule {
    Rule { id, severity: Severity::Error, explanation }
}

const fn warning(id: &'static str, explanation: &'static str) -> Rule {
    Rule { id, severity: Severity::Warning, explanation }
}

/// All rules, by id.
pub const RULES: [Rule; 26] = [
    error(
        "budget",
        "The containers of the template together may ask for more than --budget allows; where an expression says how much, the maximum or enum of its parameter counts, else the largest quantity that is written in it. What a sidecar requests is requested once for every pod, so small numbers become whole nodes. Lower the requests, or raise the budget.",
    ),
    warning(
        "duplicate-env",
        "A container sets a variable twice. The last one counts, which is easy to miss when the first is changed. Remove one of them.",
    ),
    warning(
        "duplicate-name",
        "Two templates add a container or volume of the same name, so no pod can ask for both. Rename one; a volume that is meant to be one and the same says shared: true in both.",
    ),
    error(
        "free-image",
        "A string parameter without pattern or enum sets an image, so that whoever may create pods chooses what runs in them under the template's name. Give the parameter a pattern or an enum.",
    ),
    warning(
        "image-tag",
        "An image without a tag, or with :latest, is another one on every node and after every restart. Name a version, or better a digest.",
    ),
    warning(
        "init-like-sidecar",
        "An init container declares ports. It has to end before the next one starts, so nothing can be served from it; if it keeps running, the pod never becomes ready. A container that keeps running goes under sidecars.",
    ),
    error(
        "invalid",
        "The template cannot be loaded: its text is no YAML, a key is unknown, a value has the wrong type, or an expression is wrong. Pods that ask for it are refused, or get its last good version.",
    ),
    warning(
        "max-sidecars",
        "The template adds more containers than --max-sidecars. Each costs memory, start-up time and somebody's attention in every pod. Split the template, or merge containers.",
    ),
    warning(
        "mount-without-volume",
        "A container mounts a volume that the template does not bring. Every pod that asks for the template must have it, or is refused with MissingVolume. Add the volume, or say in the description that pods bring it.",
    ),
    error(
        "no-parameter",
        "The manifest gives a parameter to a template that it does not ask for, which does nothing, or one that the template does not declare. The webhook refuses pods with the latter.",
    ),
    warning(
        "no-probe",
        "A sidecar that keeps running has no probe. When it hangs nobody notices: the pod stays ready, and its logs, tokens or proxy are silently gone. Add a livenessProbe or a readinessProbe.",
    ),
    warning(
        "no-resources",
        "A container has no requests for cpu and memory, or no limit of memory. The scheduler counts it as nothing, a LimitRange may give it anything, and in a namespace with a ResourceQuota its pods are refused. Set requests and a memory limit.",
    ),
    error(
        "no-template",
        "The manifest asks for a template that does not exist, or in a version that does not. The webhook will refuse its pods.",
    ),
    warning(
        "pod-security",
        "A namespace that enforces the level of the Pod Security Standards named with --pod-security (baseline unless said) refuses every pod with this template; the finding says why. Harden the container: for restricted that is runAsNonRoot, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]} and seccompProfile: {type: RuntimeDefault}. What expressions give is not looked at.",
    ),
    warning(
        "port-clash",
        "Two containers of the template declare the same port of the pod. If both run, one of them cannot listen. Change one of the ports, unless conditions keep them apart.",
    ),
    warning(
        "pre-stop-grace",
        "A preStop hook sleeps longer than the pod's grace period, so that the container is killed in its sleep. Sleep less, or raise pod.terminationGracePeriodSeconds.",
    ),
    warning(
        "probe-host",
        "A probe goes to 127.0.0.1. The kubelet probes from the node, where that is the node itself: the probe fails, or meets somebody else's process. Remove host; the default is the pod's address.",
    ),
    error(
        "shell-expression",
        "An expression stands in the text of a shell command without shellQuote, or with it inside quotes, which it ends. A value with a quote or a semicolon becomes a command of its own, run in every pod. Write ${shellQuote(…)} outside of quotes, or pass the value in an environment variable.",
    ),
    warning(
        "startup-waits",
        "A sidecar that goes first has a startupProbe: the application's containers wait until it succeeds, and a sidecar that waits for the application never starts. If the wait is meant, silence the rule with the reason.",
    ),
    warning(
        "unanchored-pattern",
        "A pattern that does not begin with ^ and end with $ matches anywhere in a value, so that the rest of the value can be anything. Anchor it.",
    ),
    warning(
        "unguarded-access",
        "An expression reads a member of the pod that many pods do not have. For those the template is refused, or left out, with ExpressionFailed. Use label(key, default), annotation(key, default), get(object, path, default) or has(…).",
    ),
    warning(
        "unknown-field",
        "A field that Kubernetes 1.36 does not know. The API server drops it in silence from what a webhook adds. It is right only if the field is newer than that.",
    ),
    warning(
        "unused-parameter",
        "A parameter is declared and read by no expression. Pods that set it expect something to happen. Use it or remove it.",
    ),
    warning("unused-volume", "A volume is mounted by no container of the template. Remove it, or mount it."),
    warning(
        "volume-name",
        "A volume that only this template uses does not begin with the template's name. Short names such as data or config are what applications use too, and then they clash. Put the template's name in front.",
    ),
    warning(
        "wrong-place",
        "The annotation stands where it has no effect: on the workload instead of its pod template, as a label, or with a slip in its key. Move or correct it.",
    ),
];

/// The rule of that id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
