//! The rules of the API server for the fields of a Pod beyond their types, as one table keyed by API type. The API
//! server rejects every pod with a value that breaks one of them. Source: the named function in
//! `k8s.io/kubernetes/pkg/apis/core/validation/validation.go`.
//!
//! Words of enums, required members and keys of lists come from the OpenAPI document, with the types
//! ([`types`](super::types)). The table has what that document does not say. This module contains data and small
//! functions for relations. The [`checker`](super::checker) applies them.

pub(crate) mod annotations;
mod containers;
mod pods;
mod relations;
mod resources;
mod volumes;

use crate::inject::document::Node;
use crate::inject::kube::formats::Format;
use crate::inject::kube::gates::FeatureGate;

/// A rule for the value of one field.
#[derive(Debug)]
pub(crate) enum FieldRule {
    /// The field must have a value, although the OpenAPI document does not require it.
    Required,
    /// The field can be absent, although the OpenAPI document requires it.
    Optional,
    /// An empty string means the default, although it is not one of the words.
    EmptyIsDefault,
    /// An empty string is a value, and not a valid one.
    NotEmpty,
    /// Items of the list can have equal keys, although the OpenAPI document names keys.
    Repeats,
    /// No two items of the list have the same value in this member.
    Unique(&'static str),
    /// An integer in this range, ends included.
    Range(i64, i64),
    /// The number of items of a list, or of bytes of a string; ends included.
    Length(usize, usize),
    /// A port: a number from 1 to 65535, or a port name.
    Port,
    /// A string of this format, or an empty one.
    Is(&'static Format),
    /// A quantity that is not negative.
    NotNegative,
    /// Each item of a list obeys the rule.
    Each(&'static FieldRule),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Each key of a map has the format.
    Keys(&'static Format),
    /// Each value of a map has the format.
    Values(&'static Format),
    /// A member of the field's value obeys rules of its own in this place.
    Member(&'static str, &'static [FieldRule]),
    /// A rule of ours: the API server accepts other values, but with another meaning than the author wants.
    Stricter(&'static FieldRule),
    /// The field cannot be set here. The text completes "cannot be set".
    Forbidden(&'static str),
    /// The field needs a feature gate.
    Gate(&'static FeatureGate),
    /// This word as the value needs a feature gate.
    WordGate(&'static str, &'static FeatureGate),
    /// A string for which the function returns false needs a feature gate.
    Beyond(fn(&str) -> bool, &'static FeatureGate),
}

/// A rule between the members of one object.
#[derive(Debug)]
pub(crate) enum Relation {
    /// Exactly one of these members is set.
    Exactly(&'static [&'static str]),
    /// At most one of these members is set.
    AtMost(&'static [&'static str]),
    /// At least one of these members is set.
    AtLeast(&'static [&'static str]),
    /// If none of these members is set, the object has no effect.
    Idle(&'static [&'static str]),
    /// No other member than these is set.
    Only(&'static [&'static str]),
    /// One member of the object is set, beside the named one.
    OneBeside(&'static str),
    /// If the first member has this value, the second one must be set.
    Needs(&'static str, Is, &'static str),
    /// If the first member has this value, the second one must not be set.
    Excludes(&'static str, Is, &'static str),
    /// A function for what cannot be written as data.
    Function(&'static Function),
}

/// The value of a member in a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    /// Any value.
    Set,
    /// This word, or `true`.
    Word(&'static str),
    /// Set, but not this word.
    Not(&'static str),
}

/// A relation that is written as a function.
#[derive(Debug)]
pub(crate) struct Function {
    /// The rule, a sentence without full stop.
    pub(crate) what: &'static str,
    /// Returns the broken rules: the member at which each is reported, and the message behind the object's path.
    pub(crate) check: fn(&Node) -> Vec<Fault>,
    /// Objects of the type that the API server accepts, as JSON.
    pub(crate) accepted: &'static [&'static str],
    /// Objects of the type that the API server rejects because of this rule, as JSON.
    pub(crate) refused: &'static [&'static str],
}

/// A broken relation: the member at which it is reported, and the message behind the path of the object.
pub(crate) type Fault = (&'static str, String);

/// The rules of one API type.
#[derive(Debug)]
pub(crate) struct TypeRules {
    /// The name of the type, such as `ContainerPort`.
    pub(crate) name: &'static str,
    /// The functions of Kubernetes that the rules come from.
    pub(crate) source: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static [FieldRule])],
    pub(crate) relations: &'static [Relation],
}

/// A type that is another one in a certain place.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) rules: TypeRules,
    /// The API type.
    pub(crate) base: &'static str,
    /// The fields that it has; empty for all of the base and its relations.
    pub(crate) only: &'static [&'static str],
}

const fn fields(
    name: &'static str,
    source: &'static str,
    fields: &'static [(&'static str, &'static [FieldRule])],
) -> TypeRules {
    TypeRules { name, source, fields, relations: &[] }
}

const fn rules(
    name: &'static str,
    source: &'static str,
    fields: &'static [(&'static str, &'static [FieldRule])],
    relations: &'static [Relation],
) -> TypeRules {
    TypeRules { name, source, fields, relations }
}

/// The tables of all types, in the order of the documentation.
pub(crate) static TABLES: [&[TypeRules]; 4] = [containers::RULES, volumes::RULES, volumes::REMOTE, pods::RULES];

/// The types that stand for another one in a certain place.
pub(crate) static VARIANTS: [&Variant; 2] = [&containers::INIT, &containers::APP];

/// The rules for the type `name`.
pub(crate) fn of_type(name: &str) -> impl Iterator<Item = &'static TypeRules> {
    TABLES.into_iter().flatten().filter(move |rules| rules.name == name)
}
