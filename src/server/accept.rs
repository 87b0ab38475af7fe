//! The TLS accept loop: handshakes with a limit and a cap, HTTP/1.1 connections that are kept as long as
//! the API server keeps them, and a drain that loses no request. It knows nothing of reviews.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::Webhook;

/// A handshake takes milliseconds; the API server itself gives up after 10 s.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once. A bound for memory; so high that clients which never finish theirs cannot keep the
/// API server waiting.
const MAX_HANDSHAKES: usize = 1024;
/// Also ends idle connections in hyper, and the API server keeps those for 90 s.
const HEADER_READ: Duration = Duration::from_secs(120);
/// After an accept error (out of file descriptors) there is no use in trying at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How long connections in use are waited for.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves `router` on `listener` until `stop` ends, then lets the open connections finish.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    webhook: Arc<Webhook>,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let watcher = graceful.watcher();
                let (tls, router) = (TlsAcceptor::from(Arc::clone(&tls)), router.clone());
                let (handshakes, webhook) = (Arc::clone(&handshakes), Arc::clone(&webhook));
                tokio::spawn(async move {
                    let Some(stream) = handshake(stream, tls, &handshakes, &webhook).await else { return };
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_READ)
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
                    // A client that goes away is no event.
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("gave up waiting for open connections");
    }
}

async fn handshake(
    stream: TcpStream,
    tls: TlsAcceptor,
    handshakes: &Semaphore,
    webhook: &Webhook,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    // Nagle's algorithm would add up to 40 ms to an answer.
    let _ = stream.set_nodelay(true);
    let result = tokio::time::timeout(HANDSHAKE, async {
        let _permit = handshakes.acquire().await.ok()?;
        Some(tls.accept(stream).await)
    });
    match result.await {
        Ok(Some(Ok(stream))) => {
            webhook.metrics.handshake("ok");
            Some(stream)
        }
        Ok(Some(Err(error))) => {
            webhook.metrics.handshake("failed");
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
        Ok(None) | Err(_) => {
            webhook.metrics.handshake("timeout");
            None
        }
    }
}
