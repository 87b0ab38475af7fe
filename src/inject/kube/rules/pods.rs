//! The rules of pod-level fields that a template can set.

use crate::inject::kube::formats::{IP, LABEL_VALUE, QUALIFIED, SEARCH, SUBDOMAIN, SYSCTL, is_domain};
use crate::inject::kube::gates;
use crate::inject::kube::rules::FieldRule::{
    Beyond, Each, EmptyIsDefault, Gate, Is, Keys, Length, NotEmpty, OneOf, Optional, Range, Repeats, Required,
    Stricter, Unique, Values, WordGate,
};
use crate::inject::kube::rules::Relation::Function;
use crate::inject::kube::rules::relations::{SEARCHES, TOLERATION};
use crate::inject::kube::rules::{FieldRule, TypeRules, fields, rules};

const ID: &[FieldRule] = &[Range(0, i32::MAX as i64)];

pub(super) static RULES: &[TypeRules] = &[
    fields(
        "PodSpec",
        "ValidatePodSpec",
        &[
            ("nodeSelector", &[Keys(&QUALIFIED), Values(&LABEL_VALUE)]),
            ("serviceAccountName", &[Is(&SUBDOMAIN)]),
            ("terminationGracePeriodSeconds", &[Stricter(&Range(0, i64::MAX))]),
            ("hostAliases", &[Repeats]),
        ],
    ),
    fields(
        "PodSecurityContext",
        "validatePodSpecSecurityContext",
        &[
            ("fsGroup", ID),
            ("runAsUser", ID),
            ("runAsGroup", ID),
            ("supplementalGroups", &[Each(&Range(0, i32::MAX as i64))]),
            (
                "seLinuxChangePolicy",
                &[
                    OneOf(&["Recursive", "MountOption"]),
                    Gate(&gates::SELINUX_CHANGE_POLICY),
                    WordGate("MountOption", &gates::SELINUX_MOUNT),
                ],
            ),
            ("supplementalGroupsPolicy", &[Gate(&gates::SUPPLEMENTAL_GROUPS)]),
            ("sysctls", &[Unique("name")]),
        ],
    ),
    fields("Sysctl", "validateSysctls", &[("name", &[Is(&SYSCTL)]), ("value", &[Optional])]),
    rules(
        "PodDNSConfig",
        "validatePodDNSConfig",
        &[
            ("nameservers", &[Each(&Is(&IP)), Each(&NotEmpty), Length(0, 3)]),
            (
                "searches",
                &[Each(&Is(&SEARCH)), Each(&Beyond(is_domain, &gates::SEARCHES)), Each(&NotEmpty), Length(0, 32)],
            ),
        ],
        &[Function(&SEARCHES)],
    ),
    fields("PodDNSConfigOption", "validatePodDNSConfig", &[("name", &[Required])]),
    fields(
        "HostAlias",
        "ValidateHostAliases",
        &[("ip", &[Is(&IP)]), ("hostnames", &[Each(&Is(&SUBDOMAIN)), Each(&NotEmpty)])],
    ),
    rules(
        "Toleration",
        "ValidateTolerations",
        &[
            ("key", &[Is(&QUALIFIED)]),
            ("effect", &[EmptyIsDefault]),
            (
                "operator",
                &[
                    EmptyIsDefault,
                    OneOf(&["Exists", "Equal", "Lt", "Gt"]),
                    WordGate("Lt", &gates::COMPARISONS),
                    WordGate("Gt", &gates::COMPARISONS),
                ],
            ),
        ],
        &[Function(&TOLERATION)],
    ),
    fields("PodReadinessGate", "validateReadinessGates", &[("conditionType", &[Is(&QUALIFIED)])]),
];
