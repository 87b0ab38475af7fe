//! The arguments of `serve`, and the settings of other modules that they become.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::commands::common::settings::{LevelArg, SettingsArgs};
use crate::inject::catalog::sources::SourceRules;
use crate::inject::kube::quantity::duration;
use crate::server::ServerLimits;
use crate::state::Trust;
use crate::telemetry::log::LogFormat;
use crate::watch::TemplateSource;

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub(in crate::commands) struct ServeArgs {
    /// File or folder with templates (repeatable); needs no cluster
    #[arg(
        long,
        value_name = "PATH",
        env = "SIDECAR_INJECTOR_TEMPLATES",
        value_delimiter = ',',
        required_unless_present = "namespace"
    )]
    pub(super) templates: Vec<PathBuf>,
    /// Namespace with the template ConfigMaps (label sidecar.io/template=true)
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_NAMESPACE", conflicts_with = "templates")]
    pub(super) namespace: Option<String>,
    /// Address of the webhook port (TLS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443", env = "SIDECAR_INJECTOR_LISTEN")]
    pub(super) listen: SocketAddr,
    /// Address of the admin port with health, readiness and metrics (plain HTTP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", env = "SIDECAR_INJECTOR_ADMIN_LISTEN")]
    pub(super) admin_listen: SocketAddr,
    /// File with the certificate chain (PEM); a changed file is reloaded
    #[arg(
        long,
        value_name = "FILE",
        env = "SIDECAR_INJECTOR_TLS_CERT",
        requires = "tls_key",
        required_unless_present_any = ["tls_self_signed", "tls_secret"]
    )]
    pub(super) tls_cert: Option<PathBuf>,
    /// File with the private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_TLS_KEY", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Issue a self-signed certificate for these DNS names and IP addresses, in memory (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDECAR_INJECTOR_TLS_SELF_SIGNED",
        value_delimiter = ',',
        conflicts_with = "tls_cert"
    )]
    pub(super) tls_self_signed: Vec<String>,
    /// Secret in which to issue and renew certificates; the webhook configurations are updated to trust them
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_TLS_SECRET",
        conflicts_with_all = ["tls_cert", "tls_self_signed"],
        requires = "tls_host"
    )]
    pub(super) tls_secret: Option<String>,
    /// Namespace of the Secret [default: the namespace of the pod or the kubeconfig]
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_TLS_SECRET_NAMESPACE", requires = "tls_secret")]
    pub(super) tls_secret_namespace: Option<String>,
    /// DNS name or IP address by which the API server calls the webhook, e.g. sidecar-injector.tools.svc (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDECAR_INJECTOR_TLS_HOST",
        value_delimiter = ',',
        requires = "tls_secret"
    )]
    pub(super) tls_host: Vec<String>,
    /// Name of the mutating and validating webhook configurations to update with the trusted authority (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_WEBHOOK_CONFIGURATION",
        value_delimiter = ',',
        requires = "tls_secret"
    )]
    pub(super) webhook_configuration: Vec<String>,
    /// Validity of certificates in the Secret, renewed after two thirds of it; authorities are valid twelve times as
    /// long
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = lifetime, env = "SIDECAR_INJECTOR_TLS_LIFETIME")]
    pub(super) tls_lifetime: time::Duration,
    /// File to write the authority of the self-signed certificate to (PEM)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_TLS_WRITE_CA", requires = "tls_self_signed")]
    pub(super) tls_write_ca: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
    /// File with shared values of templates: KEY: VALUE pairs, or a ConfigMap (repeatable)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_VALUES", value_delimiter = ',', requires = "templates")]
    pub(super) values: Vec<PathBuf>,
    /// Let namespaces have their own templates, and set which template is used if a central one has the same name
    #[arg(long, value_enum, env = "SIDECAR_INJECTOR_NAMESPACE_TEMPLATES", requires = "namespace")]
    pub(super) namespace_templates: Option<NamespaceTemplates>,
    /// Pod Security Standards level that central templates must meet
    #[arg(long, value_enum, default_value_t = LevelArg::Privileged, env = "SIDECAR_INJECTOR_TEMPLATE_PROFILE")]
    pub(super) template_profile: LevelArg,
    /// Pod Security Standards level that templates of namespaces must meet
    #[arg(long, value_enum, default_value_t = LevelArg::Baseline, env = "SIDECAR_INJECTOR_NAMESPACE_TEMPLATES_PROFILE")]
    pub(super) namespace_templates_profile: LevelArg,
    /// Watch namespaces; required for the defaults of namespaces and for templates that depend on labels of namespaces
    #[arg(long, env = "SIDECAR_INJECTOR_WATCH_NAMESPACES")]
    pub(super) watch_namespaces: bool,
    /// Decide, log and count, but do not change or deny pods
    #[arg(long, env = "SIDECAR_INJECTOR_OBSERVE")]
    pub(super) observe: bool,
    /// Send Kubernetes Events for denied pods, templates left out, and templates that do not load; needs permission to
    /// create events
    #[arg(long, env = "SIDECAR_INJECTOR_EVENTS")]
    pub(super) events: bool,
    /// Maximum number of requests that wait for a body; further requests get a 503 and are retried after a second
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        env = "SIDECAR_INJECTOR_MAX_REQUESTS"
    )]
    pub(super) max_requests: u32,
    /// Maximum memory for the bodies of all requests together, in MiB
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(8..=65_536),
        env = "SIDECAR_INJECTOR_BODY_MEMORY"
    )]
    pub(super) body_memory: u32,
    /// Maximum duration of a request in seconds; a shorter timeout of the API server takes precedence
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=60),
        env = "SIDECAR_INJECTOR_REQUEST_TIMEOUT"
    )]
    pub(super) request_timeout: u32,
    /// Seconds to continue serving after SIGTERM, until clients send no more requests
    #[arg(long, value_name = "SECONDS", default_value_t = 5, env = "SIDECAR_INJECTOR_SHUTDOWN_DELAY")]
    pub(super) shutdown_delay: u64,
    /// File to write the bound addresses to (JSON)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_WRITE_ADDRESSES")]
    pub(super) write_addresses: Option<PathBuf>,
    /// URL to send OpenTelemetry traces to (OTLP over plain HTTP), e.g. http://collector:4318/v1/traces
    #[arg(long, value_name = "URL", env = "SIDECAR_INJECTOR_OTLP_ENDPOINT")]
    pub(super) otlp_endpoint: Option<String>,
    /// Format of log lines on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "SIDECAR_INJECTOR_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
    /// Minimum level of log lines: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SIDECAR_INJECTOR_LOG_LEVEL")]
    pub(super) log_level: tracing::Level,
}

/// The precedence between a central template and one of a namespace with the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum NamespaceTemplates {
    /// The central template is used
    Allow,
    /// The template of the namespace is used, unless the central one is required or selects pods itself
    Prefer,
}

impl ServeArgs {
    /// Returns the rules for templates that the flags set.
    pub(super) fn trust(&self) -> Trust {
        let without_namespaces = !self.watch_namespaces;
        let of = |profile: LevelArg, of_namespace| SourceRules {
            without_namespaces,
            of_namespace,
            profile: profile.into(),
            cluster: None,
        };
        Trust {
            central: of(self.template_profile, false),
            namespaces: self.namespace_templates.map(|_| of(self.namespace_templates_profile, true)),
            prefers_namespaces: self.namespace_templates == Some(NamespaceTemplates::Prefer),
            home: self.namespace.clone(),
        }
    }

    /// Returns the limits for requests that the flags set.
    pub(super) fn limits(&self) -> ServerLimits {
        ServerLimits {
            requests: self.max_requests as usize,
            body_memory: self.body_memory as usize,
            timeout: Duration::from_secs(self.request_timeout.into()),
        }
    }

    /// Returns the origin of the templates that the flags set.
    pub(super) fn source(&self) -> TemplateSource {
        match &self.namespace {
            Some(namespace) => TemplateSource::ConfigMaps(namespace.clone()),
            None => TemplateSource::Files { templates: self.templates.clone(), values: self.values.clone() },
        }
    }

    /// Returns true if a flag needs a cluster.
    pub(super) fn needs_cluster(&self) -> bool {
        self.namespace.is_some() || self.watch_namespaces || self.events || self.tls_secret.is_some()
    }
}

/// Parses a validity such as `720h`.
fn lifetime(text: &str) -> Result<time::Duration, String> {
    let nanos = duration(text).filter(|nanos| *nanos >= 10_000_000_000);
    let seconds = nanos.and_then(|nanos| i64::try_from(nanos / 1_000_000_000).ok());
    seconds.map(time::Duration::seconds).ok_or_else(|| "expected a duration of at least 10s, such as 720h".to_owned())
}
