//! Manifests and template files as people write them: where the pods, templates, shared values and namespaces are in them.
//! It reads documents and does not decide on pods.

pub mod template_files;
pub mod value_files;
pub mod workload;
