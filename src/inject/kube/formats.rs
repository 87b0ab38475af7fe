//! The formats of strings in a Pod, each with a value that the API server accepts and values that it rejects. The
//! module checks strings only. It does not know in which fields they are. Source, unless a format names another:
//! `k8s.io/apimachinery/pkg/util/validation` and `k8s.io/kubernetes/pkg/apis/core/validation`.

use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Regex;

use crate::inject::kube::names::{is_label, is_label_value, is_qualified_name, is_subdomain};
use crate::inject::kube::quantity::HUGE_PAGES;

/// The format of a string.
#[derive(Debug)]
pub(crate) struct Format {
    /// What the string must be, such as `a DNS label`.
    pub(crate) what: &'static str,
    /// How to write it; can be empty.
    pub(crate) help: &'static str,
    /// Returns true if a non-empty string has the format.
    pub(crate) is_valid: fn(&str) -> bool,
    /// A string that has the format.
    pub(crate) accepted: &'static str,
    /// Strings that do not have the format.
    pub(crate) refused: &'static [&'static str],
}

const LABEL_HELP: &str = "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
const SUBDOMAIN_HELP: &str = "use a-z, 0-9, - and ., with a letter or digit at both ends of each part";
const QUALIFIED_HELP: &str = "write NAME or PREFIX/NAME; a name has 1 to 63 of A-Z, a-z, 0-9, -, _ and .";

/// `IsDNS1123Label`.
pub(crate) static LABEL: Format = Format {
    what: "a DNS label",
    help: LABEL_HELP,
    is_valid: is_label,
    accepted: "a-1",
    refused: &["A", "a.b", "a_b", "-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
};
/// `IsDNS1123Subdomain`.
pub(crate) static SUBDOMAIN: Format = Format {
    what: "a DNS subdomain",
    help: SUBDOMAIN_HELP,
    is_valid: is_subdomain,
    accepted: "a.b-1",
    refused: &["A", "a_b", "a..b", "Bad Name"],
};
/// `ValidateCSIDriverName`: the name is lowered first.
pub(crate) static CSI_DRIVER: Format = Format {
    what: "a DNS subdomain",
    help: SUBDOMAIN_HELP,
    is_valid: |name| is_subdomain(&name.to_lowercase()),
    accepted: "Csi.example.com",
    refused: &["a_b", "a..b", "Bad Name"],
};
/// `IsQualifiedName`.
pub(crate) static QUALIFIED: Format = Format {
    what: "a qualified name",
    help: QUALIFIED_HELP,
    is_valid: is_qualified_name,
    accepted: "example.com/a",
    refused: &["a b", "a/b/c", "/a", "A/a"],
};
/// `ValidateAnnotations`: the key is lowered first.
pub(crate) static ANNOTATION_KEY: Format = Format {
    what: "a qualified name",
    help: QUALIFIED_HELP,
    is_valid: |key| is_qualified_name(&key.to_lowercase()),
    accepted: "Example.com/a",
    refused: &["a b", "a/b/c", "/a"],
};
/// `ValidateUserAnnotations`: the key is lowered first.
pub(crate) static DOMAIN_KEY: Format = Format {
    what: "a qualified name with a domain",
    help: "write DOMAIN/NAME",
    is_valid: |key| key.contains('/') && is_qualified_name(&key.to_lowercase()),
    accepted: "Example.com/a",
    refused: &["a b", "a/b/c", "/a", "a"],
};
/// `IsValidLabelValue`.
pub(crate) static LABEL_VALUE: Format = Format {
    what: "a label value",
    help: "use up to 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends",
    is_valid: is_label_value,
    accepted: "A_1",
    refused: &["a b", "-a", "a/b"],
};
/// `IsRelaxedEnvVarName`.
pub(crate) static ENV_NAME: Format = Format {
    what: "the name of an environment variable",
    help: "use printable ASCII characters without =",
    is_valid: |name| name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'='),
    accepted: "A.b",
    refused: &["A=B", "ä"],
};
/// Returns true for a name of an environment variable as before Kubernetes 1.32 (`IsEnvVarName`).
pub(crate) fn is_identifier(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.chars().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns true for a search domain as before Kubernetes 1.33: a DNS-1123 subdomain, which a dot can follow.
pub(crate) fn is_domain(search: &str) -> bool {
    is_subdomain(search.strip_suffix('.').unwrap_or(search))
}

/// `IsValidPortName` (RFC 6335, section 5.1).
pub(crate) static PORT_NAME: Format = Format {
    what: "a port name",
    help: "use 1 to 15 of a-z, 0-9 and -, at least one letter, and single - only between others",
    is_valid: is_port_name,
    accepted: "http-1",
    refused: &["Http", "a_b", "a--b", "-a", "123", "abcdefghijklmnop"],
};
/// `IsConfigMapKey`.
pub(crate) static CONFIG_KEY: Format = Format {
    what: "a key of a ConfigMap or Secret",
    help: "use up to 253 of A-Z, a-z, 0-9, -, _ and .",
    is_valid: |key| {
        key.len() <= 253
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && key != "."
            && !key.starts_with("..")
    },
    accepted: "a_B.c",
    refused: &["a/b", "a b", "..", "..a", "."],
};
/// `IsHTTPHeaderName`.
pub(crate) static HEADER: Format = Format {
    what: "the name of an HTTP header",
    help: "use A-Z, a-z, 0-9 and -",
    is_valid: |name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
    accepted: "X-A",
    refused: &["X A", "X_A", "X:"],
};
/// `IsValidIPForLegacyField`, with the gate `StrictIPCIDRValidation`, which is on by default.
pub(crate) static IP: Format = Format {
    what: "an IP address",
    help: "for example 10.0.0.1 or fd00::1",
    is_valid: is_ip,
    accepted: "10.0.0.1",
    refused: &["x", "10.0.0", "010.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"],
};
/// `validateContainerOnlyForPod`.
pub(crate) static TRIMMED: Format = Format {
    what: "text without white space at its ends",
    help: "",
    is_valid: |text| text.trim() == text,
    accepted: "a",
    refused: &[" a", "a ", "a\n"],
};
/// `validatePathNoBacksteps`.
pub(crate) static NO_BACKSTEP: Format = Format {
    what: "a path without ..",
    help: "",
    is_valid: has_no_backstep,
    accepted: "/a/b",
    refused: &["/a/../b", ".."],
};
/// `validateLocalDescendingPath`.
pub(crate) static DESCENDING: Format = Format {
    what: "a relative path without ..",
    help: "",
    is_valid: is_descending,
    accepted: "a/b",
    refused: &["/a", "a/../b", "../a"],
};
/// `ValidateLocalNonReservedPath`.
pub(crate) static LOCAL: Format = Format {
    what: "a relative path that does not begin with ..",
    help: "",
    is_valid: |path| is_descending(path) && !path.starts_with(".."),
    accepted: "a/b",
    refused: &["/a", "a/../b", "..a"],
};
/// `validateNFSVolumeSource`.
pub(crate) static ABSOLUTE: Format = Format {
    what: "an absolute path",
    help: "",
    is_valid: |path| path.starts_with('/'),
    accepted: "/a",
    refused: &["a"],
};
/// `validateFlockerVolumeSource`.
pub(crate) static NO_SLASH: Format = Format {
    what: "a name without /",
    help: "",
    is_valid: |name| !name.contains('/'),
    accepted: "a",
    refused: &["a/b"],
};
/// `IsValidSysctlName`.
pub(crate) static SYSCTL: Format = Format {
    what: "the name of a sysctl",
    help: "for example net.core.somaxconn",
    is_valid: |name| {
        name.len() <= 253
            && name.split(['.', '/']).all(|part| {
                let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                let bytes = part.as_bytes();
                outer(bytes.first())
                    && outer(bytes.last())
                    && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(b))
            })
    },
    accepted: "net.core.somaxconn",
    refused: &["A", "a..b", "a b"],
};
/// `validateISCSIVolumeSource`.
pub(crate) static IQN: Format = Format {
    what: "an iSCSI name",
    help: "begin with iqn., eui. or naa.",
    is_valid: |name| {
        static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
            let iqn = r"iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)";
            Regex::new(&format!(r"^({iqn}|eui\.[[:alnum:]]{{16}}|naa\.[[:alnum:]]{{32}})$")).ok()
        });
        PATTERN.as_ref().is_none_or(|pattern| pattern.is_match(name))
    },
    accepted: "iqn.2001-04.com.example:storage",
    refused: &["x", "iqn.2001.com:a", "naa.1", "eui.1"],
};
/// `validateContainerResourceFieldSelector`.
pub(crate) static RESOURCE_FIELD: Format = Format {
    what: "a resource that a container can read",
    help: "write limits.NAME or requests.NAME with cpu, memory, ephemeral-storage or hugepages-SIZE",
    is_valid: |name| {
        let of = name.strip_prefix("limits.").or_else(|| name.strip_prefix("requests."));
        of.is_some_and(|of| matches!(of, "cpu" | "memory" | "ephemeral-storage") || of.starts_with(HUGE_PAGES))
    },
    accepted: "limits.cpu",
    refused: &["limits.nope", "cpu"],
};
/// `validatePodDNSConfig`.
pub(crate) static SEARCH: Format = Format {
    what: "a DNS search path",
    help: "use a-z, 0-9, -, _ and .",
    is_valid: |name| {
        let name = name.strip_suffix('.').unwrap_or(name);
        let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
        let is_part = |part: &str| {
            let bytes = part.as_bytes();
            outer(bytes.first())
                && outer(bytes.last())
                && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(b))
        };
        name.is_empty() || name.len() <= 253 && name.split('.').all(is_part)
    },
    accepted: "a.b_c",
    refused: &["A", "a..b", "a b"],
};
/// `ValidateSignerName` (`pkg/apis/certificates/validation`).
pub(crate) static SIGNER: Format = Format {
    what: "the name of a signer",
    help: "write DOMAIN/PATH",
    is_valid: |name| {
        name.split_once('/').is_some_and(|(domain, path)| {
            is_subdomain(domain) && domain.contains('.') && !path.is_empty() && !path.contains('/')
        })
    },
    accepted: "example.com/a",
    refused: &["a", "example/a"],
};
/// `validateWindowsSecurityContextOptions`.
pub(crate) static WINDOWS_USER: Format = Format {
    what: "the name of a Windows user",
    help: "write USER or DOMAIN\\USER",
    is_valid: is_windows_user,
    accepted: "ContainerUser",
    refused: &["a\\b\\c", "a:b", "...", ".a\\b"],
};
/// `validateQuobyteVolumeSource`.
pub(crate) static HOST_PORTS: Format = Format {
    what: "a list of HOST:PORT",
    help: "separate them by commas",
    is_valid: |list| list.split(',').all(|item| item.matches(':').count() == 1),
    accepted: "a:1,b:2",
    refused: &["a", "a:1,b"],
};
/// `validateFlexVolumeSource`.
pub(crate) static NOT_KUBERNETES: Format = Format {
    what: "a key outside of kubernetes.io and k8s.io",
    help: "",
    is_valid: |key| {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        !domain.ends_with(".kubernetes.io") && !domain.ends_with(".k8s.io")
    },
    accepted: "a",
    refused: &["kubernetes.io/a", "x.k8s.io/a"],
};
/// `ConvertDownwardAPIFieldLabel` (`pkg/apis/core/pods/helpers.go`).
pub(crate) static V1: Format =
    Format { what: "v1", help: "", is_valid: |version| version == "v1", accepted: "v1", refused: &["v2"] };
/// `validateObjectFieldSelector` with `validEnvDownwardAPIFieldPathExpressions`.
pub(crate) static ENV_FIELD: Format = Format {
    what: "a field of the pod that a variable can read",
    help: "for example metadata.name, metadata.labels['KEY'], spec.nodeName or status.podIP",
    is_valid: |path| {
        let fields = [
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "spec.nodeName",
            "spec.serviceAccountName",
            "status.hostIP",
            "status.hostIPs",
            "status.podIP",
            "status.podIPs",
        ];
        is_subscript(path) || fields.contains(&path)
    },
    accepted: "metadata.name",
    refused: &["spec.nope", "metadata.labels", "metadata.labels['a b']", "metadata.name['a']"],
};
/// `validateObjectFieldSelector` with `validVolumeDownwardAPIFieldPathExpressions`.
pub(crate) static VOLUME_FIELD: Format = Format {
    what: "a field of the pod that a volume can contain",
    help: "write metadata.name, .namespace, .uid, .labels or .annotations, or metadata.labels['KEY']",
    is_valid: |path| {
        let fields = ["metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"];
        is_subscript(path) || fields.contains(&path)
    },
    accepted: "metadata.labels",
    refused: &["spec.nodeName", "metadata.labels['a b']"],
};

/// Returns true for a label or annotation of the pod: `metadata.labels['KEY']`.
fn is_subscript(path: &str) -> bool {
    let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    key("metadata.labels['").is_some_and(is_qualified_name)
        || key("metadata.annotations['").is_some_and(|key| is_qualified_name(&key.to_lowercase()))
}

/// Returns true if `name` is a valid port name.
pub(crate) fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

fn is_ip(text: &str) -> bool {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => ip.to_ipv4_mapped().is_none(),
        Ok(IpAddr::V4(_)) => true,
        Err(_) => false,
    }
}

fn has_no_backstep(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}

/// Returns true for a relative path without `..`.
pub(crate) fn is_descending(path: &str) -> bool {
    !path.starts_with('/') && has_no_backstep(path)
}

fn is_windows_user(name: &str) -> bool {
    let mut parts = name.split('\\');
    let (first, second, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let is_netbios = |domain: &str| {
        (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
    };
    let is_dns = |domain: &str| {
        domain.len() < 256
            && domain.split('.').all(|part| {
                (1..=63).contains(&part.len())
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !part.starts_with('-')
                    && !part.ends_with('-')
            })
    };
    let user = second.unwrap_or(first);
    more.is_none()
        && !name.chars().any(char::is_control)
        && (second.is_none() || is_netbios(first) || is_dns(first))
        && (1..=104).contains(&user.chars().count())
        && !user.chars().all(|c| matches!(c, '.' | ' '))
        && !user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']'])
}

#[cfg(test)]
pub(crate) static ALL: [&Format; 27] = [
    &CSI_DRIVER,
    &LABEL,
    &SUBDOMAIN,
    &QUALIFIED,
    &ANNOTATION_KEY,
    &LABEL_VALUE,
    &ENV_NAME,
    &PORT_NAME,
    &CONFIG_KEY,
    &HEADER,
    &IP,
    &TRIMMED,
    &NO_BACKSTEP,
    &DESCENDING,
    &LOCAL,
    &ABSOLUTE,
    &NO_SLASH,
    &SYSCTL,
    &IQN,
    &RESOURCE_FIELD,
    &SEARCH,
    &SIGNER,
    &WINDOWS_USER,
    &HOST_PORTS,
    &NOT_KUBERNETES,
    &V1,
    &ENV_FIELD,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_accepts_and_refuses_its_examples() {
        for format in ALL.into_iter().chain([&VOLUME_FIELD]) {
            assert!((format.is_valid)(format.accepted), "{}: {}", format.what, format.accepted);
            for text in format.refused {
                assert!(!(format.is_valid)(text), "{}: {text}", format.what);
            }
        }
    }
}
