//! The flags for the settings of decisions, which are the same for the webhook and the commands. The module converts
//! flags to [`Settings`]. It does not decide on pods.

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::inject::catalog::sources::SourceRules;
use crate::inject::cluster_version::ClusterVersion;
use crate::inject::select::request::{self, Dialect, RequestItem, Selection};
use crate::inject::settings::keys::{Keys, PREFIX};
use crate::inject::settings::{FOREIGN_SIDECARS, Settings};
use crate::inject::template::pod_security::Profile;

/// The flag for the keys of annotations and labels.
#[derive(Args, Debug)]
pub(in crate::commands) struct KeysArgs {
    /// Prefix of the annotation and label keys, without the slash
    #[arg(
        long = "annotation-prefix",
        value_name = "DOMAIN",
        value_parser = Keys::with_prefix,
        default_value = PREFIX,
        env = "SIDECAR_INJECTOR_ANNOTATION_PREFIX"
    )]
    pub(in crate::commands) keys: Keys,
}

/// The flag for the version of the cluster.
#[derive(Args, Debug)]
pub(in crate::commands) struct KubernetesArgs {
    /// Version of the cluster, e.g. 1.34; cluster.minor in expressions
    #[arg(long, value_name = "VERSION", env = "SIDECAR_INJECTOR_KUBERNETES")]
    pub(in crate::commands) kubernetes: Option<ClusterVersion>,
}

impl KubernetesArgs {
    /// Returns the rules for templates in a cluster of this version.
    pub(in crate::commands) fn rules(&self) -> SourceRules {
        SourceRules { cluster: self.kubernetes, ..SourceRules::default() }
    }
}

/// Flags that become [`Settings`].
#[derive(Args, Debug)]
pub(in crate::commands) struct SettingsArgs {
    #[command(flatten)]
    keys: KeysArgs,
    /// Template that the request `true` selects (repeatable)
    #[arg(long, value_name = "NAME[@VERSION]", env = "SIDECAR_INJECTOR_DEFAULT_TEMPLATES", value_delimiter = ',')]
    default_templates: Vec<String>,
    /// Annotation of another system that also counts as a request (repeatable)
    #[arg(long, value_name = "KEY", env = "SIDECAR_INJECTOR_REQUEST_ANNOTATION", value_delimiter = ',')]
    request_annotation: Vec<String>,
    /// What to do when a pod requests an unknown template
    #[arg(long, value_enum, default_value_t = UnknownTemplateArg::Deny, env = "SIDECAR_INJECTOR_UNKNOWN_TEMPLATE")]
    unknown_template: UnknownTemplateArg,
    /// Container of another injector, which globs of appContainers do not match (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_FOREIGN_SIDECARS",
        value_delimiter = ',',
        default_values = FOREIGN_SIDECARS
    )]
    foreign_sidecars: Vec<String>,
    /// Namespace whose pods are never changed (repeatable)
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_EXCLUDE_NAMESPACE", value_delimiter = ',')]
    exclude_namespace: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnknownTemplateArg {
    /// Deny the pod
    #[value(name = "Deny")]
    Deny,
    /// Admit the pod without the template, with a warning
    #[value(name = "Skip")]
    Skip,
}

impl SettingsArgs {
    /// Converts the flags to settings.
    ///
    /// # Errors
    /// A sentence without a full stop, if `--default-templates` contains anything but names of templates.
    pub(in crate::commands) fn settings(&self) -> anyhow::Result<Settings> {
        for default in &self.default_templates {
            match request::parse("--default-templates", default, Dialect::Own) {
                Ok(Selection::Templates(items)) if items.iter().all(|item| matches!(item, RequestItem::Named(_))) => {}
                Ok(_) => return Err(anyhow!("--default-templates must list names of templates, not {default}")),
                Err(why) => return Err(anyhow!("{why}")),
            }
        }
        Ok(Settings {
            keys: self.keys.keys.clone(),
            excluded_namespaces: self.exclude_namespace.clone(),
            default_templates: self.default_templates.clone(),
            request_annotations: self.request_annotation.clone(),
            skip_unknown: self.unknown_template == UnknownTemplateArg::Skip,
            foreign_sidecars: self.foreign_sidecars.clone(),
            observe: false,
        })
    }
}

/// A level of the Pod Security Standards.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::commands) enum LevelArg {
    Privileged,
    Baseline,
    Restricted,
}

impl From<LevelArg> for Profile {
    fn from(level: LevelArg) -> Self {
        match level {
            LevelArg::Privileged => Self::Privileged,
            LevelArg::Baseline => Self::Baseline,
            LevelArg::Restricted => Self::Restricted,
        }
    }
}
