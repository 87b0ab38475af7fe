//! For people who write templates: lint, the JSON Schema, and the validation of template ConfigMaps. Nothing that decides
//! on pods depends on it.

pub mod config_map;
pub mod lint;
pub mod schema;
