//! The rules of Kubernetes for a pod, as data and pure functions: the syntax of names, the value of quantities, the
//! fields of a Pod, the defaults that the API server sets and the pods that it rejects. It does not know about
//! templates or decisions.

pub(crate) mod checker;
pub mod defaults;
pub mod examples;
pub(crate) mod formats;
pub mod gates;
pub mod names;
pub mod paths;
pub mod quantity;
pub(crate) mod rules;
pub(crate) mod schema;
pub(crate) mod types;

/// Maximum total length of the keys and values of an object's annotations, in bytes (`TotalAnnotationSizeLimitB`).
pub(crate) const MAX_ANNOTATIONS: usize = 256 * 1024;
