//! Manifests and template files: finds the pods, templates, shared values and namespaces in them. The module reads
//! documents. It does not decide on pods.

pub mod template_files;
pub mod value_files;
pub mod workload;
