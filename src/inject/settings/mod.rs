//! What an installation sets: the keys of annotations and labels.

pub mod keys;
