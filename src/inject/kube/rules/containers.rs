//! The rules of containers and of what they contain.

use crate::inject::kube::formats::{
    CONFIG_KEY, DESCENDING, ENV_FIELD, ENV_NAME, HEADER, LABEL, NO_BACKSTEP, PORT_NAME, RESOURCE_FIELD, SUBDOMAIN,
    TRIMMED, V1, WINDOWS_USER, is_identifier,
};
use crate::inject::kube::gates;
use crate::inject::kube::rules::FieldRule::{
    Beyond, EmptyIsDefault, Forbidden, Gate, Is, Length, Member, NotEmpty, OneOf, Optional, Port, Range, Repeats,
    Required, Unique, WordGate,
};
use crate::inject::kube::rules::Relation::{AtMost, Exactly, Excludes, Function, Needs};
use crate::inject::kube::rules::relations::{
    BIDIRECTIONAL, DEVICES_AND_MOUNTS, ESCALATION, RECURSIVE, RESTART_RULES, VALUE_OR_SOURCE,
};
use crate::inject::kube::rules::resources::{CLAIMS, DIVISOR, RESOURCES, RESTART_OF_INIT};
use crate::inject::kube::rules::{Is as Value, TypeRules, Variant, fields, rules};

const ANY: i64 = i64::MAX;
const USER: i64 = i32::MAX as i64;

pub(super) static RULES: &[TypeRules] = &[
    rules(
        "Container",
        "validateContainers, validateContainerCommon",
        &[
            ("name", &[Is(&LABEL)]),
            ("image", &[Required, Is(&TRIMMED)]),
            ("imagePullPolicy", &[EmptyIsDefault]),
            ("terminationMessagePolicy", &[EmptyIsDefault]),
            ("env", &[Repeats]),
            ("ports", &[Repeats, Unique("name")]),
            ("volumeDevices", &[Unique("name")]),
            ("resizePolicy", &[Unique("resourceName"), Gate(&gates::RESIZE)]),
            ("restartPolicyRules", &[Length(0, 20), Gate(&gates::RESTART_RULES)]),
            ("livenessProbe", &[Member("successThreshold", &[Range(0, 1)])]),
            ("startupProbe", &[Member("successThreshold", &[Range(0, 1)])]),
            ("readinessProbe", &[Member("terminationGracePeriodSeconds", &[Forbidden("for a readinessProbe")])]),
        ],
        &[Function(&BIDIRECTIONAL), Function(&DEVICES_AND_MOUNTS), Function(&RESTART_RULES)],
    ),
    fields(
        "ContainerPort",
        "validateContainerPorts",
        &[
            ("containerPort", &[Range(1, 65_535)]),
            ("hostPort", &[Range(0, 65_535)]),
            ("name", &[Is(&PORT_NAME)]),
            ("protocol", &[EmptyIsDefault]),
        ],
    ),
    rules(
        "EnvVar",
        "ValidateEnv",
        &[("name", &[Is(&ENV_NAME), Beyond(is_identifier, &gates::ENV_NAMES)])],
        &[Function(&VALUE_OR_SOURCE)],
    ),
    rules(
        "EnvVarSource",
        "validateEnvVarValueFrom",
        &[("fieldRef", &[Member("fieldPath", &[Is(&ENV_FIELD)])]), ("fileKeyRef", &[Gate(&gates::ENV_FILES)])],
        &[Exactly(&["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"])],
    ),
    fields("ObjectFieldSelector", "validateObjectFieldSelector", &[("apiVersion", &[Is(&V1)])]),
    rules(
        "ResourceFieldSelector",
        "validateContainerResourceFieldSelector",
        &[("resource", &[Is(&RESOURCE_FIELD)])],
        &[Function(&DIVISOR)],
    ),
    fields(
        "ConfigMapKeySelector",
        "validateConfigMapKeySelector",
        &[("name", &[Required, Is(&SUBDOMAIN)]), ("key", &[Is(&CONFIG_KEY)])],
    ),
    fields(
        "SecretKeySelector",
        "validateSecretKeySelector",
        &[("name", &[Required, Is(&SUBDOMAIN)]), ("key", &[Is(&CONFIG_KEY)])],
    ),
    fields(
        "FileKeySelector",
        "validateFileKeySelector",
        &[("key", &[Is(&ENV_NAME)]), ("volumeName", &[Is(&LABEL)]), ("path", &[Is(&NO_BACKSTEP)])],
    ),
    rules(
        "EnvFromSource",
        "ValidateEnvFrom",
        &[("prefix", &[Is(&ENV_NAME), Beyond(is_identifier, &gates::ENV_NAMES)])],
        &[Exactly(&["configMapRef", "secretRef"])],
    ),
    fields("ConfigMapEnvSource", "validateConfigMapEnvSource", &[("name", &[Required, Is(&SUBDOMAIN)])]),
    fields("SecretEnvSource", "validateSecretEnvSource", &[("name", &[Required, Is(&SUBDOMAIN)])]),
    rules(
        "VolumeMount",
        "ValidateVolumeMounts",
        &[
            ("subPath", &[Is(&DESCENDING)]),
            ("subPathExpr", &[Is(&DESCENDING)]),
            ("recursiveReadOnly", &[OneOf(&["Disabled", "IfPossible", "Enabled"]), Gate(&gates::RECURSIVE_READ_ONLY)]),
        ],
        &[AtMost(&["subPath", "subPathExpr"]), Function(&RECURSIVE)],
    ),
    fields("VolumeDevice", "ValidateVolumeDevices", &[("devicePath", &[Is(&NO_BACKSTEP)])]),
    rules(
        "Probe",
        "validateProbe",
        &[
            ("initialDelaySeconds", &[Range(0, ANY)]),
            ("timeoutSeconds", &[Range(0, ANY)]),
            ("periodSeconds", &[Range(0, ANY)]),
            ("successThreshold", &[Range(0, ANY)]),
            ("failureThreshold", &[Range(0, ANY)]),
            ("terminationGracePeriodSeconds", &[Range(1, ANY)]),
        ],
        &[Exactly(&["exec", "httpGet", "tcpSocket", "grpc"])],
    ),
    fields("Lifecycle", "validateLifecycle", &[("stopSignal", &[Gate(&gates::STOP_SIGNAL)])]),
    rules("LifecycleHandler", "validateHandler", &[], &[Exactly(&["exec", "httpGet", "tcpSocket", "sleep"])]),
    fields("ExecAction", "validateExecAction", &[("command", &[Required])]),
    fields("HTTPGetAction", "validateHTTPGetAction", &[("port", &[Port]), ("scheme", &[EmptyIsDefault])]),
    fields("HTTPHeader", "validateHTTPGetAction", &[("name", &[Is(&HEADER)]), ("value", &[Optional])]),
    fields("TCPSocketAction", "validateTCPSocketAction", &[("port", &[Port])]),
    fields("GRPCAction", "validateGRPCAction", &[("port", &[Range(1, 65_535)])]),
    fields(
        "SleepAction",
        "validateSleepAction",
        &[("seconds", &[Optional, Range(0, ANY), WordGate("0", &gates::SLEEP_OF_ZERO)])],
    ),
    rules(
        "ResourceRequirements",
        "ValidateContainerResourceRequirements",
        &[("claims", &[Repeats, Gate(&gates::CLAIMS)])],
        &[Function(&RESOURCES), Function(&CLAIMS)],
    ),
    fields("ResourceClaim", "validateResourceClaimNames", &[("request", &[Is(&LABEL)])]),
    fields(
        "ContainerResizePolicy",
        "validateResizePolicy",
        &[
            ("resourceName", &[OneOf(&["cpu", "memory"])]),
            ("restartPolicy", &[OneOf(&["NotRequired", "RestartContainer"])]),
        ],
    ),
    fields(
        "ContainerRestartRule",
        "validateContainerRestartPolicy",
        &[
            (
                "action",
                &[OneOf(&["Restart", "RestartAllContainers"]), WordGate("RestartAllContainers", &gates::RESTART_ALL)],
            ),
            ("exitCodes", &[Required]),
        ],
    ),
    fields(
        "ContainerRestartRuleOnExitCodes",
        "validateContainerRestartPolicy",
        &[("operator", &[OneOf(&["In", "NotIn"])]), ("values", &[Length(0, 255)])],
    ),
    rules(
        "SecurityContext",
        "ValidateSecurityContext",
        &[
            ("runAsUser", &[Range(0, USER)]),
            ("runAsGroup", &[Range(0, USER)]),
            ("procMount", &[Gate(&gates::PROC_MOUNT)]),
        ],
        &[Function(&ESCALATION)],
    ),
    rules(
        "SeccompProfile",
        "validateSeccompProfileField",
        &[("localhostProfile", &[Is(&DESCENDING)])],
        &[
            Needs("type", Value::Word("Localhost"), "localhostProfile"),
            Excludes("type", Value::Not("Localhost"), "localhostProfile"),
        ],
    ),
    rules(
        "AppArmorProfile",
        "ValidateAppArmorProfileField",
        &[("localhostProfile", &[Is(&TRIMMED), Length(1, 4_095)])],
        &[
            Needs("type", Value::Word("Localhost"), "localhostProfile"),
            Excludes("type", Value::Not("Localhost"), "localhostProfile"),
        ],
    ),
    fields(
        "WindowsSecurityContextOptions",
        "validateWindowsSecurityContextOptions",
        &[
            ("gmsaCredentialSpecName", &[NotEmpty, Is(&SUBDOMAIN)]),
            ("gmsaCredentialSpec", &[Length(1, 65_536)]),
            ("runAsUserName", &[NotEmpty, Is(&WINDOWS_USER)]),
        ],
    ),
];

const NOT_IN_INIT: &[super::FieldRule] = &[Forbidden("for an init container that does not keep running")];

/// An init container that ends before the application starts.
pub(super) static INIT: Variant = Variant {
    rules: rules(
        "InitContainer",
        "validateInitContainers",
        &[
            ("lifecycle", NOT_IN_INIT),
            ("livenessProbe", NOT_IN_INIT),
            ("readinessProbe", NOT_IN_INIT),
            ("startupProbe", NOT_IN_INIT),
            (
                "restartPolicy",
                &[WordGate("Never", &gates::RESTART_POLICY), WordGate("OnFailure", &gates::RESTART_POLICY)],
            ),
        ],
        &[Function(&RESTART_OF_INIT)],
    ),
    base: "Container",
    only: &[],
};

/// The lists of a container of the application that a template can add to.
pub(super) static APP: Variant = Variant {
    rules: rules("AppContainer", "validateContainers", &[], &[Function(&DEVICES_AND_MOUNTS)]),
    base: "Container",
    only: &["env", "envFrom", "volumeMounts", "volumeDevices"],
};
