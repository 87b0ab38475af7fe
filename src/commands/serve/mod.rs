//! `serve`: starts the certificate, the catalog and the ports of the webhook, and stops them in order.
//!
//! It connects the modules and contains no logic of theirs: decisions, TLS and watches are elsewhere.

mod args;
mod certificate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::certs;
use crate::commands::failure::Failure;
use crate::inject::settings::Settings;
use crate::server::{self, accept, admin};
use crate::state::Webhook;
use crate::telemetry::events::Events;
use crate::telemetry::log::{self, SetLogLevel};
use crate::telemetry::traces::Traces;
use crate::watch;

pub(super) use args::ServeArgs;

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
    let certificate = certificate::first(&args)?;
    let client = if args.needs_cluster() { Some(connect().await?) } else { None };
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let webhook = webhook(&args, settings, client.clone())?;
    let tls = certs::server_config(Arc::clone(&certificate))?;
    let listener = bind(args.listen, "--listen").await?;
    let admin_listener = bind(args.admin_listen, "--admin-listen").await?;
    let addresses = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin = admin::Admin::new(Arc::clone(&webhook), set_log_level);
    let pages = admin::router(Arc::clone(&admin)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(admin_listener, pages).into_future());
    certificate::keep_current(&args, client.as_ref(), certificate, &webhook, &admin);
    tokio::spawn(watch::run(args.source(), client, args.watch_namespaces, Arc::clone(&webhook)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = server::router(Arc::clone(&webhook), args.limits());
    let accepting = tokio::spawn(accept::serve(listener, tls, router, Arc::clone(&webhook), async {
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

/// Returns a client for the cluster of the kubeconfig, or of the pod. It does not send a request.
async fn connect() -> anyhow::Result<kube::Client> {
    let mut config = kube::Config::infer().await.context("failed to find a cluster (KUBECONFIG or in-cluster)")?;
    // A watch lasts at most 290 s. A watch that is silent for longer has lost its connection.
    config.read_timeout = Some(Duration::from_secs(300));
    kube::Client::try_from(config).context("failed to make a client for the cluster")
}

/// Returns the state of the webhook, and starts the senders of events and traces.
fn webhook(args: &ServeArgs, settings: Settings, client: Option<kube::Client>) -> anyhow::Result<Arc<Webhook>> {
    let settings = Settings { observe: args.observe, ..settings };
    let mut webhook = Webhook::new(settings, args.trust());
    let client = client.filter(|_| args.events);
    webhook.events = client.map(|client| Events::start(client, &webhook.metrics));
    webhook.traces = args.otlp_endpoint.as_deref().map(Traces::start).transpose()?;
    Ok(Arc::new(webhook))
}

/// Listens on an address. `flag` is the flag that sets it, for the error.
async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} ({flag})"))
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
