//! Waiting for a condition. Tests never sleep a fixed time and never assert that something was fast:
//! they wait until it is so, within a bound that only a broken system reaches.

use std::thread;
use std::time::{Duration, Instant};

/// Far more than anything here takes, also on a busy machine. The longest wait is for a debug build to read ten thousand
/// ConfigMaps: a minute, and three with other work on every core. Only a failing test waits for the whole bound.
pub(crate) const BOUND: Duration = Duration::from_secs(600);

/// Runs `look` until it answers `Ok`, and returns that with the time it took.
///
/// `look` answers `Err` with what it saw instead, so that a failure says more than "timed out".
///
/// # Panics
/// After [`BOUND`], with `what` and the last thing seen.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return (found, start.elapsed()),
            Err(seen) if start.elapsed() > BOUND => {
                panic!("waited {} s for: {what}; last seen: {seen}", BOUND.as_secs())
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}
