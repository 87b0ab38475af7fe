//! Why a decision came out as it did. One enum serves logs, metrics, warnings, denials, the CLI and
//! the docs, so that they cannot disagree. It knows nothing of pods or templates.

use std::fmt;

/// The stage of a decision at which a reason is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Phase 1: the pod, before any template.
    Pod,
    /// A template is looked up in the catalog.
    LookUp,
    /// Whether the pod may have the template.
    Permission,
    /// The values of the template's parameters.
    Parameters,
    /// The template is evaluated for the pod.
    Evaluation,
    /// The template is planned beside the pod and the other templates.
    Plan,
    /// The patched pod as a whole.
    Size,
    /// What came of it.
    Result,
    /// A template ConfigMap is validated; no pod is decided on.
    Validation,
}

impl Stage {
    /// The stages that each chosen template goes through. A problem at one of them keeps the template from the next.
    pub const OF_TEMPLATES: &[Self] = &[Self::LookUp, Self::Permission, Self::Parameters, Self::Evaluation, Self::Plan];
}

/// Declares the reasons with the stage at which each is found, what each means and what to do about it.
macro_rules! reasons {
    ($($name:ident ($stage:ident): $means:literal, $remedy:literal;)+) => {
        /// The reason of a [`Decision`](super::Decision) or of one template's outcome in it.
        ///
        /// The names are part of the interface: people search for them and alert on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $means] $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The reason's name as it appears everywhere, e.g. `UnknownTemplate`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// The stage of a decision at which it is found.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self {
                    $(Self::$name => Stage::$stage,)+
                }
            }

            /// What it means, and what to do, a sentence each.
            #[must_use]
            pub fn explanation(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$name => ($means, $remedy),)+
                }
            }
        }
    };
}

reasons! {
    Injected (Result): "The templates were added.",
        "Nothing.";
    NotAPodCreate (Pod): "The review is not about the creation of a pod: another kind, operation or a subresource.",
        "Nothing; narrow the rules of the webhook configuration if there are many.";
    InvalidPod (Pod): "The pod is not a pod: metadata, annotations or spec have the wrong shape.",
        "Mend the pod; the message says what is wrong with it.";
    MirrorPod (Pod): "A mirror pod: the kubelet deletes one whose spec was changed.",
        "Nothing.";
    ExcludedNamespace (Pod): "The pod's namespace is excluded by a setting of the injector.",
        "Move the pod, or change `--exclude-namespace`.";
    InvalidRequest (Pod): "The request annotation does not follow its grammar.",
        "Correct the annotation; the message quotes it and shows the grammar.";
    OptedOut (Pod): "The pod says `false`.",
        "Nothing.";
    NotRequested (Pod): "The pod asks for nothing.",
        "Nothing; add the annotation to the pod template if it should.";
    AlreadyInjected (Result): "Every template the pod asks for is in it already.",
        "Nothing: this is what a second round looks like.";
    UnknownTemplate (LookUp): "A template of that name, or that version of it, does not exist.",
        "Correct the name, or add the template. The message has the nearest and the known names, and why a broken one is broken.";
    NotAllowed (Permission): "The pod may not have the template, or not in this version.",
        "Ask who keeps the template: `allowedNamespaces`, `required` or a profile stands against it.";
    InvalidParameter (Parameters): "A parameter is unknown, missing, or not what it must be.",
        "Correct the annotation that the message names.";
    ExpressionFailed (Evaluation): "An expression of the template failed, or gave a value of the wrong type.",
        "Change the template: guard what pods may lack with `has`, `label`, `annotation` or `get`.";
    HostNetwork (Plan): "The template declares ports and the pod uses the host's network.",
        "Do without `hostNetwork`, or say `hostNetwork: allow` in the template.";
    WindowsPod (Plan): "The template needs fields that Windows pods must not have.",
        "Use a template made for Windows.";
    Conflict (Plan): "Something of the template is taken: a container, volume, path, port of the node, or pod-level field.",
        "Rename one of the two; the message names both. `onConflict: Keep` leaves out what clashes.";
    MissingVolume (Plan): "The template mounts a volume that neither it nor the pod has.",
        "Add the volume to the pod or to the template.";
    ResourcesExceeded (Evaluation): "The pod has resources of its own, and a container of the template does not fit into them.",
        "Leave the resource out of the pod's own, or do without the template.";
    TooLarge (Size): "The pod would exceed a size limit of the API server.",
        "Make the pod smaller, or ask for less.";
    NothingToAdd (Result): "Nothing of the template is missing from the pod, or nothing of it applies.",
        "Nothing.";
    Trace (Result): "The pod asks for the trace of its decision, on a dry run.",
        "Nothing: the message is the answer.";
    ValidTemplate (Validation): "A template ConfigMap can be used.",
        "Nothing.";
    InvalidTemplate (Validation): "A template ConfigMap holds text that is no template.",
        "Correct the text; the message shows the place.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
