//! Why a decision came out as it did. One enum serves logs, metrics, warnings, denials, the CLI and
//! the docs, so that they cannot disagree. It knows nothing of pods or templates.

use std::fmt;

/// The reason of a [`Decision`](super::Decision) or of one template's outcome in it.
///
/// The names are part of the interface: people search for them and alert on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The templates were added.
    Injected,
    /// The review is not about the creation of a pod: another kind, operation or a subresource.
    NotAPodCreate,
    /// The pod is not a pod: metadata, annotations or spec have the wrong shape.
    InvalidPod,
    /// A mirror pod: the kubelet deletes one whose spec was changed.
    MirrorPod,
    /// The pod's namespace is excluded by a setting of the injector.
    ExcludedNamespace,
    /// The value of `sidecar.io/inject` does not follow its grammar.
    InvalidRequest,
    /// The pod says `false`.
    OptedOut,
    /// The pod asks for nothing.
    NotRequested,
    /// Every template the pod asks for is in it already.
    AlreadyInjected,
    /// A template of that name, or that version of it, does not exist.
    UnknownTemplate,
    /// The pod may not have the template, or not in this version.
    NotAllowed,
    /// A parameter is unknown, missing, or not what it must be.
    InvalidParameter,
    /// An expression of the template failed, or gave a value of the wrong type.
    ExpressionFailed,
    /// The template declares ports and the pod uses the host's network.
    HostNetwork,
    /// The template needs fields that Windows pods must not have.
    WindowsPod,
    /// A container, volume or host port of the template is taken.
    Conflict,
    /// The template mounts a volume that neither it nor the pod has.
    MissingVolume,
    /// The pod has resources of its own, and a container of the template does not fit into them.
    ResourcesExceeded,
    /// The pod would exceed a size limit of the API server.
    TooLarge,
    /// Nothing of the template is missing from the pod.
    NothingToAdd,
    /// The pod asks for the trace of its decision, on a dry run.
    Trace,
    /// A template ConfigMap can be used.
    ValidTemplate,
    /// A template ConfigMap holds text that is no template.
    InvalidTemplate,
}

impl Reason {
    /// The reason's name as it appears everywhere, e.g. `UnknownTemplate`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "Injected",
            Self::NotAPodCreate => "NotAPodCreate",
            Self::InvalidPod => "InvalidPod",
            Self::MirrorPod => "MirrorPod",
            Self::ExcludedNamespace => "ExcludedNamespace",
            Self::InvalidRequest => "InvalidRequest",
            Self::OptedOut => "OptedOut",
            Self::NotRequested => "NotRequested",
            Self::AlreadyInjected => "AlreadyInjected",
            Self::UnknownTemplate => "UnknownTemplate",
            Self::NotAllowed => "NotAllowed",
            Self::InvalidParameter => "InvalidParameter",
            Self::ExpressionFailed => "ExpressionFailed",
            Self::HostNetwork => "HostNetwork",
            Self::WindowsPod => "WindowsPod",
            Self::Conflict => "Conflict",
            Self::MissingVolume => "MissingVolume",
            Self::ResourcesExceeded => "ResourcesExceeded",
            Self::TooLarge => "TooLarge",
            Self::NothingToAdd => "NothingToAdd",
            Self::Trace => "Trace",
            Self::ValidTemplate => "ValidTemplate",
            Self::InvalidTemplate => "InvalidTemplate",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
