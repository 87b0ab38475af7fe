//! Code that several commands share: the client of the API server, reading manifests, flags for settings, and decisions on pods from manifests.

pub(super) mod api;
pub(super) mod decider;
pub(super) mod manifests;
pub(super) mod settings;
