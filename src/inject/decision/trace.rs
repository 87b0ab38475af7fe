//! The trace of a decision: every check of the two phases with its verdict and evidence, and the outcome of each
//! template. It records decisions and makes none. Without a recorder, no evidence is computed.

use std::cell::RefCell;
use std::fmt;

use crate::inject::decision::Decision;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::beginning;

/// Maximum length of a trace in the message of a response, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// The checks of one decision, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The rows of phase 1, then those of each template.
    pub rows: Vec<Row>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The template that was checked, e.g. `template logs (the pod requests it)`; empty in phase 1.
    pub template: String,
    /// The reason that was checked.
    pub reason: Reason,
    /// True if the reason applies. `None` if it was not checked, because an earlier row decided.
    pub holds: Option<bool>,
    /// The observed values; can be empty.
    pub evidence: String,
}

/// Records rows, or does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recorder<'t>(Option<&'t RefCell<Trace>>);

impl<'t> Recorder<'t> {
    /// A recorder that adds rows to `trace`.
    pub(crate) fn into(trace: &'t RefCell<Trace>) -> Self {
        Self(Some(trace))
    }

    /// Records a row of phase 1 and returns `holds`.
    pub(crate) fn holds(self, reason: Reason, holds: bool, evidence: impl FnOnce() -> String) -> bool {
        self.rows(|| vec![Row { template: String::new(), reason, holds: Some(holds), evidence: evidence() }]);
        holds
    }

    /// Records rows. `rows` is called only if there is a trace.
    pub(crate) fn rows(self, rows: impl FnOnce() -> Vec<Row>) {
        if let Some(trace) = self.0 {
            trace.borrow_mut().rows.extend(rows());
        }
    }
}

impl Trace {
    /// The trace and its decision as text of at most 16 KiB. Longer rows are cut.
    #[must_use]
    pub fn message(&self, decision: &Decision) -> String {
        let (mut text, mut conclusion) = (self.to_string(), Conclusion(decision).to_string());
        // The conclusion matters most, so the rows are cut first.
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
                writeln!(f, "{}", if row.template.is_empty() { "the pod with all templates" } else { &row.template })?;
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

/// The last lines of a trace: the verdict, the reason, the message and the warnings.
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
