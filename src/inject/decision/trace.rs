//! The trace of a decision: every row of the two phases with its verdict and evidence, and what became of each
//! template. It records what is decided elsewhere; without a recorder nothing of it is computed.

use std::cell::RefCell;
use std::fmt;

use crate::inject::decision::Decision;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::beginning;

/// Longest trace that is sent as the message of an answer, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// What was looked at, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The rows of phase 1, then those of each template.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The template it is about; empty in phase 1.
    pub template: String,
    /// What was looked for.
    pub reason: Reason,
    /// Whether it is so; `None` where it was not looked at, since an earlier row had decided.
    pub holds: Option<bool>,
    /// What was seen.
    pub evidence: String,
}

/// Records rows, or does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recorder<'t>(Option<&'t RefCell<Trace>>);

impl<'t> Recorder<'t> {
    /// One that records into `trace`.
    pub(crate) fn into(trace: &'t RefCell<Trace>) -> Self {
        Self(Some(trace))
    }

    /// Records whether a row of phase 1 holds; gives that back.
    pub(crate) fn holds(self, reason: Reason, holds: bool, evidence: impl FnOnce() -> String) -> bool {
        self.rows(|| vec![Row { template: String::new(), reason, holds: Some(holds), evidence: evidence() }]);
        holds
    }

    /// Records rows.
    pub(crate) fn rows(self, rows: impl FnOnce() -> Vec<Row>) {
        if let Some(trace) = self.0 {
            trace.borrow_mut().rows.extend(rows());
        }
    }
}

impl Trace {
    /// The trace with the decision it led to, cut where it is too long for a message.
    #[must_use]
    pub fn message(&self, decision: &Decision) -> String {
        let (mut text, mut conclusion) = (self.to_string(), Conclusion(decision).to_string());
        // The end says what it came to, so the rows give way.
        cut(&mut conclusion, MAX_MESSAGE / 2);
        cut(&mut text, MAX_MESSAGE - conclusion.len());
        text + &conclusion
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut template = "";
        for row in &self.rows {
            if row.template != template {
                writeln!(f, "{}", if row.template.is_empty() { "the pod with them" } else { &row.template })?;
                template = &row.template;
            }
            let verdict = row.holds.map_or("-", |holds| if holds { "yes" } else { "no" });
            let line = format!("  {:<18} {verdict:<4} {}", row.reason.as_str(), row.evidence);
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Cuts a text to `max` bytes.
fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(beginning(text, max.saturating_sub(5)).len());
        text.push_str("…\n");
    }
}

/// The last lines of a trace.
#[derive(Debug)]
pub struct Conclusion<'d>(pub &'d Decision);

impl fmt::Display for Conclusion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decision = self.0;
        write!(f, "=> {} [{}]", decision.verdict.as_str(), decision.reason)?;
        if !decision.message.is_empty() {
            write!(f, ": {}", decision.message)?;
        }
        decision.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}
