//! Reads bodies within limits: size, memory, time. Whoever sends slowly or stops half-way takes little from the
//! others. It must not know what a body says.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::server::Refusal;

/// Largest body: a review can hold two objects of 3 MiB and its envelope.
const MAX_BODY: usize = 7 * 1024 * 1024;
/// How long a body that nobody reads any more is still taken: a client that is cut off while it writes may miss the
/// answer.
const DISCARD: Duration = Duration::from_secs(1);

/// A body, and its share of the memory for bodies while it lives.
pub(super) struct Received<'b> {
    pub(super) bytes: Vec<u8>,
    share: Option<SemaphorePermit<'b>>,
}

/// Reads a body of which `length` bytes are announced. `budget` has one permit for each KiB that may be held by all
/// bodies together; only what has arrived counts.
async fn read(mut body: Body, length: Option<usize>, budget: &Semaphore) -> Result<Received<'_>, Refusal> {
    let too_large = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 7 MiB");
    if length.is_some_and(|length| length > MAX_BODY) {
        discard(body).await;
        return Err(too_large);
    }
    // Memory that is reserved costs nothing until it is written.
    let mut received = Received { bytes: Vec::with_capacity(length.unwrap_or_default()), share: None };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Refusal::new(StatusCode::BAD_REQUEST, "the body ended early")) };
        let Ok(data) = frame.into_data() else { continue };
        if received.bytes.len() + data.len() > MAX_BODY {
            drop(received);
            discard(body).await;
            return Err(too_large);
        }
        if !received.grow(data.len(), budget) {
            drop(received);
            discard(body).await;
            return Err(Refusal::later("too many large reviews at once"));
        }
        received.bytes.extend_from_slice(&data);
    }
    Ok(received)
}

impl<'b> Received<'b> {
    /// Takes the share of `more` bytes; whether there is one.
    fn grow(&mut self, more: usize, budget: &'b Semaphore) -> bool {
        let kib = |bytes: usize| u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let needed = kib(self.bytes.len() + more) - kib(self.bytes.len());
        match (budget.try_acquire_many(needed), &mut self.share) {
            (Ok(new), Some(share)) => share.merge(new),
            (Ok(new), share) => *share = Some(new),
            (Err(_), _) => return false,
        }
        true
    }
}

/// Takes a body and keeps nothing of it.
pub(super) async fn discard(mut body: Body) {
    let until = Instant::now() + DISCARD;
    while let Ok(Some(Ok(_))) = timeout_at(until, body.frame()).await {}
}

/// Places for requests whose body does not come at once. Whoever has not sent it after a moment gives its place back and
/// waits among the slow, which are few.
#[derive(Debug)]
pub(super) struct Places {
    quick: Semaphore,
    slow: Semaphore,
}

/// The API server sends a review in one go: whoever does is never behind those who do not.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long a body may take that comes over a slow line.
const MOMENT: Duration = Duration::from_millis(500);
const SLOW: usize = 256;

impl Places {
    pub(super) fn new(quick: usize) -> Self {
        Self { quick: Semaphore::new(quick), slow: Semaphore::new(SLOW) }
    }

    /// How many are free.
    #[cfg(test)]
    pub(super) fn available(&self) -> usize {
        self.quick.available_permits()
    }

    /// Reads a body until `deadline`.
    pub(super) async fn read<'b>(
        &self,
        body: Body,
        length: Option<usize>,
        budget: &'b Semaphore,
        deadline: Instant,
    ) -> Result<Received<'b>, Refusal> {
        let full = || Refusal::later("too many requests at once");
        let now = Instant::now();
        let mut reading = std::pin::pin!(read(body, length, budget));
        if let Ok(body) = timeout_at(deadline.min(now + AT_ONCE), reading.as_mut()).await {
            return body;
        }
        let place = self.quick.try_acquire().map_err(|_| full())?;
        if let Ok(body) = timeout_at(deadline.min(now + MOMENT), reading.as_mut()).await {
            return body;
        }
        drop(place);
        let _slow = self.slow.try_acquire().map_err(|_| full())?;
        let late = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
        timeout_at(deadline, reading).await.map_err(|_| late())?
    }
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
    async fn only_what_has_arrived_takes_memory() {
        let budget = Semaphore::new(2);
        let body = read(chunks(&[b"a", b"b"]), Some(MAX_BODY), &budget).await.expect("read");
        assert_eq!((body.bytes.as_slice(), budget.available_permits()), (&b"ab"[..], 1));
        let more = read(chunks(&[&[0; 1024], b"b"]), None, &budget).await;
        assert_eq!(more.err().map(|refusal| refusal.status), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(budget.available_permits(), 1, "what was read is given back");
        drop(body);
        assert_eq!(budget.available_permits(), 2);
    }

    #[tokio::test]
    async fn large_bodies_are_refused_announced_or_not() {
        let budget = Semaphore::new(100_000);
        let announced = read(chunks(&[b"a"]), Some(MAX_BODY + 1), &budget).await;
        assert_eq!(announced.err().map(|refusal| refusal.status), Some(StatusCode::PAYLOAD_TOO_LARGE));
        let large = Body::from(vec![0; MAX_BODY + 1]);
        let sent = read(large, None, &budget).await;
        assert_eq!(sent.err().map(|refusal| refusal.status), Some(StatusCode::PAYLOAD_TOO_LARGE));
        assert_eq!(budget.available_permits(), 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_take_no_place_of_the_quick() {
        let (places, budget) = (Places::new(1), Semaphore::new(100));
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = |result: Result<Received<'_>, Refusal>| result.err().map(|r| r.status);
        let never = || Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let slow = places.read(never(), None, &budget, deadline);
        let quick = async {
            tokio::time::sleep(AT_ONCE * 2).await;
            let second = places.read(never(), None, &budget, deadline).await;
            assert_eq!(status(second), Some(StatusCode::SERVICE_UNAVAILABLE), "the only place is taken");
            let good = places.read(chunks(&[b"a"]), None, &budget, deadline).await;
            assert_eq!(status(good), None, "whoever sends at once needs none");
            tokio::time::sleep(MOMENT).await;
            assert_eq!(places.available(), 1, "the slow one has given its place back");
        };
        let (slow, ()) = tokio::join!(slow, quick);
        assert_eq!(status(slow), Some(StatusCode::REQUEST_TIMEOUT));
    }
}
