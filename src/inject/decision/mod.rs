//! The outcome of one request, as data. The server turns it into the response, logs and metrics; the command line
//! applies its patch. This module does not depend on how a decision is made.

pub mod reason;
pub mod trace;

use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::{beginning, shown};

/// The effect of a decision on the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Templates are added.
    Injected,
    /// Nothing is added. A patch can still record the reason in the status annotation.
    Unchanged,
    /// The pod is denied.
    Denied,
}

impl Verdict {
    /// The name of the verdict in logs, metrics and audit annotations, e.g. `Injected`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "Injected",
            Self::Unchanged => "Unchanged",
            Self::Denied => "Denied",
        }
    }
}

/// A verdict with its reason and its results.
#[derive(Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason for the verdict.
    pub reason: Reason,
    /// The message for the client; empty unless the pod is denied. At most 1,000 bytes.
    pub message: String,
    /// The warnings for the client, at most 120 characters each.
    pub warnings: Vec<String>,
    /// A JSON Patch (RFC 6902) as JSON text; `None` if the pod is not changed.
    pub patch: Option<Vec<u8>>,
    /// The outcome of each template, in the order of the request.
    pub templates: Vec<TemplateOutcome>,
    /// True if the response has audit annotations, which the API server writes to its audit log: if the pod is changed
    /// or denied, and only in the first round, because the API server logs an error if a value changes in the second.
    pub audited: bool,
}

/// The outcome of one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateOutcome {
    /// The name that was requested.
    pub name: String,
    /// The source of the template.
    pub origin: TemplateOrigin,
    /// The version, if the template exists and has one.
    pub version: Option<String>,
    /// `Injected`, or the reason why the template was not added.
    pub reason: Reason,
    /// True if a problem of this template denies the pod.
    pub denied: bool,
    /// The warning with the problem, if the template was left out.
    pub left_out: Option<String>,
}

impl TemplateOutcome {
    /// The template as `NAME` or `NAME@VERSION`.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// The source of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateOrigin {
    /// A central template.
    Central,
    /// A template of the pod's namespace. The users of the namespace chose its name.
    Namespace,
    /// No template of that name exists.
    Unknown,
}

/// Maximum length of a message, in bytes.
const MAX_MESSAGE: usize = 1_000;
/// Maximum length of a warning, in characters. kubectl and the API server cut longer ones.
const MAX_WARNING: usize = 120;

impl Decision {
    /// A decision that does not change the pod.
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

    /// A denial. `text` names the problem, its cause and the place to fix it. The reason is appended, and the message
    /// is cut to 1,000 bytes.
    #[must_use]
    pub fn denied(reason: Reason, text: &str) -> Self {
        Self { verdict: Verdict::Denied, message: message(text, reason), ..Self::unchanged(reason) }
    }
}

/// `TEXT [REASON]` of at most 1,000 bytes. Only the text is cut.
fn message(text: &str, reason: Reason) -> String {
    let room = MAX_MESSAGE - reason.as_str().len() - 3;
    if text.len() <= room {
        return format!("{text} [{reason}]");
    }
    format!("{}… [{reason}]", beginning(text, room - '…'.len_utf8()))
}

/// `TEXT [REASON]` of at most 120 characters. Only the text is cut.
#[must_use]
pub(crate) fn warning(text: &str, reason: Reason) -> String {
    let room = MAX_WARNING - reason.as_str().len() - 3 - 1;
    format!("{} [{reason}]", shown(text, room))
}

/// A problem that prevents a template from being applied to the pod.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) reason: Reason,
    /// The problem and its cause: a sentence without its full stop.
    pub(crate) what: String,
    /// The solution: a sentence without its full stop. If it is empty, the place of the request is named instead.
    pub(crate) fix: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_warnings_are_truncated_but_keep_their_reason() {
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
