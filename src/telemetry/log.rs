//! Log lines on stderr: their format, their level, and one line for each decision that changes or denies a pod.
//!
//! A log line never contains a pod, only names. This module does not decide on pods, and does not depend on the server.

use std::time::Duration;

use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, reload};

use crate::inject::Answer;
use crate::inject::decision::Verdict;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::shown;
use crate::telemetry::MAX_NAME;

/// A function that changes the level of the log while the process runs.
pub type SetLogLevel = Box<dyn Fn(tracing::Level) + Send + Sync>;

/// The format of log lines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// Plain text, for people
    Text,
    /// One JSON object per line
    Json,
}

/// Logs where a panic happens. The message of the panic is not logged, since it can contain a part of a pod.
fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: this is a bug in sidecar-injector; please report it");
    }));
}

/// Starts logging to stderr. Returns the function that changes the level later.
#[must_use]
pub fn log_to_stderr(format: LogFormat, level: tracing::Level) -> SetLogLevel {
    let (filter, handle) = reload::Layer::new(LevelFilter::from_level(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    log_panics();
    // The subscriber lives as long as the process.
    Box::new(move |level| drop(handle.reload(LevelFilter::from_level(level))))
}

/// Logs a decision: injections and denials at level info, all others at level debug. `took` is the time that the
/// decision took; `observed` is true if the webhook only observes. Names are truncated, since a review arrives before
/// the API server validates them.
pub fn log_decision(answer: &Answer<'_>, took: Duration, observed: bool) {
    let decision = &answer.decision;
    let Some(request) = &answer.request else { return };
    if decision.verdict == Verdict::Unchanged && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let metadata = request.pod.as_ref().and_then(|pod| pod.metadata.as_ref().ok());
    let name = shown(metadata.map_or("", |metadata| metadata.display_name()), MAX_NAME);
    let owner = metadata.and_then(|metadata| metadata.owner_references.as_ref()?.first());
    let owner = owner.map(|owner| shown(&format!("{}/{}", owner.kind.as_str(), owner.name.as_str()), MAX_NAME));
    let (owner, namespace) = (owner.unwrap_or_default(), shown(request.namespace.as_str(), MAX_NAME));
    let templates: Vec<&str> = decision.templates.iter().map(|template| template.name.as_str()).collect();
    let (reason, templates) = (decision.reason.as_str(), templates.join(","));
    let (micros, dry_run) = (u64::try_from(took.as_micros()).unwrap_or(u64::MAX), request.dry_run);
    let left_out = decision.templates.iter().filter(|template| template.reason != Reason::Injected && !template.denied);
    let left_out: Vec<String> = left_out.map(|template| format!("{} [{}]", template.name, template.reason)).collect();
    match decision.verdict {
        Verdict::Injected if !left_out.is_empty() => {
            let left_out = left_out.join(", ");
            tracing::info!(namespace, name, owner, templates, left_out, micros, dry_run, observed, "injected in part");
        }
        Verdict::Injected => tracing::info!(namespace, name, owner, templates, micros, dry_run, observed, "injected"),
        Verdict::Denied => {
            tracing::info!(namespace, name, owner, templates, reason, micros, dry_run, observed, "denied");
        }
        Verdict::Unchanged => {
            tracing::debug!(namespace, name, owner, templates, reason, micros, dry_run, observed, "unchanged");
        }
    }
}
