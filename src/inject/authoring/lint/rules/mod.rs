//! The rules, one to a file: what each is called, how bad it is, why it is there, its check, and texts with what it
//! finds in them. The reference in the docs is made of this.

mod budget;
mod duplicate_env;
mod duplicate_name;
mod free_image;
mod image_tag;
mod init_like_sidecar;
mod invalid;
mod max_sidecars;
mod mount_without_volume;
mod no_parameter;
mod no_probe;
mod no_resources;
mod no_template;
mod pod_security;
mod port_clash;
mod pre_stop_grace;
mod probe_host;
mod shell_expression;
mod startup_waits;
mod unanchored_pattern;
mod unguarded_access;
mod unknown_field;
mod unused_parameter;
mod unused_volume;
mod volume_name;
mod wrong_place;

use crate::inject::authoring::lint::{Finding, Linter, ManifestPod};
use crate::inject::diagnostic::Severity;
use crate::inject::template::Template;

/// The rule `invalid`, of what cannot be loaded.
pub const INVALID: Rule = invalid::RULE;
/// The rule `unknown-field`, of what loading warns about.
pub(super) const UNKNOWN_FIELD: Rule = unknown_field::RULE;
/// The rule `wrong-place`, of what stands where it has no effect.
pub const WRONG_PLACE: Rule = wrong_place::RULE;

/// All rules, by id.
pub const RULES: &[Rule] = &[
    budget::RULE,
    duplicate_env::RULE,
    duplicate_name::RULE,
    free_image::RULE,
    image_tag::RULE,
    init_like_sidecar::RULE,
    invalid::RULE,
    max_sidecars::RULE,
    mount_without_volume::RULE,
    no_parameter::RULE,
    no_probe::RULE,
    no_resources::RULE,
    no_template::RULE,
    pod_security::RULE,
    port_clash::RULE,
    pre_stop_grace::RULE,
    probe_host::RULE,
    shell_expression::RULE,
    startup_waits::RULE,
    unanchored_pattern::RULE,
    unguarded_access::RULE,
    unknown_field::RULE,
    unused_parameter::RULE,
    unused_volume::RULE,
    volume_name::RULE,
    wrong_place::RULE,
];

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// What it is called in output, and in `lint:` of a template.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What goes wrong, and what to do: one paragraph.
    pub explanation: &'static str,
    /// How its findings come about.
    pub(super) check: RuleCheck,
    /// Texts, each with a part of the message of every finding in it: see `tests.rs`.
    #[cfg(test)]
    cases: &'static [(&'static str, &'static [&'static str])],
}

/// How the findings of a rule come about.
#[derive(Clone, Copy, Debug)]
pub(super) enum RuleCheck {
    /// Loading reports them.
    Loading,
    /// Of one template that was loaded.
    Template(fn(&mut Linter<'_>)),
    /// Of several templates, each given with its origin.
    Templates(fn(&[(String, &Template)]) -> Vec<Finding>),
    /// Of a pod in a manifest: the messages.
    Manifest(fn(&ManifestPod<'_>) -> Vec<String>),
}

/// The rule of that id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests;
