//! Kubernetes Events: what people who look at a workload, or at a template's ConfigMap, see there. Off the path of
//! requests: telling never waits, and what is too much is dropped and counted. It must not know how decisions are made.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::inject::Answer;
use crate::inject::Verdict;
use crate::inject::reason::Reason;
use crate::metrics::Metrics;

/// Most that waits to be sent.
const QUEUE: usize = 256;
/// The same is not said again within this time; the API server drops events after an hour anyway.
const AGAIN: Duration = Duration::from_secs(300);
/// Events at once, and how many each second beyond that.
const BURST: f64 = 25.0;
const PER_SECOND: f64 = 1.0;
/// Longest text of an event (`events.k8s.io`, validation).
const MAX_NOTE: usize = 1_024;

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The object it is about.
    pub regarding: ObjectReference,
    /// Why, in the words of logs and metrics.
    pub reason: Reason,
    /// What, for people.
    pub text: String,
}

/// Takes what is to be told.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Note>,
}

impl Events {
    /// Sends events to the cluster for as long as the result lives.
    #[must_use]
    pub fn start(client: Client, metrics: &Metrics) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: "sidecar-injector".to_owned(), instance: None };
        tokio::spawn(send(Recorder::new(client, reporter), notes, metrics.events_counter()));
        Self { queue }
    }

    /// Tells what an answer left out or refused. Dry runs have no effects, so they are not told.
    pub fn of(&self, answer: &Answer<'_>, metrics: &Metrics) {
        if let Some(note) = note(answer) {
            self.tell(note, metrics);
        }
    }

    /// Queues a note, or drops it where too many wait.
    pub fn tell(&self, note: Note, metrics: &Metrics) {
        if self.queue.try_send(note).is_err() {
            metrics.events_counter()("dropped");
        }
    }
}

/// What is to be told of an answer, if anything.
fn note(answer: &Answer<'_>) -> Option<Note> {
    let request = answer.request.as_ref().filter(|request| !request.dry_run)?;
    let metadata = request.pod.as_ref()?.metadata.as_ref().ok()?;
    let decision = &answer.decision;
    let left_out = decision.templates.iter().map(|template| template.reason);
    let left_out = left_out.filter(|r| !matches!(r, Reason::Injected | Reason::AlreadyInjected | Reason::NothingToAdd));
    let (reason, text) = match decision.verdict {
        Verdict::Denied => (decision.reason, decision.message.clone()),
        _ => {
            let said = decision.warnings.iter().filter(|warning| warning.contains(" left out: "));
            (left_out.into_iter().next()?, said.cloned().collect::<Vec<_>>().join("; "))
        }
    };
    let namespace = Some(request.namespace.as_str().to_owned());
    // The owner lives on where a pod that was refused never does.
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
    Some(Note { regarding, reason, text })
}

/// Sends what comes, but not the same again and again, and not too much.
async fn send(recorder: Recorder, mut notes: mpsc::Receiver<Note>, count: impl Fn(&'static str)) {
    let mut limiter = Limiter::new(Instant::now());
    while let Some(note) = notes.recv().await {
        if !limiter.allows(&note, Instant::now()) {
            count("dropped");
            continue;
        }
        let mut text = note.text;
        if text.len() > MAX_NOTE {
            let end = (0..=MAX_NOTE - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        let event = Event {
            type_: EventType::Warning,
            reason: note.reason.as_str().to_owned(),
            note: Some(text),
            action: "Inject".to_owned(),
            secondary: None,
        };
        match recorder.publish(&event, &note.regarding).await {
            Ok(()) => count("sent"),
            Err(error) => {
                tracing::debug!(%error, "an event could not be sent");
                count("failed");
            }
        }
    }
}

/// What has been said, and how much may be said now.
struct Limiter {
    said: HashMap<String, Instant>,
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self { said: HashMap::new(), tokens: BURST, filled: now }
    }

    fn allows(&mut self, note: &Note, now: Instant) -> bool {
        self.said.retain(|_, at| now < *at + AGAIN);
        let key = format!("{:?} {} {}", note.regarding, note.reason, note.text);
        self.tokens = (self.tokens + (now - self.filled).as_secs_f64() * PER_SECOND).min(BURST);
        self.filled = now;
        if self.said.contains_key(&key) || self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        self.said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str) -> Note {
        Note { regarding: ObjectReference::default(), reason: Reason::Conflict, text: text.to_owned() }
    }

    #[test]
    fn the_same_is_not_said_again_and_not_too_much_at_once() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert!(limiter.allows(&note("a"), start));
        assert!(!limiter.allows(&note("a"), start), "just said");
        let allowed = (0..100).filter(|n| limiter.allows(&note(&n.to_string()), start)).count();
        assert_eq!(allowed, 24, "a burst of 25");
        assert!(!limiter.allows(&note("later"), start));
        assert!(limiter.allows(&note("later"), start + Duration::from_secs(2)), "one a second");
        assert!(limiter.allows(&note("a"), start + AGAIN + Duration::from_secs(1)), "forgotten");
        assert!(limiter.said.len() <= 3, "what is forgotten takes no memory");
    }
}
