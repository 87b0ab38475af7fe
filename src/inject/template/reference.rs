//! How a template is named: by its name and, optionally, one of its versions.

/// One template asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// The version after `@`, if given.
    pub version: Option<&'a str>,
}

/// Words that cannot name a template since they read like a choice.
pub const RESERVED: [&str; 9] = ["true", "false", "all", "none", "default", "enabled", "disabled", "yes", "no"];

/// Longest name of a template (a DNS-1123 label) and longest version.
const MAX_WORD: usize = 63;

/// Whether `version` is `[A-Za-z0-9][-._A-Za-z0-9]{0,62}`.
#[must_use]
pub fn is_version(version: &str) -> bool {
    let bytes = version.as_bytes();
    (1..=MAX_WORD).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b))
}
