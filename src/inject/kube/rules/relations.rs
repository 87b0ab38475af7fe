//! Rules between the members of an object that are functions: data cannot say them. A value that an expression sets is
//! not known yet, so that no function reports it.

use std::collections::HashSet;

use crate::inject::document::{Node, Value};
use crate::inject::kube::names::is_label_value;
use crate::inject::kube::quantity::quantity;
use crate::inject::kube::rules::Function;

/// True if the boolean `field` of `node` is known and true.
fn is_true(node: &Node, field: &str) -> bool {
    matches!(node.get(field).map(|node| &node.value), Some(Value::Bool(true)))
}

/// True if `field` of `node` is not set at all: absent, null or empty.
fn lacks(node: &Node, field: &str) -> bool {
    !node.has_value(field)
}

pub(super) static VALUE_OR_SOURCE: Function = Function {
    what: "A variable has either value or valueFrom",
    check: |node| {
        // A null result would drop its key.
        let is_known = |field: &str| node.has_value(field) && node.get(field).is_some_and(Node::is_known);
        let both = is_known("valueFrom") && is_known("value");
        let name = node.text("name").unwrap_or("?");
        if both { vec![("value", format!(" ({name}) has both value and valueFrom"))] } else { Vec::new() }
    },
    accepted: &[
        r#"{"name":"A","value":"x"}"#,
        r#"{"name":"A","value":"","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}"#,
    ],
    refused: &[r#"{"name":"A","value":"x","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}"#],
};

/// `validateMountPropagation`.
pub(super) static BIDIRECTIONAL: Function = Function {
    what: "Only a privileged container has a mount with mountPropagation Bidirectional",
    check: |node| {
        let privileged = node.get("securityContext").and_then(|context| context.get("privileged"));
        let can_be = privileged.is_some_and(|node| !node.is_known() || matches!(node.value, Value::Bool(true)))
            || node.get("securityContext").is_some_and(|context| !context.is_known());
        let is = |mount: &&Node| mount.text("mountPropagation") == Some("Bidirectional");
        match node.items("volumeMounts").iter().find(is) {
            Some(_) if !can_be => {
                vec![(
                    "volumeMounts",
                    ".volumeMounts: mountPropagation Bidirectional needs a privileged container".into(),
                )]
            }
            _ => Vec::new(),
        }
    },
    accepted: &[
        r#"{"name":"a","image":"a","securityContext":{"privileged":true},"volumeMounts":[{"name":"v","mountPath":"/x","mountPropagation":"Bidirectional"}]}"#,
    ],
    refused: &[
        r#"{"name":"a","image":"a","volumeMounts":[{"name":"v","mountPath":"/x","mountPropagation":"Bidirectional"}]}"#,
    ],
};

/// `ValidateVolumeMounts`, `ValidateVolumeDevices`.
pub(super) static DEVICES_AND_MOUNTS: Function = Function {
    what: "No volume and no path is used both by volumeMounts and by volumeDevices",
    check: |node| {
        let texts = |list: &str, field: &str| -> HashSet<&str> {
            node.items(list).iter().filter_map(|item| item.text(field)).collect()
        };
        let (names, paths) = (texts("volumeDevices", "name"), texts("volumeDevices", "devicePath"));
        let mut faults = Vec::new();
        for mount in node.items("volumeMounts") {
            if let Some(name) = mount.text("name").filter(|name| names.contains(name)) {
                faults.push(("volumeDevices", format!(" uses the volume {name} both as a directory and as a device")));
            }
            if let Some(path) = mount.text("mountPath").filter(|path| paths.contains(path)) {
                faults.push(("volumeDevices", format!(" has a mount and a device at \"{path}\"")));
            }
        }
        faults
    },
    accepted: &[
        r#"{"name":"a","image":"a","volumeMounts":[{"name":"v","mountPath":"/x"}],"volumeDevices":[{"name":"d","devicePath":"/d"}]}"#,
    ],
    refused: &[
        r#"{"name":"a","image":"a","volumeMounts":[{"name":"d","mountPath":"/x"}],"volumeDevices":[{"name":"d","devicePath":"/d"}]}"#,
        r#"{"name":"a","image":"a","volumeMounts":[{"name":"v","mountPath":"/d"}],"volumeDevices":[{"name":"d","devicePath":"/d"}]}"#,
    ],
};

/// `validateContainerRestartPolicy`.
pub(super) static RESTART_RULES: Function = Function {
    what: "A container with restartPolicyRules has a restartPolicy",
    check: |node| {
        let fault = ("restartPolicyRules", ".restartPolicyRules needs a restartPolicy".into());
        if node.has_value("restartPolicyRules") && lacks(node, "restartPolicy") { vec![fault] } else { Vec::new() }
    },
    accepted: &[
        r#"{"name":"a","image":"a","restartPolicy":"Always","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}]}"#,
    ],
    refused: &[
        r#"{"name":"a","image":"a","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}]}"#,
    ],
};

/// `ValidateSecurityContext`.
pub(super) static ESCALATION: Function = Function {
    what: "allowPrivilegeEscalation is not false in a privileged container or with CAP_SYS_ADMIN",
    check: |node| {
        let is_false = matches!(node.get("allowPrivilegeEscalation").map(|node| &node.value), Some(Value::Bool(false)));
        let added = node.get("capabilities").map(|node| node.items("add")).unwrap_or_default();
        let admin = added.iter().any(|item| matches!(&item.value, Value::String(name) if name == "CAP_SYS_ADMIN"));
        let with = match (is_false, is_true(node, "privileged"), admin) {
            (true, true, _) => "in a privileged container",
            (true, _, true) => "with CAP_SYS_ADMIN",
            _ => return Vec::new(),
        };
        vec![("allowPrivilegeEscalation", format!(".allowPrivilegeEscalation cannot be false {with}"))]
    },
    accepted: &[r#"{"allowPrivilegeEscalation":false}"#, r#"{"privileged":true}"#],
    refused: &[
        r#"{"allowPrivilegeEscalation":false,"privileged":true}"#,
        r#"{"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]}}"#,
    ],
};

/// `validateMountRecursiveReadOnly`.
pub(super) static RECURSIVE: Function = Function {
    what: "A mount with recursiveReadOnly IfPossible or Enabled is readOnly, without mountPropagation",
    check: |node| {
        let wants = matches!(node.text("recursiveReadOnly"), Some("Enabled" | "IfPossible"));
        let propagates = node.text("mountPropagation").is_some_and(|mode| mode != "None");
        let writable = node.get("readOnly").is_none_or(|node| matches!(node.value, Value::Bool(false) | Value::Null));
        let why = match (wants, writable, propagates) {
            (true, true, _) => "needs readOnly: true",
            (true, _, true) => "cannot be combined with mountPropagation",
            _ => return Vec::new(),
        };
        vec![("recursiveReadOnly", format!(".recursiveReadOnly {why}"))]
    },
    accepted: &[
        r#"{"name":"v","mountPath":"/x","readOnly":true,"recursiveReadOnly":"Enabled","mountPropagation":"None"}"#,
    ],
    refused: &[
        r#"{"name":"v","mountPath":"/x","recursiveReadOnly":"Enabled"}"#,
        r#"{"name":"v","mountPath":"/x","readOnly":true,"recursiveReadOnly":"IfPossible","mountPropagation":"HostToContainer"}"#,
    ],
};

/// `ValidateTolerations`.
pub(super) static TOLERATION: Function = Function {
    what: "A toleration without key has operator Exists; Exists has no value; tolerationSeconds needs effect NoExecute",
    check: |node| {
        let mut faults = Vec::new();
        let is_unknown = |field: &str| node.get(field).is_some_and(|node| !node.is_known());
        let operator = node.text("operator").filter(|word| !word.is_empty()).unwrap_or("Equal");
        let has_operator = !is_unknown("operator");
        if lacks(node, "key") && operator != "Exists" && has_operator {
            faults.push(("operator", ".operator must be Exists if there is no key".into()));
        }
        let effect = node.text("effect").unwrap_or_default();
        let has_seconds = node.integer("tolerationSeconds").is_some();
        if has_seconds && effect != "NoExecute" && !is_unknown("effect") {
            faults.push(("tolerationSeconds", ".tolerationSeconds needs the effect NoExecute".into()));
        }
        if let Some(value) = node.text("value").filter(|_| has_operator) {
            if operator == "Exists" && !value.is_empty() {
                faults.push(("value", ".value cannot be set with the operator Exists".into()));
            } else if operator == "Equal" && !is_label_value(value) {
                faults.push(("value", format!(".value must be a label value, not \"{value}\"")));
            }
        }
        faults
    },
    accepted: &[r#"{"operator":"Exists"}"#, r#"{"key":"a","value":"b","effect":"NoExecute","tolerationSeconds":5}"#],
    refused: &[
        r#"{"value":"a"}"#,
        r#"{"key":"a","operator":"Exists","value":"b"}"#,
        r#"{"key":"a","value":"b c"}"#,
        r#"{"key":"a","tolerationSeconds":5}"#,
        r#"{"key":"a","effect":"NoSchedule","tolerationSeconds":5}"#,
    ],
};

/// `validatePodDNSConfig`, `MaxDNSSearchListChars`.
pub(super) static SEARCHES: Function = Function {
    what: "The searches have at most 2048 characters, joined by spaces",
    check: |node| {
        let searches = node.items("searches").iter();
        let texts =
            searches.filter_map(|item| if let Value::String(text) = &item.value { Some(text.len() + 1) } else { None });
        let length: usize = texts.sum();
        if length > 2_049 { vec![("searches", ".searches have more than 2048 characters".into())] } else { Vec::new() }
    },
    accepted: &[],
    refused: &[],
};

/// `validateAzureDisk`.
pub(super) static AZURE_URI: Function = Function {
    what: "diskURI begins with /subscriptions/ for the kind Managed, else with https://",
    check: |node| {
        let Some(uri) = node.text("diskURI").filter(|_| node.get("kind").is_none_or(Node::is_known)) else {
            return Vec::new();
        };
        let kind = node.text("kind").unwrap_or("Shared");
        let prefix = if kind == "Managed" { "/subscriptions/" } else { "https://" };
        let fault = || ("diskURI", format!(".diskURI must begin with {prefix} for the kind {kind}"));
        if uri.starts_with(prefix) { Vec::new() } else { vec![fault()] }
    },
    accepted: &[r#"{"diskName":"d","diskURI":"https://d","kind":"Shared"}"#],
    refused: &[
        r#"{"diskName":"d","diskURI":"d"}"#,
        r#"{"diskName":"d","diskURI":"/subscriptions/d","kind":"Dedicated"}"#,
        r#"{"diskName":"d","diskURI":"https://d","kind":"Managed"}"#,
    ],
};

/// `ValidatePersistentVolumeClaimSpec`.
pub(super) static CLAIM: Function = Function {
    what: "A claim requests storage above 0; ReadWriteOncePod is its only access mode; dataSource equals dataSourceRef",
    check: |node| {
        let mut faults = Vec::new();
        let resources = node.get("resources");
        let storage = resources.and_then(|resources| resources.get("requests")?.get("storage"));
        let is_unknown = |node: Option<&Node>| node.is_some_and(|node| !node.is_known());
        let whole = is_unknown(resources) || is_unknown(resources.and_then(|node| node.get("requests")));
        let is_positive = storage.is_some_and(|node| match &node.value {
            Value::String(text) => quantity(text).is_none_or(|amount| amount > 0),
            Value::Null => false,
            _ => true,
        });
        if !is_positive && !whole {
            faults.push(("resources", ".resources.requests.storage must be above 0".into()));
        }
        let modes: HashSet<&str> = node
            .items("accessModes")
            .iter()
            .filter_map(|mode| if let Value::String(mode) = &mode.value { Some(mode.as_str()) } else { None })
            .collect();
        if modes.contains("ReadWriteOncePod") && modes.len() > 1 {
            faults.push(("accessModes", ".accessModes: ReadWriteOncePod must be the only one".into()));
        }
        if let (Some(one), Some(other)) = (node.get("dataSource"), node.get("dataSourceRef")) {
            let differs = |field: &str| {
                one.get(field).is_none_or(Node::is_known)
                    && other.get(field).is_none_or(Node::is_known)
                    && one.text(field).unwrap_or_default() != other.text(field).unwrap_or_default()
            };
            if one.has_entries() && other.has_entries() && ["apiGroup", "kind", "name"].into_iter().any(differs) {
                faults.push(("dataSourceRef", ".dataSourceRef must equal dataSource".into()));
            }
        }
        faults
    },
    accepted: &[r#"{"accessModes":["ReadWriteOncePod"],"resources":{"requests":{"storage":"1"}}}"#],
    refused: &[
        r#"{"accessModes":["ReadWriteOnce"]}"#,
        r#"{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"0"}}}"#,
        r#"{"accessModes":["ReadWriteOnce","ReadWriteOncePod"],"resources":{"requests":{"storage":"1"}}}"#,
        r#"{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1"}},"dataSource":{"kind":"PersistentVolumeClaim","name":"a"},"dataSourceRef":{"kind":"PersistentVolumeClaim","name":"b"}}"#,
    ],
};

/// `validateDataSource`, `validateDataSourceRef`.
pub(super) static DEFAULT_GROUP: Function = Function {
    what: "Without apiGroup the kind is PersistentVolumeClaim",
    check: |node| {
        let other = node.text("kind").is_some_and(|kind| kind != "PersistentVolumeClaim");
        let fault = ("kind", ".kind must be PersistentVolumeClaim without an apiGroup".into());
        if other && lacks(node, "apiGroup") { vec![fault] } else { Vec::new() }
    },
    accepted: &[r#"{"kind":"PersistentVolumeClaim","name":"a"}"#, r#"{"apiGroup":"x.io","kind":"A","name":"a"}"#],
    refused: &[r#"{"kind":"A","name":"a"}"#],
};

/// `validateVolumeSource`.
pub(super) static ISCSI_NAME: Function = Function {
    what: "The name of a volume and iscsi.targetPortal have together at most 63 characters if initiatorName is set",
    check: |node| {
        let Some(iscsi) = node.get("iscsi").filter(|iscsi| iscsi.text("initiatorName").is_some()) else {
            return Vec::new();
        };
        let length = node.text("name").map_or(0, str::len) + iscsi.text("targetPortal").map_or(0, str::len);
        let fault =
            ("iscsi", ".iscsi.targetPortal is too long: with the volume's name it may have 63 characters".into());
        if length > 63 { vec![fault] } else { Vec::new() }
    },
    accepted: &[],
    refused: &[
        r#"{"name":"v","iscsi":{"targetPortal":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","iqn":"iqn.2001-04.com.example:s","initiatorName":"iqn.2001-04.com.example:i"}}"#,
    ],
};

/// `validateProjectionSources`.
pub(super) static PROJECTED_PATHS: Function = Function {
    what: "No two sources write the same path",
    check: |node| {
        let mut seen = HashSet::new();
        let mut faults = Vec::new();
        for source in node.items("sources") {
            let items = ["secret", "configMap", "downwardAPI"].into_iter().filter_map(|kind| source.get(kind));
            let items = items.flat_map(|source| source.items("items")).filter_map(|item| item.text("path"));
            let bundle = source.get("clusterTrustBundle").and_then(|bundle| bundle.text("path"));
            let certificate = source.get("podCertificate");
            let certificate = ["credentialBundlePath", "keyPath", "certificateChainPath"]
                .into_iter()
                .filter_map(|field| certificate?.text(field));
            for path in items.chain(bundle).chain(certificate).filter(|path| !path.is_empty()) {
                if !seen.insert(path) {
                    faults.push(("sources", format!(".sources: two of them write \"{path}\"")));
                }
            }
        }
        faults
    },
    accepted: &[
        r#"{"sources":[{"secret":{"name":"a","items":[{"key":"k","path":"a"}]}},{"configMap":{"name":"a","items":[{"key":"k","path":"b"}]}}]}"#,
    ],
    refused: &[
        r#"{"sources":[{"secret":{"name":"a","items":[{"key":"k","path":"a"}]}},{"configMap":{"name":"a","items":[{"key":"k","path":"a"}]}}]}"#,
    ],
};

/// `validateProjectionSources`, `IsKubernetesSignerName`.
pub(super) static CERTIFICATE_LIFETIME: Function = Function {
    what: "maxExpirationSeconds is at most 86400 for a signer of kubernetes.io or a domain below it",
    check: |node| {
        let domain = node.text("signerName").and_then(|name| name.split('/').next()).unwrap_or_default();
        let is_kubernetes = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
        let seconds = node.get("maxExpirationSeconds").and_then(|seconds| match &seconds.value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        });
        match seconds {
            // The range of the field reports more than that.
            Some(seconds @ 86_401..=7_862_400) if is_kubernetes => {
                vec![("maxExpirationSeconds", format!(".maxExpirationSeconds must be at most 86400, not {seconds}"))]
            }
            _ => Vec::new(),
        }
    },
    accepted: &[
        r#"{"signerName":"a.kubernetes.io/b","keyType":"RSA3072","credentialBundlePath":"a","maxExpirationSeconds":86400}"#,
        r#"{"signerName":"example.com/b","keyType":"RSA3072","credentialBundlePath":"a","maxExpirationSeconds":86401}"#,
    ],
    refused: &[
        r#"{"signerName":"a.kubernetes.io/b","keyType":"RSA3072","credentialBundlePath":"a","maxExpirationSeconds":86401}"#,
    ],
};

/// `ValidateLabelSelectorRequirement`.
pub(super) static SELECTOR_VALUES: Function = Function {
    what: "The operators In and NotIn have values, Exists and DoesNotExist have none",
    check: |node| match (
        node.text("operator"),
        node.items("values").is_empty() && node.get("values").is_none_or(Node::is_known),
    ) {
        (Some(word @ ("In" | "NotIn")), true) => {
            vec![("values", format!(".values cannot be empty for the operator {word}"))]
        }
        (Some(word @ ("Exists" | "DoesNotExist")), false) if node.get("values").is_none_or(Node::is_known) => {
            vec![("values", format!(".values must be empty for the operator {word}"))]
        }
        _ => Vec::new(),
    },
    accepted: &[r#"{"key":"a","operator":"NotIn","values":["x"]}"#, r#"{"key":"a","operator":"Exists"}"#],
    refused: &[r#"{"key":"a","operator":"In"}"#, r#"{"key":"a","operator":"DoesNotExist","values":["x"]}"#],
};
