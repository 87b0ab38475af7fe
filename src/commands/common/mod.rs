//! Code that several commands share: reading manifests, flags for settings, and decisions on pods from manifests.

pub(super) mod decider;
pub(super) mod manifests;
pub(super) mod settings;
