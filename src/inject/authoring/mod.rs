//! Tools for template authors: lint, the JSON Schema, and the validation of template ConfigMaps. Decisions on pods do
//! not depend on this module.

pub mod config_map;
mod effect;
pub mod lint;
pub mod schema;
