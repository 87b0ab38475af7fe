//! Reads request bodies within limits for size, memory and time.
//!
//! A client that sends slowly, or stops in the middle of a body, does not block other clients. This module does not
//! know what a body contains.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::server::error::HttpError;

/// Maximum size of a body: a review can contain two objects of 3 MiB and its envelope.
const MAX_BODY: usize = 7 * 1024 * 1024;
/// How long a rejected body is still received. A client whose connection is closed while it writes may not read the
/// response.
const DISCARD: Duration = Duration::from_secs(1);
/// How long a body may take without counting toward the limit for requests. The API server sends a review at once, so
/// slow clients do not delay it.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long a body may take before it counts as slow.
const MOMENT: Duration = Duration::from_millis(500);
/// Maximum number of slow bodies at the same time.
const SLOW: usize = 256;

/// A body, and its share of the memory for bodies. Dropping it returns the share.
#[derive(Debug)]
pub(super) struct ReceivedBody<'r> {
    pub(super) bytes: Vec<u8>,
    share: Option<SemaphorePermit<'r>>,
}

/// Reads bodies, and limits how many are read at the same time and how much memory they take.
#[derive(Debug)]
pub(super) struct BodyReader {
    quick: Semaphore,
    slow: Semaphore,
    /// One permit for each KiB of bodies.
    memory: Semaphore,
}

impl BodyReader {
    /// Returns a reader for at most `requests` bodies that do not arrive at once, and `memory` MiB of bodies.
    pub(super) fn new(requests: usize, memory: usize) -> Self {
        Self { quick: Semaphore::new(requests), slow: Semaphore::new(SLOW), memory: Semaphore::new(memory * 1024) }
    }

    /// Returns the number of free permits for bodies that do not arrive at once.
    #[cfg(test)]
    pub(super) fn available(&self) -> usize {
        self.quick.available_permits()
    }

    /// Reads a body until `deadline`. `length` is the announced length in bytes (`Content-Length`).
    ///
    /// A body that takes longer than [`AT_ONCE`] needs a permit. After [`MOMENT`] it returns the permit and needs one
    /// of the few for slow bodies.
    ///
    /// # Errors
    /// 413 for a body that is too large, 503 if a limit is reached, 408 after the deadline, 400 for an incomplete body.
    pub(super) async fn read(
        &self,
        body: Body,
        length: Option<usize>,
        deadline: Instant,
    ) -> Result<ReceivedBody<'_>, HttpError> {
        let full = || HttpError::retry("too many requests at the same time");
        let now = Instant::now();
        let mut reading = std::pin::pin!(receive(body, length, &self.memory));
        if let Ok(body) = timeout_at(deadline.min(now + AT_ONCE), reading.as_mut()).await {
            return body;
        }
        let permit = self.quick.try_acquire().map_err(|_| full())?;
        if let Ok(body) = timeout_at(deadline.min(now + MOMENT), reading.as_mut()).await {
            return body;
        }
        drop(permit);
        let _slow = self.slow.try_acquire().map_err(|_| full())?;
        let late = || HttpError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time");
        timeout_at(deadline, reading).await.map_err(|_| late())?
    }
}

/// Receives a body. `memory` has one permit for each KiB that all bodies together may take; only received bytes count.
async fn receive(mut body: Body, length: Option<usize>, memory: &Semaphore) -> Result<ReceivedBody<'_>, HttpError> {
    let too_large = HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 7 MiB");
    if length.is_some_and(|length| length > MAX_BODY) {
        discard(body).await;
        return Err(too_large);
    }
    // Reserved memory costs nothing until it is written.
    let mut received = ReceivedBody { bytes: Vec::with_capacity(length.unwrap_or_default()), share: None };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(HttpError::new(StatusCode::BAD_REQUEST, "the body is incomplete")) };
        let Ok(data) = frame.into_data() else { continue };
        if received.bytes.len() + data.len() > MAX_BODY {
            drop(received);
            discard(body).await;
            return Err(too_large);
        }
        if !received.grow(data.len(), memory) {
            drop(received);
            discard(body).await;
            return Err(HttpError::retry("too many large reviews at the same time"));
        }
        received.bytes.extend_from_slice(&data);
    }
    Ok(received)
}

impl<'r> ReceivedBody<'r> {
    /// Acquires memory for `more` bytes. Returns false if there is not enough.
    fn grow(&mut self, more: usize, memory: &'r Semaphore) -> bool {
        let kib = |bytes: usize| u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let needed = kib(self.bytes.len() + more) - kib(self.bytes.len());
        match (memory.try_acquire_many(needed), &mut self.share) {
            (Ok(new), Some(share)) => share.merge(new),
            (Ok(new), share) => *share = Some(new),
            (Err(_), _) => return false,
        }
        true
    }
}

/// Receives a body for at most [`DISCARD`] and drops it.
pub(super) async fn discard(mut body: Body) {
    let until = Instant::now() + DISCARD;
    while let Ok(Some(Ok(_))) = timeout_at(until, body.frame()).await {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;
    use futures_util::stream;

    fn chunks(chunks: &[&'static [u8]]) -> Body {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn only_received_bytes_take_memory() {
        let memory = Semaphore::new(2);
        let body = receive(chunks(&[b"a", b"b"]), Some(MAX_BODY), &memory).await.expect("read");
        assert_eq!((body.bytes.as_slice(), memory.available_permits()), (&b"ab"[..], 1));
        let more = receive(chunks(&[&[0; 1024], b"b"]), None, &memory).await;
        assert_eq!(more.err().map(|error| error.status), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(memory.available_permits(), 1, "a rejected body returns its memory");
        drop(body);
        assert_eq!(memory.available_permits(), 2);
    }

    #[tokio::test]
    async fn large_bodies_are_rejected_with_or_without_a_length() {
        let memory = Semaphore::new(100_000);
        let announced = receive(chunks(&[b"a"]), Some(MAX_BODY + 1), &memory).await;
        assert_eq!(announced.err().map(|error| error.status), Some(StatusCode::PAYLOAD_TOO_LARGE));
        let large = Body::from(vec![0; MAX_BODY + 1]);
        let sent = receive(large, None, &memory).await;
        assert_eq!(sent.err().map(|error| error.status), Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(memory.available_permits(), 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_do_not_take_the_permits_of_quick_ones() {
        let bodies = BodyReader::new(1, 1);
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = |result: Result<ReceivedBody<'_>, HttpError>| result.err().map(|r| r.status);
        let never = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let slow = bodies.read(never(), None, deadline);
        let quick = async {
            tokio::time::sleep(AT_ONCE * 2).await;
            let second = bodies.read(never(), None, deadline).await;
            assert_eq!(status(second), Some(StatusCode::SERVICE_UNAVAILABLE), "the only permit is taken");
            let good = bodies.read(chunks(&[b"a"]), None, deadline).await;
            assert_eq!(status(good), None, "a body that arrives at once needs none");
            tokio::time::sleep(MOMENT).await;
            assert_eq!(bodies.available(), 1, "the slow one has returned its permit");
        };
        let (slow, ()) = tokio::join!(slow, quick);
        assert_eq!(status(slow), Some(StatusCode::REQUEST_TIMEOUT));
    }
}
