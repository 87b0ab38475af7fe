//! The static types of expressions, with the words of CEL for them. A type describes all values that an expression can
//! have. [`infer`](super::infer) finds the type of an expression. The module does not know syntax trees.

use std::fmt;
use std::sync::Arc;

/// An object whose members are known, such as a Container. The table of Pod types implements it, in a higher layer.
pub(crate) trait ObjectFields: fmt::Debug + Sync {
    /// The name of the type, such as `Container`.
    fn name(&self) -> &str;
    /// The type of the member `name`; `None` if the object has no such member.
    fn field(&self, name: &str) -> Option<Type>;
    /// The names of all members.
    fn names(&self) -> Vec<&str>;
}

/// A static type.
#[derive(Clone, Debug)]
pub(crate) enum Type {
    /// Any value.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    /// An integer or a double: a parameter of the type `number` has the type of the number that the pod sets.
    Number,
    String,
    Bytes,
    Duration,
    /// A type of a function library, such as `quantity` or `url`.
    Library(&'static str),
    Optional(Arc<Type>),
    List(Arc<Type>),
    /// The types of the keys and of the values.
    Map(Arc<(Type, Type)>),
    /// A map with known members.
    Object(&'static dyn ObjectFields),
    /// A placeholder in the signature of a function: the same type wherever it occurs.
    Any(char),
}

impl Type {
    pub(crate) fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    pub(crate) fn map(value: Self) -> Self {
        Self::Map(Arc::new((Self::String, value)))
    }

    /// Returns true if a value of this type can be a map.
    pub(crate) fn may_be_map(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any(_) | Self::Map(_) | Self::Object(_))
    }

    /// Returns true if a value of this type is a string, a number or a boolean. The template writes them as text where
    /// a field is a string.
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self, Self::Bool | Self::Int | Self::Uint | Self::Double | Self::Number | Self::String)
    }

    /// The type as it is written in JSON after the evaluation. `None` if it has no JSON form.
    pub(crate) fn as_json(&self) -> Option<Self> {
        match self {
            Self::Library("quantity") => Some(Self::String),
            Self::Library(_) | Self::Optional(_) | Self::Duration | Self::Bytes => None,
            other => Some(other.clone()),
        }
    }

    /// Returns true if some value can have both types.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let is_null = |kind: &Self| matches!(kind, Self::Null);
        match (self, other) {
            (Self::Dyn | Self::Any(_), _)
            | (_, Self::Dyn | Self::Any(_))
            | (Self::Number, Self::Int | Self::Double | Self::Number)
            | (Self::Int | Self::Double, Self::Number) => true,
            // An empty list is a list of everything.
            (Self::List(one), Self::List(other)) => is_null(one) || is_null(other) || one.overlaps(other),
            (Self::Map(one), Self::Map(other)) => {
                one.0.overlaps(&other.0) && (is_null(&one.1) || is_null(&other.1) || one.1.overlaps(&other.1))
            }
            (Self::Optional(one), Self::Optional(other)) => one.overlaps(other),
            (Self::Object(_), Self::Map(map)) | (Self::Map(map), Self::Object(_)) => map.0.overlaps(&Self::String),
            (Self::Object(one), Self::Object(other)) => one.name() == other.name(),
            (Self::Library(one), Self::Library(other)) => one == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The type of a value that has one of the two types. Null stands for no value, so it does not widen a type.
    pub(crate) fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Null, known) | (known, Self::Null) => known.clone(),
            (Self::Int | Self::Double | Self::Number, Self::Int | Self::Double | Self::Number)
                if std::mem::discriminant(self) != std::mem::discriminant(other) =>
            {
                Self::Number
            }
            (Self::List(one), Self::List(other)) => Self::list(one.or(other)),
            (Self::Map(one), Self::Map(other)) => Self::Map(Arc::new((one.0.or(&other.0), one.1.or(&other.1)))),
            (Self::Object(one), Self::Object(two)) if one.name() == two.name() => self.clone(),
            (Self::Object(_) | Self::Optional(_) | Self::Library(_), _) if !self.is_same_library(other) => Self::Dyn,
            _ if std::mem::discriminant(self) == std::mem::discriminant(other) => self.clone(),
            _ => Self::Dyn,
        }
    }

    fn is_same_library(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Library(one), Self::Library(other)) if one == other)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Number => "number",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "duration",
            Self::Library(name) => name,
            Self::Optional(value) => return write!(f, "optional({value})"),
            // The items of an empty list have no type.
            Self::List(item) if matches!(**item, Self::Null) => "list(dyn)",
            Self::List(item) => return write!(f, "list({item})"),
            Self::Map(map) if matches!(map.1, Self::Null) => return write!(f, "map({}, dyn)", map.0),
            Self::Map(map) => return write!(f, "map({}, {})", map.0, map.1),
            Self::Object(object) => object.name(),
            Self::Any(letter) => return write!(f, "{letter}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_cel() {
        let nested = Type::list(Type::map(Type::Optional(Arc::new(Type::Number))));
        assert_eq!(nested.to_string(), "list(map(string, optional(number)))");
    }

    #[test]
    fn a_value_of_one_of_two_types() {
        for (one, other, either) in [
            (Type::Int, Type::Int, "int"),
            (Type::Int, Type::Double, "number"),
            (Type::Number, Type::Int, "number"),
            (Type::Int, Type::String, "dyn"),
            (Type::Null, Type::String, "string"),
            (Type::list(Type::Int), Type::list(Type::String), "list(dyn)"),
            (Type::map(Type::Int), Type::map(Type::Int), "map(string, int)"),
            (Type::Library("url"), Type::Library("url"), "url"),
            (Type::Library("url"), Type::Library("ip"), "dyn"),
            (Type::Optional(Arc::new(Type::Int)), Type::Int, "dyn"),
        ] {
            assert_eq!(one.or(&other).to_string(), either);
            assert_eq!(other.or(&one).to_string(), either);
        }
    }
}
