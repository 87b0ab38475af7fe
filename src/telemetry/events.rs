//! Kubernetes Events for denied pods, templates left out of pods, templates that do not load, and changes of the version
//! that a request without a version gets.
//!
//! An event is attached to the owner of the pod, or to the template's ConfigMap. Events are sent in the background: a
//! request never waits for one, and events over the limit are dropped and counted. This module does not know how
//! decisions are made.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::inject::Answer;
use crate::inject::decision::Verdict;
use crate::inject::decision::reason::{Reason, Stage};
use crate::inject::diagnostic::beginning;
use crate::telemetry::MAX_NAME;
use crate::telemetry::metrics::Metrics;

/// Maximum number of events that wait to be sent.
const QUEUE: usize = 256;
/// How long an identical event is not sent again. By default, the API server deletes events after an hour.
const REPEAT_AFTER: Duration = Duration::from_secs(300);
/// Number of events that can be sent at once, and how many per second after that. Pods and templates have separate
/// budgets: many denials must not hide the broken template that causes them.
const BURST: f64 = 25.0;
const PER_SECOND: f64 = 1.0;
/// Maximum length of the text of an event, in bytes (validation of `events.k8s.io/v1`).
const MAX_NOTE: usize = 1_024;

/// One event to send.
#[derive(Clone, Debug, PartialEq)]
pub struct EventNote {
    /// The object that the event is attached to.
    pub regarding: ObjectReference,
    /// The reason, the same as in logs and metrics.
    pub reason: Reason,
    /// The message.
    pub text: String,
}

/// The sender of events. Clones share the queue and the limits.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<EventNote>,
    limiters: Arc<Mutex<[EventLimiter; 2]>>,
}

impl Events {
    /// Starts sending events to the cluster. Sending stops when the last clone is dropped.
    #[must_use]
    pub fn start(client: Client, metrics: &Metrics) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE);
        tokio::spawn(send_all(client, notes, metrics.events_counter()));
        let now = Instant::now();
        Self { queue, limiters: Arc::new(Mutex::new([EventLimiter::new(now), EventLimiter::new(now)])) }
    }

    /// Sends an event if the answer denies the pod or leaves templates out. A dry run sends none, since it must not
    /// have effects.
    pub fn report(&self, answer: &Answer<'_>, metrics: &Metrics) {
        if let Some(note) = note(answer) {
            self.send(note, metrics);
        }
    }

    /// Queues an event. Drops and counts it if an identical event was sent in the last five minutes, or if a limit is
    /// reached.
    pub fn send(&self, note: EventNote, metrics: &Metrics) {
        let budget = usize::from(note.reason.stage() == Stage::Validation);
        let note = note.truncated();
        let allowed = {
            let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
            limiters[budget].allows(&note, Instant::now())
        };
        if !allowed || self.queue.try_send(note).is_err() {
            metrics.events_counter()("dropped");
        }
    }
}

impl EventNote {
    /// Truncates every text to the length that an event allows.
    fn truncated(mut self) -> Self {
        let reference = &mut self.regarding;
        for part in [&mut reference.api_version, &mut reference.kind, &mut reference.name, &mut reference.uid] {
            *part = part.take().map(|text| truncate(&text, MAX_NAME));
        }
        self.text = truncate(&self.text, MAX_NOTE);
        self
    }
}

/// Truncates `text` to at most `max` bytes.
fn truncate(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", beginning(text, max - '…'.len_utf8()))
}

/// Returns the event for an answer; `None` if there is nothing to report.
fn note(answer: &Answer<'_>) -> Option<EventNote> {
    let request = answer.request.as_ref().filter(|request| !request.dry_run)?;
    let metadata = request.pod.as_ref()?.metadata.as_ref().ok()?;
    let decision = &answer.decision;
    let (reason, text) = match decision.verdict {
        Verdict::Denied => (decision.reason, decision.message.clone()),
        _ => {
            let left_out = || decision.templates.iter().filter(|template| template.left_out.is_some());
            let messages: Vec<&str> = left_out().filter_map(|template| template.left_out.as_deref()).collect();
            (left_out().next()?.reason, messages.join("; "))
        }
    };
    let namespace = Some(request.namespace.as_str().to_owned());
    // A denied pod is never created, so the event is attached to its owner.
    let regarding = match metadata.owner_references.iter().flatten().next() {
        Some(owner) => ObjectReference {
            api_version: Some(owner.api_version.as_str().to_owned()),
            kind: Some(owner.kind.as_str().to_owned()),
            name: Some(owner.name.as_str().to_owned()),
            uid: Some(owner.uid.as_str().to_owned()),
            namespace,
            ..ObjectReference::default()
        },
        None => ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(metadata.display_name().to_owned()),
            namespace,
            ..ObjectReference::default()
        },
    };
    Some(EventNote { regarding, reason, text })
}

/// The type of an event: only a change of a version is expected.
fn kind(reason: Reason) -> &'static str {
    if reason == Reason::VersionChanged { "Normal" } else { "Warning" }
}

/// Sends the queued events. Each becomes a separate Event object: events with different texts are not repetitions of
/// one.
async fn send_all(client: Client, mut notes: mpsc::Receiver<EventNote>, count: impl Fn(&'static str)) {
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "sidecar-injector".to_owned());
    while let Some(note) = notes.recv().await {
        let namespace = note.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let event = Event {
            metadata: ObjectMeta { generate_name: Some("sidecar-injector-".to_owned()), ..ObjectMeta::default() },
            action: Some("Inject".to_owned()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(note.text),
            reason: Some(note.reason.as_str().to_owned()),
            regarding: Some(note.regarding),
            reporting_controller: Some("sidecar-injector".to_owned()),
            reporting_instance: Some(truncate(&instance, 128)),
            type_: Some(kind(note.reason).to_owned()),
            ..Event::default()
        };
        match Api::<Event>::namespaced(client.clone(), &namespace).create(&PostParams::default(), &event).await {
            Ok(_) => count("sent"),
            Err(error) => {
                tracing::warn!(%error, "failed to send an event");
                count("failed");
            }
        }
    }
}

/// Limits the rate of events, and detects repetitions. It remembers at most as many events as the rate allows in five
/// minutes.
#[derive(Debug)]
struct EventLimiter {
    /// When each event was sent, by the hash of the event, to save memory.
    sent: HashMap<u64, Instant>,
    tokens: f64,
    filled: Instant,
}

impl EventLimiter {
    fn new(now: Instant) -> Self {
        Self { sent: HashMap::new(), tokens: BURST, filled: now }
    }

    /// Returns true if the event can be sent at the time `now`, and counts it.
    fn allows(&mut self, note: &EventNote, now: Instant) -> bool {
        self.sent.retain(|_, at| now < *at + REPEAT_AFTER);
        let mut hasher = DefaultHasher::new();
        format!("{:?} {} {}", note.regarding, note.reason, note.text).hash(&mut hasher);
        let key = hasher.finish();
        self.tokens = (self.tokens + (now - self.filled).as_secs_f64() * PER_SECOND).min(BURST);
        self.filled = now;
        if self.sent.contains_key(&key) || self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        self.sent.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> EventNote {
        EventNote { regarding: ObjectReference::default(), reason: Reason::Conflict, text: text.to_owned() }
    }

    #[test]
    fn repetitions_and_bursts_are_limited() {
        let start = Instant::now();
        let mut limiter = EventLimiter::new(start);
        assert!(limiter.allows(&note("a"), start));
        assert!(!limiter.allows(&note("a"), start), "a repetition");
        let allowed = (0..100).filter(|n| limiter.allows(&note(&n.to_string()), start)).count();
        assert_eq!(allowed, 24, "a burst of 25");
        assert!(!limiter.allows(&note("later"), start));
        assert!(limiter.allows(&note("later"), start + Duration::from_secs(2)), "one a second");
        assert!(
            limiter.allows(&note("a"), start + REPEAT_AFTER + Duration::from_secs(1)),
            "after five minutes it is sent again"
        );
        assert!(limiter.sent.len() <= 3, "old events take no memory");
    }

    #[test]
    fn long_texts_are_truncated() {
        let long = "ä".repeat(1 << 20);
        let regarding =
            ObjectReference { name: Some(long.clone()), kind: Some(long.clone()), ..ObjectReference::default() };
        let note = EventNote { regarding, reason: Reason::Conflict, text: long }.truncated();
        let name = note.regarding.name.expect("a name");
        assert!(name.len() <= MAX_NAME && note.text.len() <= MAX_NOTE && name.ends_with('…'), "{}", name.len());
    }
}
