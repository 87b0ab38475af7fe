//! The types of the known fields of a Pod, with the rules for their values. The types, the words of enums, the required
//! members and the keys of lists come from a table that is generated from the OpenAPI document of Kubernetes; the other
//! rules come from [`rules`](super::rules). The module does not check values.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::inject::kube::rules::{self, FieldRule, Relation, TypeRules, VARIANTS};

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Boolean,
    Int32,
    Int64,
    IntOrString,
    Quantity,
    /// A date and time (RFC 3339).
    Time,
    Any,
    List(Box<Self>),
    Map(Box<Self>),
    /// An object: the index of its type.
    Object(usize),
}

/// A type of an object of the API.
#[derive(Debug)]
pub(crate) struct ObjectType {
    /// The name, such as `ContainerPort`.
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) relations: Vec<&'static Relation>,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// True if the field must have a value.
    pub(crate) required: bool,
    /// The possible words of a string; empty if there is no such list.
    pub(crate) words: Vec<&'static str>,
    /// True if an empty string stands for the default.
    pub(crate) can_be_empty: bool,
    /// The members of which no two items of a list have the same values; empty if items can be equal.
    pub(crate) keys: Vec<&'static str>,
    /// All other rules.
    pub(crate) rules: &'static [FieldRule],
}

impl Field {
    /// Reads a line of the table: `NAME TYPE [required] [enum WORD…] [keys MEMBER…]`.
    fn parse(line: &'static str, index: &dyn Fn(&str) -> Option<usize>) -> Self {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut field = Self {
            name: name.to_owned(),
            kind: Kind::parse(kind, index),
            required: false,
            words: Vec::new(),
            can_be_empty: false,
            keys: Vec::new(),
            rules: &[],
        };
        let mut list: Option<&mut Vec<&'static str>> = None;
        for word in words {
            match (word, &mut list) {
                ("required", _) => field.required = true,
                ("enum", _) => list = Some(&mut field.words),
                ("keys", _) => list = Some(&mut field.keys),
                (word, Some(list)) => list.push(word),
                _ => {}
            }
        }
        field
    }

    /// Applies the rules that the OpenAPI document does not have.
    fn apply(&mut self, rules: &'static [FieldRule]) {
        self.rules = rules;
        for rule in rules {
            match rule {
                FieldRule::Required => self.required = true,
                FieldRule::Optional => self.required = false,
                FieldRule::EmptyIsDefault => self.can_be_empty = true,
                FieldRule::Repeats => self.keys.clear(),
                FieldRule::OneOf(words) => self.words = words.to_vec(),
                _ => {}
            }
        }
    }
}

impl Kind {
    /// Reads a kind of the table. `index` returns the index of an object type.
    fn parse(text: &str, index: &dyn Fn(&str) -> Option<usize>) -> Self {
        if let Some(item) = text.strip_prefix("[]") {
            return Self::List(Box::new(Self::parse(item, index)));
        }
        if let Some(item) = text.strip_prefix("{}") {
            return Self::Map(Box::new(Self::parse(item, index)));
        }
        match text {
            "string" => Self::String,
            "boolean" => Self::Boolean,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "int-or-string" => Self::IntOrString,
            "quantity" => Self::Quantity,
            "time" => Self::Time,
            name => index(name).map_or(Self::Any, Self::Object),
        }
    }

    /// The kind in words, with its article.
    pub(crate) fn in_words(&self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Boolean => "a boolean",
            Self::Int32 => "a 32-bit integer",
            Self::Int64 => "an integer",
            Self::IntOrString => "an integer or a string",
            Self::Quantity => "a quantity",
            Self::Time => "a date and time",
            Self::Any => "a value",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Object(_) => "a map",
        }
    }

    /// The type of the object, if it is one.
    pub(crate) fn object(&self) -> Option<&'static ObjectType> {
        let Self::Object(index) = self else { return None };
        TYPES.objects.get(*index)
    }
}

/// All types.
struct Types {
    objects: Vec<ObjectType>,
    /// The index of each type.
    names: HashMap<String, usize>,
}

static TYPES: LazyLock<Types> = LazyLock::new(Types::read);

impl Types {
    fn read() -> Self {
        let lines = || include_str!("pod_types.txt").lines().filter(|line| !line.starts_with('#'));
        let table_names = || lines().filter(|line| !line.starts_with(' '));
        let names: HashMap<&str, usize> = table_names().enumerate().map(|(index, name)| (name, index)).collect();
        let mut types = Self { objects: Vec::new(), names: HashMap::new() };
        for line in lines() {
            match (line.strip_prefix("  "), types.objects.last_mut()) {
                (Some(field), Some(object)) => {
                    object.fields.push(Field::parse(field, &|name| names.get(name).copied()));
                }
                _ => types.push(ObjectType { name: line.to_owned(), fields: Vec::new(), relations: Vec::new() }),
            }
        }
        for object in &mut types.objects {
            let name = object.name.clone();
            rules::of_type(&name).for_each(|rules| object.apply(rules));
        }
        for variant in VARIANTS {
            if let Some(base) = types.names.get(variant.base) {
                let mut object = types.objects[*base].variant(variant.only);
                variant.rules.name.clone_into(&mut object.name);
                object.apply(&variant.rules);
                types.push(object);
            }
        }
        types
    }

    fn push(&mut self, object: ObjectType) {
        self.names.insert(object.name.clone(), self.objects.len());
        self.objects.push(object);
    }
}

impl ObjectType {
    /// The field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn apply(&mut self, rules: &'static TypeRules) {
        for (name, rules) in rules.fields {
            if let Some(field) = self.fields.iter_mut().find(|field| field.name == *name) {
                field.apply(rules);
            }
        }
        self.relations.extend(rules.relations);
    }

    /// A copy with only these fields and without relations, or, if `only` is empty, with everything.
    fn variant(&self, only: &[&str]) -> Self {
        let keeps = |field: &&Field| only.is_empty() || only.contains(&field.name.as_str());
        Self {
            name: String::new(),
            fields: self.fields.iter().filter(keeps).cloned().collect(),
            relations: if only.is_empty() { self.relations.clone() } else { Vec::new() },
        }
    }
}

/// The kind with this name in the table, such as `string`, `[]EnvVar` or `Container`.
pub(crate) fn kind(text: &str) -> Kind {
    Kind::parse(text, &|name| TYPES.names.get(name).copied())
}

/// All types of objects.
pub(crate) fn objects() -> &'static [ObjectType] {
    &TYPES.objects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_for_a_type_and_a_field_of_the_table() {
        for rules in rules::TABLES.into_iter().flatten().chain(VARIANTS.iter().map(|variant| &variant.rules)) {
            let object = objects().iter().find(|object| object.name == rules.name).expect(rules.name);
            for (field, _) in rules.fields {
                assert!(object.field(field).is_some(), "{}.{field}", rules.name);
            }
        }
    }
}
