//! The TLS accept loop: handshakes with a limit and a cap, HTTP/1.1 connections that are kept as long as
//! the API server keeps them, and a drain that loses no request. It knows nothing of reviews.

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

/// A handshake takes milliseconds; the API server itself gives up after 10 s.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once: a bound for memory. Clients that have not sent a byte are not among them.
const MAX_HANDSHAKES: usize = 1024;
/// Also ends idle connections in hyper, and the API server keeps those for 90 s.
const HEADER_READ: Duration = Duration::from_secs(120);
/// Connections at once: a bound for memory. The API server keeps 25, and opens more for as long as they have something to do.
const MAX_CONNECTIONS: usize = 4096;
/// What one connection may have read ahead: a body comes in many such pieces.
const READ_BUFFER: usize = 64 * 1024;
/// After an accept error (out of file descriptors) there is no use in trying at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the same is not said again.
const QUIET: Duration = Duration::from_secs(10);
/// How long a new connection may take, once the end is announced, to send the request it was made for.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// How long connections in use are waited for.
const DRAIN: Duration = Duration::from_secs(20);

/// What every connection needs.
#[derive(Clone)]
struct Shared {
    tls: TlsAcceptor,
    router: NormalizePath<Router>,
    webhook: Arc<Webhook>,
    handshakes: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
}

/// Serves `router` on `listener` until `stop` ends, then lets the open connections finish.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    webhook: Arc<Webhook>,
    stop: impl Future<Output = ()>,
) {
    let (announce, draining) = watch::channel(false);
    // Some callers join a base address and a path to `//mutate`.
    let router = NormalizePath::trim_trailing_slash(router);
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let shared = Shared { tls: TlsAcceptor::from(tls), router, webhook, handshakes, draining };
    let (mut connections, mut said) = (JoinSet::new(), None::<Instant>);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        match accepted {
            Ok(_) if connections.len() >= MAX_CONNECTIONS => shared.webhook.metrics.handshake("refused"),
            Ok((stream, _)) => drop(connections.spawn(connection(stream, shared.clone()))),
            Err(error) => {
                // Out of descriptors it would be said twenty times a second.
                if said.is_none_or(|said| said.elapsed() > QUIET) {
                    tracing::warn!(%error, "failed to accept a connection");
                    said = Some(Instant::now());
                }
                sleep(PAUSE).await;
            }
        }
    }
    // Who has connected already is answered: closing the port would reset what waits in its backlog.
    let _ = timeout(PAUSE, async {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(stream, shared.clone()));
        }
    })
    .await;
    drop(listener);
    let _ = announce.send(true);
    if timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("gave up waiting for open connections");
    }
}

/// One connection, from its handshake to its end.
async fn connection(stream: TcpStream, shared: Shared) {
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
    let asked = Arc::new(Notify::new());
    let (router, first) = (shared.router, Arc::clone(&asked));
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
    // A client that goes away is no event: errors are dropped.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = draining.wait_for(|draining| *draining) => {}
    }
    // A request that never came is waited for a little: the client cannot tell that it was not read, and
    // would not send it again.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = timeout(FIRST_REQUEST, asked.notified()) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn handshake(stream: TcpStream, shared: &Shared) -> Option<TlsStream<TcpStream>> {
    // Nagle's algorithm would add up to 40 ms to an answer.
    let _ = stream.set_nodelay(true);
    let result = timeout(HANDSHAKE, async {
        // Whoever says nothing takes nobody's place.
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
    shared.webhook.metrics.handshake(result);
    stream
}
