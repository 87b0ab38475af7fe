//! The body of a template: the lists, metadata and pod-level fields that are added to pods. Parts without expressions
//! are constant, the others have compiled expressions. Evaluated for one pod, the body becomes [`Additions`]. This
//! module depends only on the parts of the pod that expressions read.

pub(crate) mod additions;
pub(crate) mod app_containers;
pub(crate) mod compile;
mod entry;
mod files;
pub(crate) mod item;
mod item_checks;
mod item_read;
mod metadata;
pub(crate) mod pod_fields;

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::Span;
use crate::inject::document::Node;
use crate::inject::expr::{Reads, Scope, Vocabulary};
use crate::inject::kube::checker::Checker;
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::app_containers::AppEntry;
use crate::inject::template::body::compile::{Compiler, resolve};
use crate::inject::template::body::entry::{BodyEntry, first_expression, load_list};
use crate::inject::template::body::item::{ItemKind, TakenNames};
use crate::inject::template::body::metadata::MetadataMap;
use crate::inject::template::words::Mode;

/// The lists, metadata and pod-level fields of a template.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The prefix of the keys of annotations that contain its files.
    files: String,
    entries: Vec<BodyEntry>,
    labels: MetadataMap,
    annotations: MetadataMap,
    app_containers: Vec<AppEntry>,
    /// Pod-level fields, and true if they have expressions.
    pod: Option<(Node, bool)>,
    /// Everything that the expressions read.
    pub(crate) reads: Reads,
}

/// The names that are taken in a template. Containers share one set, each other list has its own.
#[derive(Default)]
struct TakenByKind {
    containers: TakenNames,
    volumes: TakenNames,
    secrets: TakenNames,
}

impl TakenByKind {
    fn of(&mut self, kind: ItemKind) -> &mut TakenNames {
        match kind {
            ItemKind::Volume => &mut self.volumes,
            ItemKind::PullSecret => &mut self.secrets,
            _ => &mut self.containers,
        }
    }
}

impl Body {
    /// Reads and compiles the body of `document`, a template named `owner`. `vocabulary` has the names that expressions
    /// can use; `keys` are the annotation keys of the installation. Errors go to `checker`.
    pub(crate) fn load(
        checker: &mut Checker,
        document: &Node,
        owner: &str,
        mode: Mode,
        vocabulary: &Vocabulary<'_>,
        keys: &Keys,
    ) -> Self {
        let mut compiler = Compiler { checker, vocabulary: *vocabulary, reads: Reads::default() };
        let sidecar = if mode == Mode::Native { ItemKind::NativeSidecar } else { ItemKind::Sidecar };
        let mut body = Self { files: keys.files_of(owner), ..Self::default() };
        let mut names = TakenByKind::default();
        for kind in [ItemKind::Init, sidecar, ItemKind::Volume, ItemKind::PullSecret] {
            let list = document.get(kind.key());
            body.entries.extend(load_list(&mut compiler, list, kind, &body.files, names.of(kind)));
        }
        [body.labels, body.annotations] = metadata::load(&mut compiler, document.get("metadata"), keys);
        body.app_containers = app_containers::load(&mut compiler, document.get("appContainers"));
        body.pod = document.get("pod").map(|node| {
            let (node, is_dynamic) = compiler.strings(node);
            pod_fields::read(compiler.checker, node.clone());
            (node, is_dynamic)
        });
        body.reads = compiler.reads;
        if body.reads.container {
            for list in ["containers", "initContainers"] {
                body.reads.object.insert(vec!["spec".to_owned(), list.to_owned()]);
            }
        }
        body
    }

    /// The expressions in fields that affect the pod's privileges, with those fields: image, securityContext, the
    /// source of a volume, and pod-level fields.
    pub(crate) fn sensitive_expressions(&self) -> impl Iterator<Item = (Span, &'static str)> {
        let pod = self.pod.iter().filter_map(|(node, _)| Some((first_expression(node)?, "pod")));
        self.entries.iter().filter_map(BodyEntry::sensitive_expression).chain(pod)
    }

    /// True if it has the pod-level field.
    pub(crate) fn sets(&self, field: &str) -> bool {
        self.pod.as_ref().is_some_and(|(node, _)| node.get(field).is_some())
    }

    fn containers(&self) -> impl Iterator<Item = &BodyEntry> {
        self.entries.iter().filter(|entry| entry.kind.is_container())
    }

    /// The names of the containers that every pod gets: written literally and without a condition.
    pub(crate) fn unconditional_containers(&self) -> impl Iterator<Item = &str> {
        self.containers().filter(|entry| entry.condition.is_none()).filter_map(|entry| entry.name.as_deref())
    }

    /// The names of containers that are written literally.
    pub(crate) fn container_names(&self) -> impl Iterator<Item = &str> {
        self.containers().filter_map(|entry| entry.name.as_deref())
    }

    /// True if an expression names a container.
    pub(crate) fn names_containers_by_expression(&self) -> bool {
        self.containers().any(|entry| entry.name.is_none())
    }

    /// True if the volume of that name is shared with other templates.
    pub(crate) fn shares(&self, volume: &str) -> bool {
        self.entries.iter().any(|entry| entry.item.shared && entry.name.as_deref() == Some(volume))
    }

    /// Every literal name of a container or volume: the kind, the name, and the JSON of the volume if it is shared.
    pub(crate) fn literal_names(&self) -> impl Iterator<Item = (&'static str, String, Option<Json>)> {
        self.entries.iter().filter_map(|entry| {
            let kind = match entry.kind {
                ItemKind::Volume => "volume",
                ItemKind::PullSecret => return None,
                _ => "container",
            };
            Some((kind, entry.name.clone()?, entry.item.shared.then(|| entry.item.value.clone())))
        })
    }

    /// All possible additions, without the values that only expressions set. Labels and `appContainers` are left out.
    pub(crate) fn known(&self) -> Additions {
        let mut additions = Additions { annotations: self.annotations.known(), ..Additions::default() };
        for entry in &self.entries {
            additions.push(entry.kind, Arc::clone(&entry.item));
        }
        if let Some((node, _)) = &self.pod {
            additions.pod = pod_fields::read(&mut Checker::default(), node.clone());
        }
        additions
    }

    /// The additions, if they are the same for every pod.
    pub(crate) fn constant(&self) -> Option<Additions> {
        let mut additions = Additions::default();
        for entry in &self.entries {
            additions.push(entry.kind, Arc::clone(entry.constant()?));
        }
        additions.labels = self.labels.constant()?;
        additions.annotations = self.annotations.constant()?;
        let changes = self.app_containers.iter().map(|entry| entry.constant().cloned());
        additions.app_containers = changes.collect::<Option<Vec<_>>>()?;
        if let Some((node, is_dynamic)) = &self.pod {
            additions.pod = (!is_dynamic).then(|| pod_fields::read(&mut Checker::default(), node.clone()))?;
        }
        Some(additions)
    }

    /// Evaluates the additions for one pod. `scope` holds the values that expressions can read; `object` holds the
    /// members of the pod that they read.
    ///
    /// # Errors
    /// Every expression that failed or returned a value of the wrong type, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, object: &Json) -> Result<Additions, Vec<String>> {
        let (mut additions, mut problems) = (Additions::default(), Vec::new());
        let mut names = TakenByKind::default();
        for entry in &self.entries {
            match entry.evaluate(scope, &self.files, names.of(entry.kind)) {
                Ok(Some(item)) => additions.push(entry.kind, item),
                Ok(None) => {}
                Err(why) => problems.extend(why),
            }
        }
        additions.labels = self.labels.evaluate("label", scope, &mut problems);
        additions.annotations = self.annotations.evaluate("annotation", scope, &mut problems);
        match self.pod.as_ref().map(|(node, _)| resolve(node, scope)) {
            Some(Ok(Some(node))) => {
                let mut checker = Checker::of_results();
                additions.pod = pod_fields::read(&mut checker, node);
                problems.extend(checker.messages(scope.cluster()));
            }
            Some(Err(why)) => problems.push(why),
            Some(Ok(None)) | None => {}
        }
        let containers = [&object["spec"]["containers"], &object["spec"]["initContainers"]];
        for entry in &self.app_containers {
            match entry.evaluate(scope, containers) {
                Ok(change) => additions.app_containers.push(change),
                Err(why) => problems.extend(why),
            }
        }
        if problems.is_empty() { Ok(additions) } else { Err(problems) }
    }
}
