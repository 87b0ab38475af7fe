//! What Kubernetes demands of a pod, as data and pure functions: how names are spelled, what quantities mean, which
//! fields a Pod has, what the API server fills in and what it rejects. It knows neither templates nor decisions.

pub(crate) mod checker;
pub mod defaults;
pub mod names;
pub mod quantity;
pub(crate) mod rules;
pub(crate) mod types;

/// The most that the keys and values of an object's annotations may have together, in bytes (`TotalAnnotationSizeLimitB`).
pub(crate) const MAX_ANNOTATIONS: usize = 256 * 1024;
