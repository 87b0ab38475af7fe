//! The reasons of decisions. One enum is used by logs, metrics, warnings, denials, the command line and the
//! documentation, so that all of them agree. It does not depend on pods or templates.

use std::fmt;

/// The stage of a decision at which a reason can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Phase 1: the pod is checked, before any template.
    Pod,
    /// A template is looked up in the catalog.
    LookUp,
    /// The permission of the pod to use the template is checked.
    Permission,
    /// The values of the template's parameters are read.
    Parameters,
    /// The template is evaluated for the pod.
    Evaluation,
    /// The template is placed in the pod, together with the other templates.
    Plan,
    /// The size of the patched pod is checked.
    Size,
    /// The result of the decision.
    Result,
    /// A template ConfigMap is validated; no pod is decided on.
    Validation,
}

impl Stage {
    /// The stages of each chosen template, in order. A template with a problem does not reach the next stage.
    pub const OF_TEMPLATES: &[Self] = &[Self::LookUp, Self::Permission, Self::Parameters, Self::Evaluation, Self::Plan];
}

/// Declares the reasons, each with its stage, its meaning and its remedy.
macro_rules! reasons {
    ($($name:ident ($stage:ident): $means:literal, $remedy:literal;)+) => {
        /// The reason of a [`Decision`](super::Decision) or of one template's outcome in it.
        ///
        /// The names are part of the interface: users search for them, and alerts match them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $means] $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in messages, warnings, logs, metrics and traces, e.g. `UnknownTemplate`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// The stage of a decision at which the reason is found.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self {
                    $(Self::$name => Stage::$stage,)+
                }
            }

            /// The meaning and the remedy, each as Markdown text that ends with a full stop.
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
    NotAPodCreate (Pod): "The review is not for the creation of a pod: it has another kind, another operation or a subresource.",
        "Nothing. If there are many, narrow the rules of the webhook configuration.";
    InvalidPod (Pod): "The object is not a valid pod: its metadata, annotations or spec have the wrong type.",
        "Fix the pod; the message names the error.";
    MirrorPod (Pod): "The pod is a mirror pod. The kubelet deletes a mirror pod whose spec was changed.",
        "Nothing.";
    ExcludedNamespace (Pod): "A setting of the injector excludes the pod's namespace.",
        "Use another namespace, or change `--exclude-namespace`.";
    InvalidRequest (Pod): "The request annotation does not follow its grammar.",
        "Correct the annotation; the message quotes it and shows the grammar.";
    OptedOut (Pod): "The value of the request annotation is `false`.",
        "Nothing.";
    NotRequested (Pod): "The pod requests no templates.",
        "Nothing. To inject templates, add the request annotation to the pod template.";
    AlreadyInjected (Result): "The pod already has every template that it requests.",
        "Nothing. This is the expected result when the API server calls the webhook a second time.";
    UnknownTemplate (LookUp): "The requested template, or the requested version of it, does not exist.",
        "Correct the name, or add the template. The message lists known names and the most similar one. For an invalid template it shows the error.";
    NotAllowed (Permission): "The pod is not allowed to use the template, or not in this version.",
        "Ask the owner of the template. `allowedNamespaces`, `required` or a profile restricts its use.";
    InvalidParameter (Parameters): "A parameter is unknown or missing, or its value is not valid.",
        "Correct the annotation that the message names.";
    ExpressionFailed (Evaluation): "An expression of the template failed, or returned a value of the wrong type.",
        "Change the template: use `has`, `label`, `annotation` or `get` to read a field that a pod can lack.";
    HostNetwork (Plan): "The pod uses the host's network, and the template declares ports or rejects such pods.",
        "Remove `hostNetwork` from the pod, or set `hostNetwork: allow` in the template.";
    WindowsPod (Plan): "The template sets fields that Windows pods must not have.",
        "Use a template made for Windows.";
    Conflict (Plan): "The template adds something that the pod or another template already has: a container, volume, path, port of the node, or pod-level field.",
        "Rename one of the two; the message names both. With `onConflict: Keep`, the injector keeps the existing one.";
    MissingVolume (Plan): "A container mounts a volume that neither the pod nor a template has.",
        "Add the volume to the pod or to the template.";
    ResourcesExceeded (Evaluation): "The pod sets pod-level resources, and a container of the template does not fit into them.",
        "Remove the resource from the pod-level resources, or do not request the template.";
    TooLarge (Size): "The pod would exceed a size limit of the API server.",
        "Make the pod smaller, or request fewer templates.";
    NothingToAdd (Result): "The pod already has every part of the template, or no part applies to the pod.",
        "Nothing.";
    Trace (Result): "A dry run of the pod requests the trace of its decision.",
        "Nothing. The message contains the trace.";
    ValidTemplate (Validation): "The templates of a ConfigMap are valid.",
        "Nothing.";
    InvalidTemplate (Validation): "A ConfigMap contains a text that is not a valid template, or a version of a template that another ConfigMap defines.",
        "Correct the text; the message shows the place of the error.";
    VersionChanged (Validation): "Requests for a template without a version get another version than before.",
        "Nothing. To decide which version they get, set `default: true` in it.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
