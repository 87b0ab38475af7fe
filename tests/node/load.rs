//! Creates pods that request a sidecar, up to twenty per second, during a change of the webhook.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Bed;

/// The number of pods, and the number of those without a sidecar.
#[derive(Debug)]
pub(crate) struct PodCounts {
    pub(crate) created: usize,
    /// Pods that were denied, or were created without their sidecar.
    pub(crate) missed: usize,
}

/// Stops the workers, even if the change panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates pods from two seconds before `what` is called until five seconds after it returns.
pub(crate) fn during(bed: &Bed, name: &str, what: impl FnOnce(&Bed)) -> PodCounts {
    let (ended, created, missed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let slowest = thread::scope(|scope| {
        let worker = || {
            let mut slowest = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let start = Instant::now();
                let outcome = bed.try_pod();
                slowest = slowest.max(start.elapsed());
                created.fetch_add(1, Ordering::Relaxed);
                if outcome != Ok(true) {
                    missed.fetch_add(1, Ordering::Relaxed);
                    println!("missed: {outcome:?}");
                }
                thread::sleep(Duration::from_millis(200).saturating_sub(start.elapsed()));
            }
            slowest
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        let end = End(&ended);
        thread::sleep(Duration::from_secs(2));
        what(bed);
        thread::sleep(Duration::from_secs(5));
        drop(end);
        workers.into_iter().filter_map(|worker| worker.join().ok()).max()
    });
    let counts = PodCounts { created: created.into_inner(), missed: missed.into_inner() };
    println!("{name}: {} pods, {} missed, the slowest took {slowest:?}", counts.created, counts.missed);
    counts
}
