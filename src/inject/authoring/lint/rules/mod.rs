//! The rules. Each is one file with its id, severity, explanation, check and test cases. `docs/reference/lint.md` is
//! generated from them. To add a rule, add its file, its `mod` line and its line in [`RULES`].

mod budget;
mod doubtful_expression;
mod duplicate_default;
mod duplicate_env;
mod duplicate_name;
mod duplicate_version;
mod free_image;
mod image_tag;
mod init_like_sidecar;
mod invalid;
mod max_sidecars;
mod mount_without_volume;
mod needs_version;
mod no_parameter;
mod no_probe;
mod no_resources;
mod no_template;
mod pod_security;
mod port_clash;
mod pre_stop_grace;
mod probe_host;
mod refused_by_cluster;
mod shell_expression;
mod startup_waits;
mod unanchored_pattern;
mod unguarded_access;
mod unknown_field;
mod unused_parameter;
mod unused_volume;
mod volume_name;
mod wrong_place;

use crate::inject::authoring::lint::linter::Rule;

/// The rule `invalid`: templates that cannot be loaded.
pub const INVALID: Rule = invalid::RULE;
/// The rule `doubtful-expression`: warnings of loading about expressions.
pub(super) const DOUBTFUL_EXPRESSION: Rule = doubtful_expression::RULE;
/// The rule `needs-version`: values that need a version of Kubernetes or a feature gate.
pub(super) const NEEDS_VERSION: Rule = needs_version::RULE;
/// The rule `refused-by-cluster`: pods that a cluster refuses in a dry run.
pub(super) const REFUSED_BY_CLUSTER: Rule = refused_by_cluster::RULE;
/// The rule `unknown-field`: other warnings of loading.
pub(super) const UNKNOWN_FIELD: Rule = unknown_field::RULE;
/// The rule `wrong-place`: annotations and keys that have no effect.
pub const WRONG_PLACE: Rule = wrong_place::RULE;

/// All rules, sorted by id.
pub const RULES: &[Rule] = &[
    budget::RULE,
    doubtful_expression::RULE,
    duplicate_default::RULE,
    duplicate_env::RULE,
    duplicate_name::RULE,
    duplicate_version::RULE,
    free_image::RULE,
    image_tag::RULE,
    init_like_sidecar::RULE,
    invalid::RULE,
    max_sidecars::RULE,
    mount_without_volume::RULE,
    needs_version::RULE,
    no_parameter::RULE,
    no_probe::RULE,
    no_resources::RULE,
    no_template::RULE,
    pod_security::RULE,
    port_clash::RULE,
    pre_stop_grace::RULE,
    probe_host::RULE,
    refused_by_cluster::RULE,
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

/// Returns the rule with this id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests;
