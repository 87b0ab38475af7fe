//! The part of a template that ends up in pods: its lists and metadata, constant where they can be and with
//! compiled expressions where they cannot. Evaluated for one pod it gives [`Additions`]. It must not know the pod
//! beyond what expressions see.

pub(crate) mod additions;
pub(crate) mod app_containers;
pub(crate) mod compile;
pub(crate) mod files;
pub(crate) mod item;
pub(crate) mod pod_fields;
mod read;

use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::diagnostic::{Source, Span, shown};
use crate::inject::document::yaml::{Key, Node, Value};
use crate::inject::expr::{Expression, Names, Reads, Scope, Text};
use crate::inject::kube::names;
use crate::inject::kube::types::{Checker, PENDING};
use crate::inject::settings::keys::Keys;
use crate::inject::template::Mode;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::app_containers::AppEntry;
use crate::inject::template::body::compile::{Compiler, canonical, resolve};
use crate::inject::template::body::item::{Item, Kind};

/// The lists and metadata of a template.
#[derive(Debug, Default)]
pub(crate) struct Blueprint {
    /// What the annotations begin with that carry its files.
    files: String,
    entries: Vec<Entry>,
    labels: Pairs,
    annotations: Pairs,
    app_containers: Vec<AppEntry>,
    /// Pod-level fields, and whether they hold expressions.
    pod: Option<(Node, bool)>,
    /// What all expressions together read.
    pub(crate) reads: Reads,
}

/// Labels or annotations.
type Pairs = Vec<(Key, Words)>;

/// An item of one of the lists.
#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// The item; with expressions, what is known of it.
    item: Arc<Item>,
    condition: Option<Expression>,
    /// The text with its compiled expressions, and what it is called in messages.
    node: Option<(Node, String)>,
}

/// The value of a label or annotation.
#[derive(Debug)]
enum Words {
    Constant(String),
    Text(Arc<Text>),
}

/// Names that are taken in a template. Containers share one set, each other list has its own.
#[derive(Default)]
struct Taken {
    containers: item::Names,
    volumes: item::Names,
    secrets: item::Names,
}

impl Taken {
    fn of(&mut self, kind: Kind) -> &mut item::Names {
        match kind {
            Kind::Volume => &mut self.volumes,
            Kind::PullSecret => &mut self.secrets,
            _ => &mut self.containers,
        }
    }
}

impl Blueprint {
    /// Reads and compiles the lists and metadata of `document`.
    pub(crate) fn load(
        checker: &mut Checker<'_>,
        document: &Node,
        owner: &str,
        mode: Mode,
        names: &Names<'_>,
        keys: &Keys,
    ) -> Self {
        let mut compiler = Compiler { checker, names: *names, reads: Reads::default() };
        let sidecar = if mode == Mode::Native { Kind::NativeSidecar } else { Kind::Sidecar };
        let mut blueprint = Self { files: keys.files_of(owner), ..Self::default() };
        let mut names = Taken::default();
        for kind in [Kind::Init, sidecar, Kind::Volume, Kind::PullSecret] {
            blueprint.entries.extend(compiler.list(document.get(kind.key()), kind, &blueprint.files, names.of(kind)));
        }
        (blueprint.labels, blueprint.annotations) = compiler.metadata(document.get("metadata"), keys);
        blueprint.app_containers = app_containers::load(&mut compiler, document.get("appContainers"));
        blueprint.pod = document.get("pod").map(|node| {
            let mut dynamic = false;
            let node = compiler.strings(node, &mut dynamic);
            pod_fields::read(compiler.checker, &node);
            (node, dynamic)
        });
        blueprint.reads = compiler.reads;
        if blueprint.reads.container {
            for list in ["containers", "initContainers"] {
                blueprint.reads.object.insert(vec!["spec".to_owned(), list.to_owned()]);
            }
        }
        blueprint
    }

    /// Expressions that choose what a pod may do: image, securityContext, the source of a volume, pod-level fields.
    pub(crate) fn sensitive(&self) -> impl Iterator<Item = (Span, &'static str)> {
        let in_item = |entry: &Entry| -> Option<(Span, &'static str)> {
            let (node, _) = entry.node.as_ref()?;
            let Value::Map(fields) = &node.value else { return None };
            fields.iter().find_map(|(key, value)| {
                let what = match (entry.kind, key.name.as_str()) {
                    (Kind::Volume, "files" | "name") => return None,
                    (Kind::Volume, _) => "the source of a volume",
                    (_, "image") => "image",
                    (_, "securityContext") => "securityContext",
                    _ => return None,
                };
                Some((expression_in(value)?, what))
            })
        };
        let pod = self.pod.iter().filter_map(|(node, _)| Some((expression_in(node)?, "pod")));
        self.entries.iter().filter_map(in_item).chain(pod)
    }

    /// Whether it has a pod-level field.
    pub(crate) fn sets(&self, field: &str) -> bool {
        self.pod.as_ref().is_some_and(|(node, _)| node.get(field).is_some())
    }

    /// The names of containers that every pod gets: spelt out and without a condition.
    pub(crate) fn literal_containers(&self) -> impl Iterator<Item = &str> {
        let always = |entry: &&Entry| entry.kind.is_container() && entry.condition.is_none();
        let names = self.entries.iter().filter(always).map(|entry| entry.item.name.as_str());
        names.filter(|name| *name != PENDING)
    }

    fn containers(&self) -> impl Iterator<Item = &Item> {
        self.entries.iter().filter(|entry| entry.kind.is_container()).map(|entry| entry.item.as_ref())
    }

    /// The names of containers that are spelt out.
    pub(crate) fn container_names(&self) -> impl Iterator<Item = &str> {
        self.containers().map(|item| item.name.as_str()).filter(|name| *name != PENDING)
    }

    /// Whether an expression names a container.
    pub(crate) fn names_containers_by_expression(&self) -> bool {
        self.containers().any(|item| item.name == PENDING)
    }

    /// Whether the volume of that name is meant to be shared.
    pub(crate) fn shares(&self, volume: &str) -> bool {
        self.entries.iter().any(|entry| entry.item.shared && entry.item.name == volume)
    }

    /// Kind and name of everything with a name of its own that pods may get, and what is shared under it.
    pub(crate) fn literal_names(&self) -> impl Iterator<Item = (&'static str, String, Option<Json>)> {
        self.entries.iter().filter(|entry| entry.item.name != PENDING).filter_map(|entry| {
            let kind = match entry.kind {
                Kind::Volume => "volume",
                Kind::PullSecret => return None,
                _ => "container",
            };
            Some((kind, entry.item.name.clone(), entry.item.shared.then(|| entry.item.value.clone())))
        })
    }

    /// All that may be added, without what expressions give.
    pub(crate) fn known(&self) -> Additions {
        let mut additions = Additions::default();
        for entry in &self.entries {
            let value = without_pending(&entry.item.value);
            additions.push(entry.kind, Arc::new(Item { value, ..Item::clone(&entry.item) }));
        }
        let constant = |(key, words): &(Key, Words)| match words {
            Words::Constant(text) => Some((key.name.clone(), text.clone())),
            Words::Text(_) => None,
        };
        additions.annotations = self.annotations.iter().filter_map(constant).collect();
        if let Some((node, _)) = &self.pod {
            let source = Source::new("", "");
            let fields = Json::Object(pod_fields::read(&mut Checker::new(&source), node));
            additions.pod = without_pending(&fields).as_object().cloned().unwrap_or_default();
        }
        additions
    }

    /// What is added, if it is the same for every pod.
    pub(crate) fn constant(&self) -> Option<Additions> {
        let mut additions = Additions::default();
        for entry in &self.entries {
            if entry.condition.is_some() || entry.node.is_some() {
                return None;
            }
            additions.push(entry.kind, Arc::clone(&entry.item));
        }
        let constant = |pairs: &[(Key, Words)]| {
            let pair = |(key, words): &(Key, Words)| match words {
                Words::Constant(text) => Some((key.name.clone(), text.clone())),
                Words::Text(_) => None,
            };
            pairs.iter().map(pair).collect::<Option<Vec<_>>>()
        };
        additions.labels = constant(&self.labels)?;
        additions.annotations = constant(&self.annotations)?;
        let changes = self.app_containers.iter().map(|entry| entry.constant().cloned());
        additions.app_containers = changes.collect::<Option<Vec<_>>>()?;
        if let Some((node, dynamic)) = &self.pod {
            let source = Source::new("", "");
            additions.pod = (!dynamic).then(|| pod_fields::read(&mut Checker::new(&source), node))?;
        }
        Some(additions)
    }

    /// What is added to one pod, of which `object` holds what the expressions read.
    ///
    /// # Errors
    /// Every expression that failed or gave a value of the wrong type, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, object: &Json) -> Result<Additions, Vec<String>> {
        let (mut additions, mut problems) = (Additions::default(), Vec::new());
        let mut names = Taken::default();
        for entry in &self.entries {
            match entry.evaluate(scope, &self.files, names.of(entry.kind)) {
                Ok(Some(item)) => additions.push(entry.kind, item),
                Ok(None) => {}
                Err(why) => problems.extend(why),
            }
        }
        additions.labels = words(&self.labels, "label", scope, &mut problems);
        additions.annotations = words(&self.annotations, "annotation", scope, &mut problems);
        match self.pod.as_ref().map(|(node, _)| resolve(node, scope)) {
            Some(Ok(Some(node))) => {
                let source = Source::new("", "");
                let mut checker = Checker::of_results(&source);
                additions.pod = pod_fields::read(&mut checker, &node);
                problems.extend(checker.errors.into_iter().map(|error| error.message));
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

    /// The parts that decide what is added, for the template's hash.
    pub(crate) fn parts(&self) -> Json {
        let entry = |entry: &Entry| {
            let text = entry.node.as_ref().map_or_else(|| entry.item.value.clone(), |(node, _)| canonical(node));
            let text = serde_json::json!([text, entry.item.files, entry.item.shared]);
            let condition = entry.condition.as_ref().map(Expression::source);
            serde_json::json!([entry.kind.key(), text, format!("{:?}", entry.item.position), condition])
        };
        let pairs = |pairs: &[(Key, Words)]| -> Json {
            let pair = |(key, words): &(Key, Words)| match words {
                Words::Constant(text) => (key.name.clone(), Json::from(text.as_str())),
                Words::Text(text) => (key.name.clone(), Json::from(text.source())),
            };
            Json::Object(pairs.iter().map(pair).collect())
        };
        let entries: Vec<Json> = self.entries.iter().map(entry).collect();
        let changes: Vec<Json> = self.app_containers.iter().map(AppEntry::canonical).collect();
        let pod = self.pod.as_ref().map(|(node, _)| canonical(node));
        serde_json::json!([entries, pairs(&self.labels), pairs(&self.annotations), changes, pod])
    }
}

impl Entry {
    fn evaluate(
        &self,
        scope: &Scope<'_>,
        files: &str,
        names: &mut item::Names,
    ) -> Result<Option<Arc<Item>>, Vec<String>> {
        if let Some(condition) = &self.condition
            && !scope.holds(condition).map_err(|why| vec![why])?
        {
            return Ok(None);
        }
        let Some((node, path)) = &self.node else {
            let twice = || vec![format!("two items of the template called \"{}\" apply to this pod", self.item.name)];
            return if names.take(&self.item.name) { Ok(Some(Arc::clone(&self.item))) } else { Err(twice()) };
        };
        let Some(node) = resolve(node, scope).map_err(|why| vec![why])? else { return Ok(None) };
        let source = Source::new("", "");
        let mut checker = Checker::of_results(&source);
        let item = item::read(&mut checker, &node, self.kind, files, path, names);
        if checker.errors.is_empty() {
            Ok(item.map(|item| Arc::new(Item { position: self.item.position.clone(), ..item })))
        } else {
            Err(checker.errors.into_iter().map(|error| error.message).collect())
        }
    }
}

/// The value without what only expressions give.
fn without_pending(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let known = map.iter().filter(|(_, value)| **value != PENDING);
            known.map(|(key, value)| (key.clone(), without_pending(value))).collect()
        }
        Json::Array(items) => items.iter().filter(|item| **item != PENDING).map(without_pending).collect(),
        scalar => scalar.clone(),
    }
}

/// The place of the first expression in a node.
fn expression_in(node: &Node) -> Option<Span> {
    match &node.value {
        Value::Text(_) => Some(node.span),
        Value::List(items) => items.iter().find_map(expression_in),
        Value::Map(entries) => entries.iter().find_map(|(_, value)| expression_in(value)),
        _ => None,
    }
}

fn words(pairs: &[(Key, Words)], what: &str, scope: &Scope<'_>, problems: &mut Vec<String>) -> Vec<(String, String)> {
    let mut evaluated = Vec::with_capacity(pairs.len());
    for (key, words) in pairs {
        let text = match words {
            Words::Constant(text) => text.clone(),
            Words::Text(text) => match text.evaluate(scope) {
                Ok(Json::Null) => continue,
                Ok(Json::String(text)) => text,
                Ok(scalar @ (Json::Bool(_) | Json::Number(_))) => scalar.to_string(),
                Ok(_) => {
                    problems.push(format!("the {what} {} must be a string, not a list or a map", key.name));
                    continue;
                }
                Err(why) => {
                    problems.push(why);
                    continue;
                }
            },
        };
        if what == "label" && !names::is_label_value(&text) {
            problems.push(format!("the label {} cannot have the value \"{}\"", key.name, shown(&text, 80)));
        }
        evaluated.push((key.name.clone(), text));
    }
    evaluated
}
