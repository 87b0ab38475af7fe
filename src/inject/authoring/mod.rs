//! Tools for template authors: lint, the JSON Schema, the pods of dry runs, and the validation of template ConfigMaps.
//! Decisions on pods do not depend on this module.

pub mod config_map;
pub mod dry_run;
mod effect;
pub mod lint;
pub mod schema;
