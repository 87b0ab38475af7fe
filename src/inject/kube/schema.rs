//! The types of the fields of a Pod, as types of expressions, and the types of results that a field accepts. It reads
//! the table of [`types`](super::types). It does not check values; [`checker`](super::checker) does.

use crate::inject::expr::Objects;
use crate::inject::expr::types::{ObjectFields, Type};
use crate::inject::kube::types::{self, Kind, ObjectType};

/// The objects that expressions read.
pub(crate) fn objects() -> Objects {
    let object = |name: &str| types::kind(name).object().map(|object| object as &dyn ObjectFields);
    Objects { pod: Some(&Root::Pod), container: object("Container"), namespace: Some(&Root::Namespace) }
}

impl ObjectFields for ObjectType {
    fn name(&self) -> &str {
        &self.name
    }

    fn field(&self, name: &str) -> Option<Type> {
        Self::field(self, name).map(|field| of_kind(&field.kind))
    }

    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }
}

/// An object whose fields are not in the table.
#[derive(Debug)]
enum Root {
    Pod,
    Namespace,
}

impl ObjectFields for Root {
    fn name(&self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
        }
    }

    fn field(&self, name: &str) -> Option<Type> {
        match (self, name) {
            (_, "apiVersion" | "kind") => Some(Type::String),
            (_, "metadata") => Some(of_kind(&types::kind("ObjectMeta"))),
            (Self::Pod, "spec") => Some(of_kind(&types::kind("PodSpec"))),
            (Self::Pod, "status") | (Self::Namespace, "spec" | "status") => Some(Type::Dyn),
            _ => None,
        }
    }

    fn names(&self) -> Vec<&'static str> {
        vec!["apiVersion", "kind", "metadata", "spec", "status"]
    }
}

/// The type of the values of a field.
fn of_kind(kind: &Kind) -> Type {
    match kind {
        Kind::String | Kind::Time => Type::String,
        Kind::Boolean => Type::Bool,
        Kind::Int32 | Kind::Int64 => Type::Int,
        // A quantity can be written as a number.
        Kind::IntOrString | Kind::Quantity | Kind::Any => Type::Dyn,
        Kind::List(item) => Type::list(of_kind(item)),
        Kind::Map(value) => Type::map(of_kind(value)),
        Kind::Object(_) => kind.object().map_or(Type::Dyn, |object| Type::Object(object)),
    }
}

/// Returns false for a path in `object` or `container` with a field that is not in the table. `[]` is an index.
pub(crate) fn knows(path: &[String]) -> bool {
    let objects = objects();
    let root = match path.first().map(String::as_str) {
        Some("object") => objects.pod,
        Some("container") => objects.container,
        _ => None,
    };
    let mut kind = root.map_or(Type::Dyn, Type::Object);
    for step in path.iter().skip(1) {
        kind = match &kind {
            Type::Object(fields) => match fields.field(step) {
                Some(kind) => kind,
                None => return false,
            },
            Type::List(item) => Type::clone(item),
            _ => return true,
        };
    }
    true
}

/// Returns true if some result of the type `result` is a value of the kind. Where the kind is a string, numbers and
/// booleans are converted. Null drops the field or the item.
pub(crate) fn accepts(kind: &Kind, result: &Type) -> bool {
    let any = |types: &[Type]| types.iter().any(|accepted| accepted.overlaps(result));
    match (kind, result) {
        (_, Type::Dyn | Type::Any(_) | Type::Null)
        | (Kind::Any, _)
        | (Kind::Object(_) | Kind::Map(_), Type::Object(_))
        | (Kind::Object(_), Type::Map(_)) => true,
        (Kind::String, _) => result.is_scalar(),
        (Kind::Boolean, _) => any(&[Type::Bool]),
        (Kind::Int32 | Kind::Int64, _) => any(&[Type::Int, Type::Uint]),
        (Kind::IntOrString, _) => any(&[Type::Int, Type::Uint, Type::String]),
        (Kind::Quantity, _) => any(&[Type::Number, Type::Uint, Type::String]),
        (Kind::Time, _) => any(&[Type::String]),
        (Kind::List(item), Type::List(result)) => accepts(item, result),
        (Kind::Map(value), Type::Map(map)) => accepts(value, &map.1),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_have_the_types_of_the_table() {
        let mut kind = Type::Object(objects().pod.expect("the pod"));
        for (step, expected) in [
            ("spec", "PodSpec"),
            ("containers", "list(Container)"),
            ("", "Container"),
            ("ports", "list(ContainerPort)"),
            ("", "ContainerPort"),
            ("containerPort", "int"),
        ] {
            kind = match kind {
                Type::Object(fields) => fields.field(step).expect(step),
                Type::List(item) => Type::clone(&item),
                other => panic!("{other}"),
            };
            assert_eq!(kind.to_string(), expected);
        }
        for root in [Root::Pod, Root::Namespace] {
            assert!(root.names().into_iter().all(|name| root.field(name).is_some()), "{root:?}");
        }
    }

    #[test]
    fn paths_with_an_unknown_field_are_found() {
        for (path, expected) in [
            ("object.spec.containers.[].livenessProbe", true),
            ("object.metadata.labels.any", true),
            ("object.spec.newField", false),
            ("container.ports.[].newField", false),
            ("values.X", true),
        ] {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            assert_eq!(knows(&path), expected, "{path:?}");
        }
    }

    #[test]
    fn fields_accept_results_of_their_types() {
        let texts = Type::list(Type::String);
        for (kind, accepted, rejected) in [
            ("string", &[Type::Int, Type::Bool, Type::Dyn, Type::Null][..], &[texts.clone(), Type::map(Type::Int)][..]),
            ("boolean", &[Type::Bool], &[Type::String, Type::Int]),
            ("int32", &[Type::Int, Type::Number], &[Type::String, Type::Double]),
            ("int-or-string", &[Type::String, Type::Int], &[Type::Bool, Type::Double]),
            ("quantity", &[Type::String, Type::Double], &[Type::Bool, texts.clone()]),
            ("[]string", &[texts.clone(), Type::list(Type::Int)], &[Type::String, Type::list(texts.clone())]),
            ("{}string", &[Type::map(Type::Int)], &[texts.clone(), Type::map(texts.clone())]),
            ("SecurityContext", &[Type::map(Type::Dyn)], &[Type::String]),
            ("any", &[texts], &[]),
        ] {
            let kind = types::kind(kind);
            assert!(accepted.iter().all(|result| accepts(&kind, result)), "{kind:?}");
            assert!(!rejected.iter().any(|result| accepts(&kind, result)), "{kind:?}");
        }
    }
}
