//! `serve`: puts catalog, certificate and ports together, and takes them down in order.

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

/// How often certificate files are compared.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(1);

/// Arguments of `serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// File or folder of templates (repeatable); no cluster is needed
    #[arg(
        long,
        value_name = "PATH",
        env = "SIDECAR_INJECTOR_TEMPLATES",
        value_delimiter = ',',
        required_unless_present = "namespace"
    )]
    templates: Vec<PathBuf>,
    /// Namespace whose ConfigMaps are the templates, those labelled sidecar.io/template=true
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_NAMESPACE", conflicts_with = "templates")]
    namespace: Option<String>,
    /// Address of the webhook, TLS
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443", env = "SIDECAR_INJECTOR_LISTEN")]
    listen: SocketAddr,
    /// Address of health, readiness and metrics, plain HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080", env = "SIDECAR_INJECTOR_ADMIN_LISTEN")]
    admin_listen: SocketAddr,
    /// Certificate chain, PEM; a changed file is taken over
    #[arg(
        long,
        value_name = "FILE",
        env = "SIDECAR_INJECTOR_TLS_CERT",
        requires = "tls_key",
        required_unless_present_any = ["tls_self_signed", "tls_secret"]
    )]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Make a certificate for these names and addresses, in memory
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDECAR_INJECTOR_TLS_SELF_SIGNED",
        value_delimiter = ',',
        conflicts_with = "tls_cert"
    )]
    tls_self_signed: Vec<String>,
    /// Make and renew certificates in this Secret, and have the webhook configurations trust them
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_TLS_SECRET",
        conflicts_with_all = ["tls_cert", "tls_self_signed"],
        requires = "tls_host"
    )]
    tls_secret: Option<String>,
    /// Namespace of the Secret; else that of the pod, or of the kubeconfig
    #[arg(long, value_name = "NAMESPACE", env = "SIDECAR_INJECTOR_TLS_SECRET_NAMESPACE", requires = "tls_secret")]
    tls_secret_namespace: Option<String>,
    /// Name or address that the API server calls the webhook by, e.g. sidecar-injector.tools.svc (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "SIDECAR_INJECTOR_TLS_HOST",
        value_delimiter = ',',
        requires = "tls_secret"
    )]
    tls_host: Vec<String>,
    /// Mutating and validating webhook configurations of this name are told whom to trust (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "SIDECAR_INJECTOR_WEBHOOK_CONFIGURATION",
        value_delimiter = ',',
        requires = "tls_secret"
    )]
    webhook_configuration: Vec<String>,
    /// How long a certificate in the Secret is valid; it is renewed at two thirds. Authorities live twelve times as long
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = lifetime, env = "SIDECAR_INJECTOR_TLS_LIFETIME")]
    tls_lifetime: time::Duration,
    /// Write the authority of the self-signed certificate here, PEM
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_TLS_WRITE_CA", requires = "tls_self_signed")]
    tls_write_ca: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Shared values of templates: a file of KEY: VALUE pairs, or a ConfigMap (repeatable)
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_VALUES", value_delimiter = ',', requires = "templates")]
    values: Vec<PathBuf>,
    /// Whether namespaces may have templates of their own, and which win where a central one has the name
    #[arg(long, value_enum, env = "SIDECAR_INJECTOR_NAMESPACE_TEMPLATES", requires = "namespace")]
    namespace_templates: Option<NamespaceTemplates>,
    /// What central templates may do (Pod Security Standards)
    #[arg(long, value_enum, default_value_t = Level::Privileged, env = "SIDECAR_INJECTOR_TEMPLATE_PROFILE")]
    template_profile: Level,
    /// What templates of namespaces may do
    #[arg(long, value_enum, default_value_t = Level::Baseline, env = "SIDECAR_INJECTOR_NAMESPACE_TEMPLATES_PROFILE")]
    namespace_templates_profile: Level,
    /// Watch namespaces: their defaults, and templates that depend on their labels, need it
    #[arg(long, env = "SIDECAR_INJECTOR_WATCH_NAMESPACES")]
    watch_namespaces: bool,
    /// Decide, log and count, but neither change nor refuse anything
    #[arg(long, env = "SIDECAR_INJECTOR_OBSERVE")]
    observe: bool,
    /// Send Kubernetes Events for pods that are refused, templates that are left out and templates that are broken; needs the
    /// right to create events
    #[arg(long, env = "SIDECAR_INJECTOR_EVENTS")]
    events: bool,
    /// Most requests that wait for their body; others are told to come again in a second, which the API server does
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        env = "SIDECAR_INJECTOR_MAX_REQUESTS"
    )]
    max_requests: u32,
    /// Memory for the bodies of all requests together, in MiB
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(8..=65_536),
        env = "SIDECAR_INJECTOR_BODY_MEMORY"
    )]
    body_memory: u32,
    /// Seconds that a request may take, unless the API server waits for less
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=60),
        env = "SIDECAR_INJECTOR_REQUEST_TIMEOUT"
    )]
    request_timeout: u32,
    /// Seconds to go on serving after SIGTERM, until no more requests are sent here
    #[arg(long, value_name = "SECONDS", default_value_t = 5, env = "SIDECAR_INJECTOR_SHUTDOWN_DELAY")]
    shutdown_delay: u64,
    /// Write the addresses that are bound to this file, JSON
    #[arg(long, value_name = "FILE", env = "SIDECAR_INJECTOR_WRITE_ADDRESSES")]
    write_addresses: Option<PathBuf>,
    /// Send OpenTelemetry traces here, OTLP over plain HTTP, e.g. http://collector:4318/v1/traces
    #[arg(long, value_name = "URL", env = "SIDECAR_INJECTOR_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// Form of log lines, on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "SIDECAR_INJECTOR_LOG_FORMAT")]
    log_format: LogFormat,
    /// Least level that is logged, e.g. info or debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "SIDECAR_INJECTOR_LOG_LEVEL")]
    log_level: tracing::Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NamespaceTemplates {
    /// The central one wins
    Allow,
    /// The namespace's wins, unless the central one is required or chooses pods itself
    Prefer,
}

impl ServeArgs {
    /// What templates must obey.
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

/// Runs the command until SIGTERM or SIGINT.
pub(super) fn run(args: ServeArgs) -> Result<(), Failure> {
    let set_log_level = log::log_to_stderr(args.log_format, args.log_level);
    let settings = args.settings.settings().map_err(|error| Failure::Usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("failed to start")?;
    runtime.block_on(serve(args, settings, set_log_level))?;
    Ok(())
}

async fn serve(args: ServeArgs, settings: Settings, set_log_level: SetLogLevel) -> anyhow::Result<()> {
    // Everything that can be wrong is found before a port is bound.
    if let Some(path) = args.templates.iter().chain(&args.values).find(|path| !path.exists()) {
        return Err(anyhow!("{}: no such file or folder", path.display()));
    }
    let certificate = certificate(&args)?;
    let needs_cluster = args.namespace.is_some() || args.watch_namespaces || args.events || args.tls_secret.is_some();
    let client = if needs_cluster {
        let mut config = kube::Config::infer().await.context("failed to find a cluster (KUBECONFIG or in-cluster)")?;
        // A watch lasts 290 s at most; one that says nothing for longer has nobody at its other end.
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
    let told = client.clone().filter(|_| args.events);
    webhook.events = told.map(|client| Events::start(client, &webhook.metrics));
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
    // Unready first: requests keep coming until everyone has noticed.
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
    // What nobody trusts stands in until the Secret has been read; the process is not ready before.
    let hosts = if args.tls_secret.is_some() { &args.tls_host } else { &args.tls_self_signed };
    let (certificate, authority) = certs::self_signed(hosts, OffsetDateTime::now_utc())
        .with_context(|| format!("failed to make a certificate for {}", hosts.join(",")))?;
    if let Some(path) = &args.tls_write_ca {
        std::fs::write(path, authority).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(CurrentCertificate::new(certificate))
}

/// Reads a lifetime such as 720h.
fn lifetime(text: &str) -> Result<time::Duration, String> {
    let nanos = duration(text).filter(|nanos| *nanos >= 10_000_000_000);
    let seconds = nanos.and_then(|nanos| i64::try_from(nanos / 1_000_000_000).ok());
    seconds.map(time::Duration::seconds).ok_or_else(|| "write a duration of at least 10s, such as 720h".to_owned())
}

/// The certificates that are kept in a Secret, if they are.
fn self_managed(args: &ServeArgs, client: Option<&kube::Client>) -> Option<SelfManaged> {
    let (secret, client) = args.tls_secret.as_ref().zip(client)?;
    let namespace = args.tls_secret_namespace.as_deref().unwrap_or_else(|| client.default_namespace());
    let (hosts, leaf) = (args.tls_host.clone(), args.tls_lifetime);
    let policy = Policy { hosts, leaf, authority: leaf.saturating_mul(12) };
    Some(SelfManaged::new(client.clone(), namespace, secret, &args.webhook_configuration, policy))
}

/// Takes over changed certificate files. Contents are compared, since kubelet swaps symbolic links; a
/// pair that does not fit together (one file is written before the other) is tried again.
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
            // Said once for each content.
            Err(_) if now == unusable => {}
            Err(error) => {
                tracing::warn!(%error, "the changed certificate is not usable; the old one stays");
                unusable = now;
            }
        }
    }
}

/// Writes the file whole: readers see all of it or nothing.
fn write_addresses(path: Option<PathBuf>, (listen, admin): (SocketAddr, SocketAddr)) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::json!({"listen": listen.to_string(), "admin": admin.to_string()}).to_string();
    let folder = path.parent().ok_or_else(|| anyhow!("--write-addresses {}: no file", path.display()))?;
    let temporary = folder.join(format!(".addresses.{}", std::process::id()));
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .with_context(|| format!("failed to write {}", path.display()))
}
