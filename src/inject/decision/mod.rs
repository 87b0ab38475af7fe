//! The outcome of one request, as data: what the server answers, logs and counts, and what the CLI
//! applies. It knows nothing of how it was reached.

pub mod reason;
pub mod trace;

use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::{beginning, shown};

/// What happens to the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Templates are added.
    Injected,
    /// Nothing is added (the patch may still record why).
    Unchanged,
    /// The pod is refused.
    Denied,
}

impl Verdict {
    /// The verdict's name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "Injected",
            Self::Unchanged => "Unchanged",
            Self::Denied => "Denied",
        }
    }
}

/// A verdict with its reason and everything that follows from it.
#[derive(Debug)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// For people; set where the pod is refused. At most 1,000 bytes.
    pub message: String,
    /// For people who create the pod; at most 120 characters each.
    pub warnings: Vec<String>,
    /// JSON Patch (RFC 6902), or none.
    pub patch: Option<Vec<u8>>,
    /// What became of each template, in the order of the request.
    pub templates: Vec<TemplateOutcome>,
    /// Whether the API server's audit log records it: where it changes what is stored, and only in the first round, since a
    /// value that changes in the second is an error in the API server's log.
    pub audited: bool,
}

/// What became of one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateOutcome {
    /// Its name.
    pub name: String,
    /// Where the template is from.
    pub origin: TemplateOrigin,
    /// Its version, if it has one and is known.
    pub version: Option<String>,
    /// `Injected`, or why not.
    pub reason: Reason,
    /// True if it is a reason why the pod is denied.
    pub denied: bool,
    /// The warning that says why it was left out, if it was.
    pub left_out: Option<String>,
}

impl TemplateOutcome {
    /// `NAME` or `NAME@VERSION`.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Where a template is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateOrigin {
    /// A central one.
    Central,
    /// One of the pod's own namespace: its name is its users'.
    Namespace,
    /// There is none of that name.
    Unknown,
}

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 1_000;
/// Longest warning, in characters: kubectl and the API server cut longer ones.
const MAX_WARNING: usize = 120;

impl Decision {
    /// Nothing to do.
    #[must_use]
    pub fn unchanged(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Unchanged,
            reason,
            message: String::new(),
            warnings: Vec::new(),
            patch: None,
            templates: Vec::new(),
            audited: false,
        }
    }

    /// A refusal. `text` says what, why and where to change it; the reason is appended.
    #[must_use]
    pub fn denied(reason: Reason, text: &str) -> Self {
        Self { verdict: Verdict::Denied, message: message(text, reason), ..Self::unchanged(reason) }
    }
}

/// `TEXT [REASON]` of at most 1,000 bytes; the text is cut, the reason never.
fn message(text: &str, reason: Reason) -> String {
    let room = MAX_MESSAGE - reason.as_str().len() - 3;
    if text.len() <= room {
        return format!("{text} [{reason}]");
    }
    format!("{}… [{reason}]", beginning(text, room - '…'.len_utf8()))
}

/// `TEXT [REASON]` of at most 120 characters; the text is cut, the reason never.
#[must_use]
pub(crate) fn warning(text: &str, reason: Reason) -> String {
    let room = MAX_WARNING - reason.as_str().len() - 3 - 1;
    format!("{} [{reason}]", shown(text, room))
}

/// Why a template cannot be applied to the pod.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    /// What and why, a sentence without its full stop.
    pub(crate) what: String,
    /// Where to change it, a sentence.
    pub(crate) fix: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_warnings_are_cut_but_keep_their_reason() {
        let long = "ä".repeat(2_000);
        let decision = Decision::denied(Reason::Conflict, &long);
        assert!(decision.message.len() <= MAX_MESSAGE);
        assert!(decision.message.ends_with("… [Conflict]"));
        let warning = warning(&"x\n".repeat(500), Reason::MissingVolume);
        assert!(warning.chars().count() <= MAX_WARNING, "{warning}");
        assert!(warning.ends_with(" [MissingVolume]"));
        assert!(!warning.contains('\n'));
    }
}
