//! The types of a Pod's known fields: the table that is generated from the OpenAPI document of Kubernetes. It does not know
//! what the fields mean.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Type name -> (field, type) in the order of the table.
type Table = HashMap<&'static str, Vec<(&'static str, &'static str)>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    let mut current = "";
    for line in include_str!("pod_types.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ").and_then(|field| field.split_once(' ')) {
            Some(field) => table.entry(current).or_default().push(field),
            None => {
                current = line;
                table.entry(current).or_default();
            }
        }
    }
    table
});

/// The fields of a type with their types, if it is one of the table's.
pub(crate) fn fields_of(kind: &str) -> Option<&'static [(&'static str, &'static str)]> {
    TABLE.get(kind).map(Vec::as_slice)
}
