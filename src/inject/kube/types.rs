//! The types of the known fields of a Pod, in a table that is generated from the OpenAPI document of Kubernetes. The
//! module does not know what the fields mean.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Maps the name of a type to its fields, as pairs of a name and a type, in the order of the file.
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

/// The fields of the type `kind`, as pairs of a name and a type; `None` if the table does not contain the type.
pub(crate) fn fields_of(kind: &str) -> Option<&'static [(&'static str, &'static str)]> {
    TABLE.get(kind).map(Vec::as_slice)
}
