//! What several commands share: the manifests they read, the settings they take, and how they decide on pods.

pub(super) mod decider;
pub(super) mod manifests;
pub(super) mod settings;
