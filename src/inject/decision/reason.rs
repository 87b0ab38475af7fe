//! Why a decision came out as it did. One enum serves logs, metrics, warnings, denials, the CLI and
//! the docs, so that they cannot disagree. It knows nothing of pods or templates.

use std::fmt;

/// Declares the reasons with what each means and what to do about it.
macro_rules! reasons {
    ($($name:ident: $means:literal, $remedy:literal;)+) => {
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
    Injected: "The templates were added.",
        "Nothing.";
    NotAPodCreate: "The review is not about the creation of a pod: another kind, operation or a subresource.",
        "Nothing; narrow the rules of the webhook configuration if there are many.";
    InvalidPod: "The pod is not a pod: metadata, annotations or spec have the wrong shape.",
        "Mend the pod; the message says what is wrong with it.";
    MirrorPod: "A mirror pod: the kubelet deletes one whose spec was changed.",
        "Nothing.";
    ExcludedNamespace: "The pod's namespace is excluded by a setting of the injector.",
        "Move the pod, or change `--exclude-namespace`.";
    InvalidRequest: "The request annotation does not follow its grammar.",
        "Correct the annotation; the message quotes it and shows the grammar.";
    OptedOut: "The pod says `false`.",
        "Nothing.";
    NotRequested: "The pod asks for nothing.",
        "Nothing; add the annotation to the pod template if it should.";
    AlreadyInjected: "Every template the pod asks for is in it already.",
        "Nothing: this is what a second round looks like.";
    UnknownTemplate: "A template of that name, or that version of it, does not exist.",
        "Correct the name, or add the template. The message has the nearest and the known names, and why a broken one is broken.";
    NotAllowed: "The pod may not have the template, or not in this version.",
        "Ask who keeps the template: `allowedNamespaces`, `required` or a profile stands against it.";
    InvalidParameter: "A parameter is unknown, missing, or not what it must be.",
        "Correct the annotation that the message names.";
    ExpressionFailed: "An expression of the template failed, or gave a value of the wrong type.",
        "Change the template: guard what pods may lack with `has`, `label`, `annotation` or `get`.";
    HostNetwork: "The template declares ports and the pod uses the host's network.",
        "Do without `hostNetwork`, or say `hostNetwork: allow` in the template.";
    WindowsPod: "The template needs fields that Windows pods must not have.",
        "Use a template made for Windows.";
    Conflict: "Something of the template is taken: a container, volume, path, port of the node, or pod-level field.",
        "Rename one of the two; the message names both. `onConflict: Keep` leaves out what clashes.";
    MissingVolume: "The template mounts a volume that neither it nor the pod has.",
        "Add the volume to the pod or to the template.";
    ResourcesExceeded: "The pod has resources of its own, and a container of the template does not fit into them.",
        "Leave the resource out of the pod's own, or do without the template.";
    TooLarge: "The pod would exceed a size limit of the API server.",
        "Make the pod smaller, or ask for less.";
    NothingToAdd: "Nothing of the template is missing from the pod, or nothing of it applies.",
        "Nothing.";
    Trace: "The pod asks for the trace of its decision, on a dry run.",
        "Nothing: the message is the answer.";
    ValidTemplate: "A template ConfigMap can be used.",
        "Nothing.";
    InvalidTemplate: "A template ConfigMap holds text that is no template.",
        "Correct the text; the message shows the place.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
