//! The TLS accept loop: accepts connections, completes handshakes, serves HTTP/1.1, and drains without losing a
//! request.
//!
//! Handshakes and connections are limited in number and time. Idle connections stay open longer than the API server
//! keeps them. This module does not know what requests contain.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_http::normalize_path::NormalizePath;
use tower_service::Service as _;

use crate::state::Webhook;

/// Maximum duration of a handshake. It usually takes milliseconds; the API server gives up after 10 s.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Maximum number of handshakes at the same time, to bound memory. Clients that have not sent a byte do not count.
const MAX_HANDSHAKES: usize = 1024;
/// Maximum time to receive the headers of a request. hyper also ends idle connections after this time; the API server
/// keeps them for 90 s.
const HEADER_READ: Duration = Duration::from_secs(120);
/// Maximum number of connections, to bound memory. The API server keeps 25 idle ones, and opens more while requests are
/// in flight.
const MAX_CONNECTIONS: usize = 4096;
/// Read buffer of a connection, in bytes. A body arrives in many parts of this size.
const READ_BUFFER: usize = 64 * 1024;
/// Pause after an accept error. If file descriptors have run out, an immediate retry fails too.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a repeated accept error is not logged.
const QUIET: Duration = Duration::from_secs(10);
/// How long a new connection may take to send its first request after shutdown has begun.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// How long shutdown waits for connections in use.
const DRAIN: Duration = Duration::from_secs(20);

/// The state that all connections share.
#[derive(Clone)]
struct ConnectionState {
    tls: TlsAcceptor,
    router: NormalizePath<Router>,
    webhook: Arc<Webhook>,
    handshakes: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
}

/// Serves `router` on `listener` until `stop` completes. Then waits for the open connections, for at most 20 s.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    webhook: Arc<Webhook>,
    stop: impl Future<Output = ()>,
) {
    let (announce, draining) = watch::channel(false);
    // Some clients join a base address and a path to `//mutate`.
    let router = NormalizePath::trim_trailing_slash(router);
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let shared = ConnectionState { tls: TlsAcceptor::from(tls), router, webhook, handshakes, draining };
    let (mut connections, mut logged) = (JoinSet::new(), None::<Instant>);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        match accepted {
            Ok(_) if connections.len() >= MAX_CONNECTIONS => shared.webhook.metrics.count_handshake("refused"),
            Ok((stream, _)) => drop(connections.spawn(connection(stream, shared.clone()))),
            Err(error) => {
                // Without file descriptors, the error repeats twenty times a second.
                if logged.is_none_or(|logged| logged.elapsed() > QUIET) {
                    tracing::warn!(%error, "failed to accept a connection");
                    logged = Some(Instant::now());
                }
                sleep(PAUSE).await;
            }
        }
    }
    // Connections in the backlog of the port are served: closing the port would reset them.
    let _ = timeout(PAUSE, async {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(stream, shared.clone()));
        }
    })
    .await;
    drop(listener);
    let _ = announce.send(true);
    if timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("shutdown timed out with open connections");
    }
}

/// Serves one connection, from its handshake to its end.
async fn connection(stream: TcpStream, shared: ConnectionState) {
    let mut draining = shared.draining.clone();
    let too_late = async {
        let _ = shared.draining.clone().wait_for(|draining| *draining).await;
        sleep(FIRST_REQUEST).await;
    };
    let stream = tokio::select! {
        stream = handshake(stream, &shared) => stream,
        () = too_late => None,
    };
    let Some(stream) = stream else { return };
    let requested = Arc::new(Notify::new());
    let (router, first) = (shared.router, Arc::clone(&requested));
    let service = service_fn(move |request| {
        first.notify_one();
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that closes the connection is normal, so errors are ignored.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = draining.wait_for(|draining| *draining) => {}
    }
    // Wait a little for the first request. The client cannot detect that its request was not read, and would not send
    // it again.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = timeout(FIRST_REQUEST, requested.notified()) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Completes the TLS handshake; `None` if it fails or takes too long.
async fn handshake(stream: TcpStream, shared: &ConnectionState) -> Option<TlsStream<TcpStream>> {
    // Nagle's algorithm can delay a response by up to 40 ms.
    let _ = stream.set_nodelay(true);
    let result = timeout(HANDSHAKE, async {
        // A silent client does not take a permit.
        stream.readable().await.ok()?;
        let _permit = shared.handshakes.acquire().await.ok()?;
        Some(shared.tls.accept(stream).await)
    });
    let (result, stream) = match result.await {
        Ok(Some(Ok(stream))) => ("ok", Some(stream)),
        Ok(Some(Err(error))) => {
            tracing::debug!(%error, "TLS handshake failed");
            ("failed", None)
        }
        Ok(None) | Err(_) => ("timeout", None),
    };
    shared.webhook.metrics.count_handshake(result);
    stream
}
