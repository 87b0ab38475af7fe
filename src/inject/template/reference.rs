//! References to templates: a name and, optionally, a version. This module does not know which templates exist.

/// A reference to a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRef<'a> {
    /// The template's name.
    pub name: &'a str,
    /// The version after `@`; `None` if the reference does not set one.
    pub version: Option<&'a str>,
}

/// Words that cannot be template names, since they look like a choice in a request.
pub const RESERVED: [&str; 9] = ["true", "false", "all", "none", "default", "enabled", "disabled", "yes", "no"];

/// Maximum length of a version in bytes, as for names of templates (DNS-1123 labels).
const MAX_WORD: usize = 63;

/// Returns true if `version` is a valid version: `[A-Za-z0-9][-._A-Za-z0-9]{0,62}`.
#[must_use]
pub fn is_version(version: &str) -> bool {
    let bytes = version.as_bytes();
    (1..=MAX_WORD).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
}
