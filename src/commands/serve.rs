//! `serve`: starts the certificate, the catalog and the ports of the webhook, and stops them in order.
//!
//! It connects the modules and contains no logic of theirs: decisions, TLS and watches are elsewhere.

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::certs::issue::Policy;
use crate::certs::rotate::SelfManaged;
use crate::certs::{self, Certificate, CurrentCertificate};
use crate::commands::common::settings::{Level, SettingsArgs};
use crate::commands::failure::Failure;
use crate::inject::Settings;
use crate::inject::catalog::sources::Rules;
use crate::inject::kube::quantity::duration;
use crate::server::{self, ServerLimits, accept, admin};
use crate::state::{Trust, Webhook};
use crate::telemetry::events::Events;
use crate::telemetry::log::{self, LogFormat, SetLogLevel};
use crate::telemetry::traces::Traces;
use crate::watch;

/// How often certificate files are checked for changes.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// File or folder with templates (repeatable); needs no cluster
    #[arg(
        long,
        value_name = "PATH",
        env = "SIDECAR_INJECTOR_TEMPLATES",
        value_delimiter = ',',
        required_unless_present = "namespace"
    )]
    templates: Vec<PathBuf>,
    /// Namespace with the template ConfigMaps (label sidecar.io/template=true)
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_NAMESPACE", conflicts_with = "templates")]
    namespace: Option<String>,
    /// Address of the webhook port (TLS)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443", env = "SIDECAR_INJECTOR_LISTEN")]
    listen: SocketAddr,
    /// Address of the admin port with health, readiness and metrics (plain HTTP)
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", env = "SIDECAR_INJECTOR_ADMIN_LISTEN")]
    admin_listen: SocketAddr,
    /// File with the certificate chain (PEM); a changed file is reloaded
    #[arg(
        long,
        value_name = "FILE",
        env = "SIDECAR_INJECTOR_TLS_CERT",
        requires = "tls_key",
        required_unless_present_any = ["tls_self_signed", "tls_secret"]
    )]
    tls_cert: Option<PathBuf>,
    /// File with the private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Issue a self-signed certificate for these DNS names and IP addresses, in memory (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDECAR_INJECTOR_TLS_SELF_SIGNED",
        value_delimiter = ',',
        conflicts_with = "tls_cert"
    )]
    tls_self_signed: Vec<String>,
    /// Secret in which to issue and renew certificates; the webhook configurations are updated to trust them
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_TLS_SECRET",
        conflicts_with_all = ["tls_cert", "tls_self_signed"],
        requires = "tls_host"
    )]
    tls_secret: Option<String>,
    /// Namespace of the Secret [default: the namespace of the pod or the kubeconfig]
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_TLS_SECRET_NAMESPACE", requires = "tls_secret")]
    tls_secret_namespace: Option<String>,
    /// DNS name or IP address by which the API server calls the webhook, e.g. sidecar-injector.tools.svc (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDECAR_INJECTOR_TLS_HOST",
        value_delimiter = ',',
        requires = "tls_secret"
    )]
    tls_host: Vec<String>,
    /// Name of the mutating and validating webhook configurations to update with the trusted authority (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_WEBHOOK_CONFIGURATION",
        value_delimiter = ',',
        requires = "tls_secret"
    )]
    webhook_configuration: Vec<String>,
    /// Validity of certificates in the Secret, renewed after two thirds of it; authorities are valid twelve times as
    /// long
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = lifetime, env = "SIDECAR_INJECTOR_TLS_LIFETIME")]
    tls_lifetime: time::Duration,
    /// File to write the authority of the self-signed certificate to (PEM)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_TLS_WRITE_CA", requires = "tls_self_signed")]
    tls_write_ca: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// File with shared values of templates: KEY: VALUE pairs, or a ConfigMap (repeatable)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_VALUES", value_delimiter = ',', requires = "templates")]
    values: Vec<PathBuf>,
    /// Let namespaces have their own templates, and set which template is used if a central one has the same name
    #[arg(long, value_enum, env = "SIDECAR_INJECTOR_NAMESPACE_TEMPLATES", requires = "namespace")]
    namespace_templates: Option<NamespaceTemplates>,
    /// Pod Security Standards level that central templates must meet
    #[arg(long, value_enum, default_value_t = Level::Privileged, env = "SIDECAR_INJECTOR_TEMPLATE_PROFILE")]
    template_profile: Level,
    /// Pod Security Standards level that templates of namespaces must meet
    #[arg(long, value_enum, default_value_t = Level::Baseline, env = "SIDECAR_INJECTOR_NAMESPACE_TEMPLATES_PROFILE")]
    namespace_templates_profile: Level,
    /// Watch namespaces; required for the defaults of namespaces and for templates that depend on labels of namespaces
    #[arg(long, env = "SIDECAR_INJECTOR_WATCH_NAMESPACES")]
    watch_namespaces: bool,
    /// Decide, log and count, but do not change or deny pods
    #[arg(long, env = "SIDECAR_INJECTOR_OBSERVE")]
    observe: bool,
    /// Send Kubernetes Events for denied pods, templates left out, and templates that do not load; needs permission to
    /// create events
    #[arg(long, env = "SIDECAR_INJECTOR_EVENTS")]
    events: bool,
    /// Maximum number of requests that wait for a body; further requests get a 503 and are retried after a second
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        env = "SIDECAR_INJECTOR_MAX_REQUESTS"
    )]
    max_requests: u32,
    /// Maximum memory for the bodies of all requests together, in MiB
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(8..=65_536),
        env = "SIDECAR_INJECTOR_BODY_MEMORY"
    )]
    body_memory: u32,
    /// Maximum duration of a request in seconds; a shorter timeout of the API server takes precedence
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=60),
        env = "SIDECAR_INJECTOR_REQUEST_TIMEOUT"
    )]
    request_timeout: u32,
    /// Seconds to continue serving after SIGTERM, until clients send no more requests
    #[arg(long, value_name = "SECONDS", default_value_t = 5, env = "SIDECAR_INJECTOR_SHUTDOWN_DELAY")]
    shutdown_delay: u64,
    /// File to write the bound addresses to (JSON)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_WRITE_ADDRESSES")]
    write_addresses: Option<PathBuf>,
    /// URL to send OpenTelemetry traces to (OTLP over plain HTTP), e.g. http://collector:4318/v1/traces
    #[arg(long, value_name = "URL", env = "SIDECAR_INJECTOR_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Format of log lines on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "SIDECAR_INJECTOR_LOG_FORMAT")]
    log_format: LogFormat,
    /// Minimum level of log lines: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SIDECAR_INJECTOR_LOG_LEVEL")]
    log_level: tracing::Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NamespaceTemplates {
    /// The central template is used
    Allow,
    /// The template of the namespace is used, unless the central one is required or selects pods itself
    Prefer,
}

impl ServeArgs {
    /// Returns the rules for templates that the flags set.
    fn trust(&self) -> Trust {
        let without_namespaces = !self.watch_namespaces;
        let of = |profile: Level, of_namespace| Rules { without_namespaces, of_namespace, profile: profile.into() };
        Trust {
            central: of(self.template_profile, false),
            namespaces: self.namespace_templates.map(|_| of(self.namespace_templates_profile, true)),
            prefers_namespaces: self.namespace_templates == Some(NamespaceTemplates::Prefer),
            home: self.namespace.clone(),
        }
    }
}

/// Runs the webhook until SIGTERM or SIGINT.
///
/// # Errors
/// If a flag is invalid, a port cannot be bound, or the cluster or a file cannot be reached at the start.
pub(super) fn run(args: ServeArgs) -> Result<(), Failure> {
    let set_log_level = log::log_to_stderr(args.log_format, args.log_level);
    let settings = args.settings.settings().map_err(|error| Failure::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start")?;
    runtime.block_on(serve(args, settings, set_log_level))?;
    Ok(())
}

async fn serve(args: ServeArgs, settings: Settings, set_log_level: SetLogLevel) -> anyhow::Result<()> {
    // Check the input before a port is bound.
    if let Some(path) = args.templates.iter().chain(&args.values).find(|path| !path.exists()) {
        return Err(anyhow!("{}: no such file or folder", path.display()));
    }
    let certificate = certificate(&args)?;
    let needs_cluster = args.namespace.is_some() || args.watch_namespaces || args.events || args.tls_secret.is_some();
    let client = if needs_cluster {
        let mut config = kube::Config::infer().await.context("failed to find a cluster (KUBECONFIG or in-cluster)")?;
        // A watch lasts at most 290 s. A watch that is silent for longer has lost its connection.
        config.read_timeout = Some(Duration::from_secs(300));
        Some(kube::Client::try_from(config).context("failed to make a client for the cluster")?)
    } else {
        None
    };
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let settings = Settings { observe: args.observe, ..settings };
    let timeout = Duration::from_secs(args.request_timeout.into());
    let limits = ServerLimits { requests: args.max_requests as usize, body_memory: args.body_memory as usize, timeout };
    let mut webhook = Webhook::new(settings, args.trust());
    let events_client = client.clone().filter(|_| args.events);
    webhook.events = events_client.map(|client| Events::start(client, &webhook.metrics));
    webhook.traces = args.otlp_endpoint.as_deref().map(Traces::start).transpose()?;
    let webhook = Arc::new(webhook);
    let tls = certs::server_config(Arc::clone(&certificate))?;
    let listener = bind(args.listen, "--listen").await?;
    let admin_listener = bind(args.admin_listen, "--admin-listen").await?;
    let addresses = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin = admin::Admin::new(Arc::clone(&webhook), set_log_level);
    let pages = admin::router(Arc::clone(&admin)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(admin_listener, pages).into_future());
    match self_managed(&args, client.as_ref()) {
        None => {
            webhook.metrics.set_certificate_validity(&certificate.valid());
            admin.certified.store(true, Ordering::Relaxed);
            tokio::spawn(renew(args.tls_cert.clone().zip(args.tls_key.clone()), certificate, Arc::clone(&webhook)));
        }
        Some(managed) => {
            let (certified, webhook) = (Arc::clone(&admin), Arc::clone(&webhook));
            tokio::spawn(managed.run(certificate, move |certificate| {
                webhook.metrics.set_certificate_validity(&certificate.valid);
                certified.certified.store(true, Ordering::Relaxed);
            }));
        }
    }
    let source = match args.namespace {
        Some(namespace) => watch::TemplateSource::ConfigMaps(namespace),
        None => watch::TemplateSource::Files { templates: args.templates, values: args.values },
    };
    tokio::spawn(watch::run(source, client, args.watch_namespaces, Arc::clone(&webhook)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = server::router(Arc::clone(&webhook), limits);
    let serving = Arc::clone(&webhook);
    let accepting = tokio::spawn(accept::serve(listener, tls, router, serving, async {
        let _ = stopped.await;
    }));
    admin.listening.store(true, Ordering::Relaxed);
    tracing::info!(listen = %addresses.0, admin = %addresses.1, version = env!("CARGO_PKG_VERSION"), "listening");
    write_addresses(args.write_addresses, addresses)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Become unready first: requests arrive until all clients have removed this endpoint.
    admin.draining.store(true, Ordering::Relaxed);
    tracing::info!(seconds = args.shutdown_delay, "shutting down");
    tokio::time::sleep(Duration::from_secs(args.shutdown_delay)).await;
    let _ = stop.send(());
    accepting.await.context("the webhook port failed")?;
    if let Some(traces) = &webhook.traces {
        traces.stop();
    }
    Ok(())
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} ({flag})"))
}

fn certificate(args: &ServeArgs) -> anyhow::Result<Arc<CurrentCertificate>> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        return Ok(CurrentCertificate::new(Certificate::from_files(certificate, key)?));
    }
    // A self-signed certificate is used until the Secret has been read. The process is not ready before.
    let hosts = if args.tls_secret.is_some() { &args.tls_host } else { &args.tls_self_signed };
    let (certificate, authority) = certs::self_signed(hosts, OffsetDateTime::now_utc())
        .with_context(|| format!("failed to issue a certificate for {}", hosts.join(",")))?;
    if let Some(path) = &args.tls_write_ca {
        std::fs::write(path, authority).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(CurrentCertificate::new(certificate))
}

/// Parses a validity such as `720h`.
fn lifetime(text: &str) -> Result<time::Duration, String> {
    let nanos = duration(text).filter(|nanos| *nanos >= 10_000_000_000);
    let seconds = nanos.and_then(|nanos| i64::try_from(nanos / 1_000_000_000).ok());
    seconds.map(time::Duration::seconds).ok_or_else(|| "expected a duration of at least 10s, such as 720h".to_owned())
}

/// Returns the rotation of the certificates in a Secret; `None` if they do not come from one.
fn self_managed(args: &ServeArgs, client: Option<&kube::Client>) -> Option<SelfManaged> {
    let (secret, client) = args.tls_secret.as_ref().zip(client)?;
    let namespace = args.tls_secret_namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let (hosts, leaf) = (args.tls_host.clone(), args.tls_lifetime);
    let policy = Policy { hosts, leaf, authority: leaf.saturating_mul(12) };
    Some(SelfManaged::new(client.clone(), namespace, secret, &args.webhook_configuration, policy))
}

/// Reloads changed certificate files. Contents are compared, since the kubelet swaps symbolic links. While the key does
/// not belong to the certificate (one file is written before the other), the current certificate stays in use.
async fn renew(files: Option<(PathBuf, PathBuf)>, current: Arc<CurrentCertificate>, webhook: Arc<Webhook>) {
    let Some((certificate, key)) = files else { return pending().await };
    let read = || (std::fs::read(&certificate).ok(), std::fs::read(&key).ok());
    let (mut before, mut unusable) = (read(), (None, None));
    loop {
        tokio::time::sleep(CERTIFICATE_INTERVAL).await;
        let now = read();
        if now == before {
            continue;
        }
        match Certificate::from_files(&certificate, &key) {
            Ok(new) => {
                webhook.metrics.set_certificate_validity(&new.valid);
                current.replace(new);
                tracing::info!("certificate replaced");
                before = now;
            }
            // Each invalid content is logged once.
            Err(_) if now == unusable => {}
            Err(error) => {
                tracing::warn!(%error, "the changed certificate is invalid; the current one stays in use");
                unusable = now;
            }
        }
    }
}

/// Writes the bound addresses. The file is replaced at once: readers never see a part of it.
fn write_addresses(path: Option<PathBuf>, (listen, admin): (SocketAddr, SocketAddr)) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::json!({"listen": listen.to_string(), "admin": admin.to_string()}).to_string();
    let folder = path.parent().ok_or_else(|| anyhow!("--write-addresses {}: not a file", path.display()))?;
    let temporary = folder.join(format!(".addresses.{}", std::process::id()));
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .with_context(|| format!("failed to write {}", path.display()))
}
