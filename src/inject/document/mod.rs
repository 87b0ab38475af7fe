//! Documents as text with places: YAML in, checked nodes out.

pub mod yaml;
