//! Kubernetes Events: what people who look at a workload, or at a template's ConfigMap, see there. Off the path of
//! requests: telling never waits, and what is too much is dropped and counted. It must not know how decisions are made.

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
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::beginning;
use crate::telemetry::MAX_NAME;
use crate::telemetry::metrics::Metrics;

/// Most that waits to be sent.
const QUEUE: usize = 256;
/// The same is not said again within this time; the API server drops events after an hour anyway.
const AGAIN: Duration = Duration::from_secs(300);
/// Events at once, and how many each second beyond that. Pods and templates have a budget each: a storm of refusals must
/// not hide the broken template that it comes from.
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
    limiters: Arc<Mutex<[Limiter; 2]>>,
}

impl Events {
    /// Sends events to the cluster for as long as the result lives.
    #[must_use]
    pub fn start(client: Client, metrics: &Metrics) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE);
        tokio::spawn(send(client, notes, metrics.events_counter()));
        let now = Instant::now();
        Self { queue, limiters: Arc::new(Mutex::new([Limiter::new(now), Limiter::new(now)])) }
    }

    /// Tells what an answer left out or refused. Dry runs have no effects, so they are not told.
    pub fn of(&self, answer: &Answer<'_>, metrics: &Metrics) {
        if let Some(note) = note(answer) {
            self.tell(note, metrics);
        }
    }

    /// Queues a note, or drops it where it was said a moment ago or too much is said at once.
    pub fn tell(&self, note: Note, metrics: &Metrics) {
        let of_template = usize::from(note.reason == Reason::InvalidTemplate);
        let note = note.cut();
        let allowed = {
            let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
            limiters[of_template].allows(&note, Instant::now())
        };
        if !allowed || self.queue.try_send(note).is_err() {
            metrics.events_counter()("dropped");
        }
    }
}

impl Note {
    /// With everything as long as an event takes it.
    fn cut(mut self) -> Self {
        let reference = &mut self.regarding;
        for part in [&mut reference.api_version, &mut reference.kind, &mut reference.name, &mut reference.uid] {
            *part = part.take().map(|text| cut(&text, MAX_NAME));
        }
        self.text = cut(&self.text, MAX_NOTE);
        self
    }
}

/// `text` of at most `max` bytes.
fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    format!("{}…", beginning(text, max - '…'.len_utf8()))
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

/// Sends what comes. Each is an event of its own: what differs in its text must not be counted as the same.
async fn send(client: Client, mut notes: mpsc::Receiver<Note>, count: impl Fn(&'static str)) {
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
            reporting_instance: Some(cut(&instance, 128)),
            type_: Some("Warning".to_owned()),
            ..Event::default()
        };
        match Api::<Event>::namespaced(client.clone(), &namespace).create(&PostParams::default(), &event).await {
            Ok(_) => count("sent"),
            Err(error) => {
                tracing::warn!(%error, "an event could not be sent");
                count("failed");
            }
        }
    }
}

/// What has been said, and how much may be said now. At most as much is remembered as could be said meanwhile.
#[derive(Debug)]
struct Limiter {
    /// By hash: texts are the users'.
    said: HashMap<u64, Instant>,
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self { said: HashMap::new(), tokens: BURST, filled: now }
    }

    fn allows(&mut self, note: &Note, now: Instant) -> bool {
        self.said.retain(|_, at| now < *at + AGAIN);
        let mut hasher = DefaultHasher::new();
        format!("{:?} {} {}", note.regarding, note.reason, note.text).hash(&mut hasher);
        let key = hasher.finish();
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

    #[test]
    fn what_users_wrote_is_cut() {
        let long = "ä".repeat(1 << 20);
        let regarding =
            ObjectReference { name: Some(long.clone()), kind: Some(long.clone()), ..ObjectReference::default() };
        let note = Note { regarding, reason: Reason::Conflict, text: long }.cut();
        let name = note.regarding.name.expect("a name");
        assert!(name.len() <= MAX_NAME && note.text.len() <= MAX_NOTE && name.ends_with('…'), "{}", name.len());
    }
}
