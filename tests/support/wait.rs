//! Waits for a condition. Tests do not sleep for a fixed time and do not assert times. They wait until a condition is
//! true. Only a failing test reaches the time limit.

use std::thread;
use std::time::{Duration, Instant};

/// The time limit of a wait. It is much longer than any wait, even on a busy machine. The longest wait is for a debug
/// build to read ten thousand ConfigMaps: one minute, or three minutes on a busy machine.
pub(crate) const BOUND: Duration = Duration::from_secs(600);

/// Runs `look` until it returns `Ok`. Returns the value and the time that it took.
///
/// If the condition is false, `look` returns `Err` with the current state, for the message of a failure.
///
/// # Panics
/// After [`BOUND`], with `what` and the last state.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return (found, start.elapsed()),
            Err(state) if start.elapsed() > BOUND => {
                panic!("waited {} s for: {what}; last state: {state}", BOUND.as_secs())
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}
