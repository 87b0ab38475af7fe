//! The rules of volumes and of their sources.

use crate::inject::kube::formats::ANNOTATION_KEY;
use crate::inject::kube::formats::{
    ABSOLUTE, CSI_DRIVER, DESCENDING, DOMAIN_KEY, HOST_PORTS, IQN, LABEL, LABEL_VALUE, LOCAL, NO_BACKSTEP, NO_SLASH,
    NOT_KUBERNETES, QUALIFIED, SIGNER, SUBDOMAIN, VOLUME_FIELD,
};
use crate::inject::kube::gates;
use crate::inject::kube::rules::FieldRule::{
    Each, EmptyIsDefault, Gate, Is, Keys, Length, Member, NotEmpty, NotNegative, OneOf, Optional, Range, Required,
    Values,
};
use crate::inject::kube::rules::Relation::{AtLeast, AtMost, Exactly, Function, Idle, Needs, OneBeside, Only};
use crate::inject::kube::rules::relations::{
    AZURE_URI, CERTIFICATE_LIFETIME, CLAIM, DEFAULT_GROUP, ISCSI_NAME, PROJECTED_PATHS, SELECTOR_VALUES,
};
use crate::inject::kube::rules::{Is as Value, TypeRules, fields, rules};

const MODE: &[super::FieldRule] = &[Range(0, 0o777)];
const PROJECTIONS: &[&str] =
    &["clusterTrustBundle", "configMap", "downwardAPI", "podCertificate", "secret", "serviceAccountToken"];
const NAMED: &[super::FieldRule] = &[Member("name", &[Required, Is(&SUBDOMAIN)])];
const NAMED_FREELY: &[super::FieldRule] = &[Member("name", &[Required])];

pub(super) static RULES: &[TypeRules] = &[
    rules(
        "Volume",
        "ValidateVolumes, validateVolumeSource",
        &[("name", &[Is(&LABEL)]), ("image", &[Gate(&gates::IMAGE_VOLUME)])],
        &[OneBeside("name"), Function(&ISCSI_NAME)],
    ),
    fields("EmptyDirVolumeSource", "validateVolumeSource", &[("sizeLimit", &[NotNegative])]),
    fields(
        "HostPathVolumeSource",
        "validateHostPathVolumeSource",
        &[("path", &[Is(&NO_BACKSTEP)]), ("type", &[EmptyIsDefault])],
    ),
    fields("SecretVolumeSource", "validateSecretVolumeSource", &[("secretName", &[Required]), ("defaultMode", MODE)]),
    fields("ConfigMapVolumeSource", "validateConfigMapVolumeSource", &[("name", &[Required]), ("defaultMode", MODE)]),
    fields("KeyToPath", "validateKeyToPath", &[("path", &[Is(&LOCAL)]), ("mode", MODE)]),
    fields("DownwardAPIVolumeSource", "validateDownwardAPIVolumeSource", &[("defaultMode", MODE)]),
    rules(
        "DownwardAPIVolumeFile",
        "validateDownwardAPIVolumeFile",
        &[
            ("path", &[Is(&LOCAL)]),
            ("mode", MODE),
            ("fieldRef", &[Member("fieldPath", &[Is(&VOLUME_FIELD)])]),
            ("resourceFieldRef", &[Member("containerName", &[Required])]),
        ],
        &[Exactly(&["fieldRef", "resourceFieldRef"])],
    ),
    rules(
        "ProjectedVolumeSource",
        "validateProjectedVolumeSource",
        &[("defaultMode", MODE)],
        &[Function(&PROJECTED_PATHS)],
    ),
    rules(
        "VolumeProjection",
        "validateProjectionSources",
        &[("podCertificate", &[Gate(&gates::POD_CERTIFICATE)]), ("clusterTrustBundle", &[Gate(&gates::TRUST_BUNDLE)])],
        &[AtMost(PROJECTIONS), Idle(PROJECTIONS)],
    ),
    fields("SecretProjection", "validateProjectionSources", &[("name", &[Required])]),
    fields("ConfigMapProjection", "validateProjectionSources", &[("name", &[Required])]),
    fields(
        "ServiceAccountTokenProjection",
        "validateProjectionSources",
        &[("path", &[Is(&LOCAL)]), ("expirationSeconds", &[Range(600, 1 << 32)])],
    ),
    rules(
        "ClusterTrustBundleProjection",
        "validateProjectionSources",
        &[("path", &[Is(&LOCAL)]), ("name", &[NotEmpty]), ("signerName", &[NotEmpty, Is(&SIGNER)])],
        &[Exactly(&["name", "signerName"])],
    ),
    rules(
        "PodCertificateProjection",
        "validateProjectionSources",
        &[
            ("keyType", &[OneOf(&["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"])]),
            ("signerName", &[Is(&SIGNER)]),
            ("maxExpirationSeconds", &[Range(3_600, 7_862_400)]),
            ("credentialBundlePath", &[Is(&LOCAL)]),
            ("keyPath", &[Is(&LOCAL)]),
            ("certificateChainPath", &[Is(&LOCAL)]),
            ("userAnnotations", &[Keys(&DOMAIN_KEY)]),
        ],
        &[AtLeast(&["credentialBundlePath", "keyPath", "certificateChainPath"]), Function(&CERTIFICATE_LIFETIME)],
    ),
    fields(
        "ImageVolumeSource",
        "validateImageVolumeSource",
        &[("reference", &[Required]), ("pullPolicy", &[EmptyIsDefault])],
    ),
    fields(
        "CSIVolumeSource",
        "validateCSIVolumeSource",
        &[("driver", &[Is(&CSI_DRIVER), Length(1, 63)]), ("nodePublishSecretRef", NAMED)],
    ),
    fields("EphemeralVolumeSource", "validateEphemeralVolumeSource", &[("volumeClaimTemplate", &[Required])]),
    rules(
        "ObjectMeta",
        "ValidateTemplateObjectMeta",
        &[("labels", &[Keys(&QUALIFIED), Values(&LABEL_VALUE)]), ("annotations", &[Keys(&ANNOTATION_KEY)])],
        &[Only(&["labels", "annotations"])],
    ),
    rules(
        "PersistentVolumeClaimSpec",
        "ValidatePersistentVolumeClaimSpec",
        &[
            (
                "accessModes",
                &[Required, Each(&OneOf(&["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]))],
            ),
            ("storageClassName", &[Is(&SUBDOMAIN)]),
            ("volumeAttributesClassName", &[Is(&SUBDOMAIN), Gate(&gates::VOLUME_ATTRIBUTES)]),
        ],
        &[Function(&CLAIM)],
    ),
    fields("LabelSelector", "ValidateLabelSelector", &[("matchLabels", &[Keys(&QUALIFIED), Values(&LABEL_VALUE)])]),
    rules(
        "LabelSelectorRequirement",
        "ValidateLabelSelectorRequirement",
        &[("key", &[Is(&QUALIFIED)]), ("operator", &[OneOf(&["In", "NotIn", "Exists", "DoesNotExist"])])],
        &[Function(&SELECTOR_VALUES)],
    ),
    rules(
        "TypedLocalObjectReference",
        "validateDataSource",
        &[("apiGroup", &[Is(&SUBDOMAIN)])],
        &[Function(&DEFAULT_GROUP)],
    ),
    rules(
        "TypedObjectReference",
        "validateDataSourceRef",
        &[("apiGroup", &[Is(&SUBDOMAIN)]), ("namespace", &[Is(&LABEL)])],
        &[Function(&DEFAULT_GROUP)],
    ),
];

/// Volumes on storage systems that have a source of their own in the API.
pub(super) static REMOTE: &[TypeRules] = &[
    fields("NFSVolumeSource", "validateNFSVolumeSource", &[("path", &[Is(&ABSOLUTE)])]),
    rules(
        "ISCSIVolumeSource",
        "validateISCSIVolumeSource",
        &[("iqn", &[Is(&IQN)]), ("initiatorName", &[NotEmpty, Is(&IQN)]), ("lun", &[Optional, Range(0, 255)])],
        &[
            Needs("chapAuthDiscovery", Value::Word("true"), "secretRef"),
            Needs("chapAuthSession", Value::Word("true"), "secretRef"),
        ],
    ),
    rules(
        "FCVolumeSource",
        "validateFCVolumeSource",
        &[("lun", &[Range(0, 255)])],
        &[Exactly(&["targetWWNs", "wwids"]), Needs("targetWWNs", Value::Set, "lun")],
    ),
    fields("FlexVolumeSource", "validateFlexVolumeSource", &[("options", &[Keys(&NOT_KUBERNETES)])]),
    rules(
        "FlockerVolumeSource",
        "validateFlockerVolumeSource",
        &[("datasetName", &[Is(&NO_SLASH)])],
        &[Exactly(&["datasetName", "datasetUUID"])],
    ),
    fields("GitRepoVolumeSource", "validateGitRepoVolumeSource", &[("directory", &[Is(&DESCENDING)])]),
    fields(
        "AWSElasticBlockStoreVolumeSource",
        "validateAWSElasticBlockStoreVolumeSource",
        &[("partition", &[Range(0, 255)])],
    ),
    fields(
        "GCEPersistentDiskVolumeSource",
        "validateGCEPersistentDiskVolumeSource",
        &[("partition", &[Range(0, 255)])],
    ),
    rules("AzureDiskVolumeSource", "validateAzureDisk", &[], &[Function(&AZURE_URI)]),
    fields("CinderVolumeSource", "validateCinderVolumeSource", &[("secretRef", NAMED_FREELY)]),
    fields(
        "QuobyteVolumeSource",
        "validateQuobyteVolumeSource",
        &[("registry", &[Is(&HOST_PORTS)]), ("tenant", &[Length(0, 64)])],
    ),
    fields(
        "StorageOSVolumeSource",
        "validateStorageOSVolumeSource",
        &[("volumeName", &[Required, Is(&LABEL)]), ("volumeNamespace", &[Is(&LABEL)]), ("secretRef", NAMED_FREELY)],
    ),
    fields(
        "ScaleIOVolumeSource",
        "validateScaleIOVolumeSource",
        &[("secretRef", &[Optional]), ("volumeName", &[Required])],
    ),
];
