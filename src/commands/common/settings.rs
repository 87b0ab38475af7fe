//! The flags that say how pods are decided on, the same for the webhook and the commands.

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::inject::select::request::{self, Dialect, RequestItem, Selection};
use crate::inject::settings::keys::{Keys, PREFIX};
use crate::inject::settings::{FOREIGN_SIDECARS, Settings};
use crate::inject::template::pod_security::Profile;

/// The flag that gives the keys of annotations and labels.
#[derive(Args, Debug)]
pub(in crate::commands) struct KeysArgs {
    /// What the keys of annotations and labels begin with, up to the slash
    #[arg(
        long = "annotation-prefix",
        value_name = "DOMAIN",
        value_parser = Keys::with_prefix,
        default_value = PREFIX,
        env = "SIDECAR_INJECTOR_ANNOTATION_PREFIX"
    )]
    pub(in crate::commands) keys: Keys,
}

/// Flags that become [`Settings`].
#[derive(Args, Debug)]
pub(in crate::commands) struct SettingsArgs {
    #[command(flatten)]
    keys: KeysArgs,
    /// What `true` in a request stands for (repeatable)
    #[arg(long, value_name = "NAME[@VERSION]", env = "SIDECAR_INJECTOR_DEFAULT_TEMPLATES", value_delimiter = ',')]
    default_templates: Vec<String>,
    /// Other systems' annotations that count as a request too (repeatable)
    #[arg(long, value_name = "KEY", env = "SIDECAR_INJECTOR_REQUEST_ANNOTATION", value_delimiter = ',')]
    request_annotation: Vec<String>,
    /// What a request for a template that does not exist comes to
    #[arg(long, value_enum, default_value_t = UnknownTemplateArg::Deny, env = "SIDECAR_INJECTOR_UNKNOWN_TEMPLATE")]
    unknown_template: UnknownTemplateArg,
    /// Names of other injectors' containers, which globs of appContainers leave alone
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_FOREIGN_SIDECARS",
        value_delimiter = ',',
        default_values = FOREIGN_SIDECARS
    )]
    foreign_sidecars: Vec<String>,
    /// Namespace whose pods are never touched (repeatable)
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_EXCLUDE_NAMESPACE", value_delimiter = ',')]
    exclude_namespace: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnknownTemplateArg {
    /// The pod is refused
    #[value(name = "Deny")]
    Deny,
    /// The pod is let through without it, with a warning
    #[value(name = "Skip")]
    Skip,
}

impl SettingsArgs {
    /// The settings.
    ///
    /// # Errors
    /// A default that is no name of a template.
    pub(in crate::commands) fn settings(&self) -> anyhow::Result<Settings> {
        for default in &self.default_templates {
            match request::parse("--default-templates", default, Dialect::Own) {
                Ok(Selection::Templates(items)) if items.iter().all(|item| matches!(item, RequestItem::Named(_))) => {}
                Ok(_) => return Err(anyhow!("--default-templates {default}: name templates")),
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
