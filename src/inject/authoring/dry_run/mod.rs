//! The pods with which a template is tried in a cluster, and the meaning of the answers of the API server. The module
//! does not send requests.

pub mod matrix;
mod pairs;
pub mod pod_kind;
pub mod refusal;
