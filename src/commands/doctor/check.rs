//! The result of a check, and how `doctor` prints it.

use std::fmt;

use crate::commands::common::api::ApiError;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Ok,
    Warning,
    Failed,
    /// The check was not possible.
    Unknown,
}

/// One check, with its result.
#[derive(Debug)]
pub(super) struct DoctorCheck {
    /// The subject of the check, one word.
    pub(super) what: &'static str,
    pub(super) health: Health,
    /// The finding, one line or more.
    pub(super) text: String,
    /// How to fix it; empty if there is nothing to fix.
    remedy: String,
}

impl DoctorCheck {
    fn new(what: &'static str, health: Health, text: impl Into<String>) -> Self {
        Self { what, health, text: text.into(), remedy: String::new() }
    }

    /// Returns a check that has succeeded.
    pub(super) fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(what, Health::Ok, text)
    }

    /// Returns a check that has failed.
    pub(super) fn failed(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(what, Health::Failed, text)
    }

    /// Returns a check that has found something to improve.
    pub(super) fn warning(what: &'static str, text: impl Into<String>) -> Self {
        Self::new(what, Health::Warning, text)
    }

    /// Returns a check that was not possible, since the API server returned an error.
    pub(super) fn unknown(what: &'static str, error: &ApiError) -> Self {
        Self::new(what, Health::Unknown, error.to_string())
    }

    /// Adds how to fix what was found.
    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

impl fmt::Display for DoctorCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = match self.health {
            Health::Ok => "ok",
            Health::Warning => "warning",
            Health::Failed => "FAILED",
            Health::Unknown => "unknown",
        };
        write!(f, "{health:<8} {:<10} {}", self.what, self.text.replace('\n', "\n                    "))?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n                    -> {}", self.remedy) }
    }
}
