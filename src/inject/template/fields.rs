//! The fields of a template: one table with the key, type, documentation and reader of each, and whether it counts for the
//! hash. Everything that lists the fields is made from this table: the reading of documents, the help for unknown keys, the
//! JSON Schema, the reference in the docs, and the hash of a template.

use crate::inject::diagnostic::nearest;
use crate::inject::document::{Key, Node, Value};
use crate::inject::expr::paths::Paths;
use crate::inject::expr::{Reads, Vocabulary};
use crate::inject::kube::checker::Checker;
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::{Body, compile};
use crate::inject::template::selector::Selector;
use crate::inject::template::words::{
    CLASHES, HOST_NETWORKS, MODES, ON_PROBLEMS, name, on_conflict, position, string, version, word,
};
use crate::inject::template::{Template, auto_inject, parameter};

/// A field of a template.
pub struct TemplateField {
    /// Its key in a template document.
    pub key: &'static str,
    /// Its type.
    pub kind: FieldKind,
    /// One or two sentences for people.
    pub documentation: &'static str,
    /// The word that means the same as no value.
    pub default: Option<&'static str>,
    /// True if it decides what pods get: then it counts for the template's hash.
    pub counts: bool,
    read: fn(&mut Reading<'_>, Option<&Node>),
}

/// The type of a field of a template. [`schema`](crate::inject::authoring::schema) has the details of each.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FieldKind {
    Constant(&'static str),
    Name,
    Version,
    Text,
    Boolean,
    /// One of a few words.
    Words(fn() -> Vec<&'static str>),
    Selector,
    Position,
    Parameters,
    Variables,
    AutoInject,
    OnConflict,
    Containers,
    AppContainers,
    Volumes,
    PullSecrets,
    Metadata,
    PodFields,
    /// Lint rules with the reasons why they are silenced.
    Silences,
}

/// The API version and kind of a template document. Both may be left out.
const HEADER: [(&str, &str); 2] = [("apiVersion", "sidecar.io/v1"), ("kind", "SidecarTemplate")];

fn words_of<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

/// A field that decides what pods get.
const fn counting(
    key: &'static str,
    kind: FieldKind,
    documentation: &'static str,
    read: fn(&mut Reading<'_>, Option<&Node>),
) -> TemplateField {
    TemplateField { key, kind, documentation, default: None, counts: true, read }
}

/// A field that does not change what a pod gets once it gets the template.
const fn other(
    key: &'static str,
    kind: FieldKind,
    documentation: &'static str,
    read: fn(&mut Reading<'_>, Option<&Node>),
) -> TemplateField {
    TemplateField { key, kind, documentation, default: None, counts: false, read }
}

/// Lists that [`Body::load`] reads together, since their names must not clash.
fn with_body(_: &mut Reading<'_>, _: Option<&Node>) {}

/// Every field, in the order in which they are read: expressions may name the parameters and variables, and annotations of
/// files begin with the name.
pub const FIELDS: [TemplateField; 23] = [
    other("apiVersion", FieldKind::Constant(HEADER[0].1), "Optional. The version of the format.", |_, _| {}),
    other("kind", FieldKind::Constant(HEADER[1].1), "Optional.", |_, _| {}),
    other(
        "name",
        FieldKind::Name,
        "The name that pods request. Default: the name of the file or ConfigMap key without its ending.",
        |reading, node| {
            reading.template.name = name(&mut reading.checker, node, reading.document, reading.default_name);
        },
    ),
    other(
        "version",
        FieldKind::Version,
        "Requested as NAME@VERSION. A string: as a number 4.10 would be 4.1.",
        |reading, node| reading.template.version = version(&mut reading.checker, node),
    ),
    other("description", FieldKind::Text, "One line for people.", |reading, node| {
        reading.template.description = node.and_then(|node| string(&mut reading.checker, node, "description"));
    }),
    other(
        "parameters",
        FieldKind::Parameters,
        "Values that a pod may set, with annotations TEMPLATE.sidecar.io/PARAMETER.",
        |reading, node| reading.template.parameters = parameter::read(&mut reading.checker, node),
    ),
    counting(
        "variables",
        FieldKind::Variables,
        "Named CEL expressions. Each may use the variables before it.",
        |reading, node| {
            let declared = reading.template.declared();
            let variables = compile::variables(&mut reading.checker, node, &declared);
            reading.template.variables = variables;
        },
    ),
    TemplateField {
        default: Some("native"),
        ..counting(
            "mode",
            FieldKind::Words(|| words_of(&MODES)),
            "How sidecars run: as init containers that keep running, or as plain containers.",
            |reading, node| {
                reading.template.mode = word(&mut reading.checker, node, "mode", &MODES).unwrap_or_default();
            },
        )
    },
    counting("sidecars", FieldKind::Containers, "Containers that keep running.", |reading, _| reading.body()),
    counting("initContainers", FieldKind::Containers, "Containers that end before the application starts.", with_body),
    counting("appContainers", FieldKind::AppContainers, "Changes to the application's own containers.", with_body),
    counting("volumes", FieldKind::Volumes, "Volumes.", with_body),
    counting("imagePullSecrets", FieldKind::PullSecrets, "Secrets with registry credentials.", with_body),
    counting(
        "metadata",
        FieldKind::Metadata,
        "Labels and annotations. Each is added if the pod does not have its key.",
        with_body,
    ),
    counting("pod", FieldKind::PodFields, "Pod-level fields.", with_body),
    counting("position", FieldKind::Position, "The place of its containers in their list.", |reading, node| {
        reading.template.position = position(&mut reading.checker, node);
    }),
    counting(
        "onConflict",
        FieldKind::OnConflict,
        "What happens if the pod already has an item. Fail: the template is not applied. Keep: the pod's item stays.",
        |reading, node| reading.template.on_conflict = on_conflict(&mut reading.checker, node),
    ),
    counting(
        "hostNetwork",
        FieldKind::Words(|| words_of(&HOST_NETWORKS)),
        "Pods on the network of the node. Default: refused if the template declares ports.",
        |reading, node| {
            let known = word(&mut reading.checker, node, "hostNetwork", &HOST_NETWORKS);
            reading.template.host_network = known.unwrap_or_default();
        },
    ),
    other(
        "onProblem",
        FieldKind::Words(|| words_of(&ON_PROBLEMS)),
        "What a problem means: Deny denies the pod, Skip leaves the template out. Default: Deny if the pod named the template.",
        |reading, node| {
            reading.template.on_problem = word(&mut reading.checker, node, "onProblem", &ON_PROBLEMS);
        },
    ),
    other(
        "autoInject",
        FieldKind::AutoInject,
        "Pods that get the template without a request, in namespaces with the policy webhook.",
        |reading, node| {
            let auto = node.map(|node| auto_inject::read(&mut reading.checker, node, &reading.template.variables));
            reading.template.auto_inject = auto;
        },
    ),
    other(
        "required",
        FieldKind::Boolean,
        "Problems always deny the pod, and `false` on the pod does not stop autoInject.",
        |reading, node| {
            let is_true = |node: &Node| reading.checker.json(node, "boolean", "required") == true;
            reading.template.required = node.is_some_and(is_true);
        },
    ),
    other(
        "allowedNamespaces",
        FieldKind::Selector,
        "Namespaces whose pods may request it. Default: all.",
        |reading, node| {
            let selector = node.map(|node| Selector::read(&mut reading.checker, node, "allowedNamespaces"));
            reading.template.allowed_namespaces = selector.unwrap_or_default();
        },
    ),
    other("lint", FieldKind::Silences, "Lint rules that are silenced, each with its reason.", |reading, node| {
        reading.template.silenced = silenced(node)
    }),
];

/// The kinds of conflict in `onConflict`, and the answers.
#[must_use]
pub fn conflict_words() -> Vec<&'static str> {
    words_of(&CLASHES)
}

/// A template on the way from its document.
pub(super) struct Reading<'r> {
    pub(super) checker: Checker,
    pub(super) template: Template,
    document: &'r Node,
    default_name: &'r str,
    keys: &'r Keys,
}

impl<'r> Reading<'r> {
    /// Reads `document`. Errors are in the checker.
    pub(super) fn of(document: &'r Node, default_name: &'r str, keys: &'r Keys) -> Self {
        let (checker, template) = (Checker::default(), Template::default());
        let mut reading = Self { checker, template, document, default_name, keys };
        reading.read();
        reading
    }

    fn read(&mut self) {
        let Value::Map(entries) = &self.document.value else {
            let message = format!("a template is a map, not {}", self.document.value.kind());
            return self.checker.error(self.document.span, message, "");
        };
        if !self.has_known_header() {
            return;
        }
        for (key, _) in entries {
            self.check_key(key);
        }
        for field in &FIELDS {
            (field.read)(self, self.document.get(field.key));
        }
        self.template.hash = super::hash(&self.canonical().to_string());
    }

    /// The lists, metadata and pod-level fields, which need the name, the parameters and the variables.
    fn body(&mut self) {
        let Self { checker, template, document, keys, .. } = self;
        let declared = template.declared();
        let variables: Vec<String> = template.variables.iter().map(|(name, _)| name.clone()).collect();
        let vocabulary = Vocabulary { parameters: &declared, variables: &variables, container: false };
        let mut body = Body::load(checker, document, &template.name, template.mode, &vocabulary, keys);
        let mut reads = Reads::default();
        std::mem::swap(&mut reads, &mut body.reads);
        for (_, expression) in &template.variables {
            reads.merge(&expression.reads);
        }
        body.reads = reads;
        template.paths = Paths::new(&body.reads.object);
        template.constant = body.constant().map(std::sync::Arc::new);
        template.body = body;
    }

    /// An unknown version of the format is one error instead of many unknown keys.
    fn has_known_header(&mut self) -> bool {
        for (key, expected) in HEADER {
            let Some(node) = self.document.get(key) else { continue };
            if !matches!(&node.value, Value::String(text) if text == expected) {
                let help = format!("write {key}: {expected}, or leave it out");
                let message = format!("this {key} is not known to this version of the injector");
                self.checker.error(node.span, message, help);
                return false;
            }
        }
        true
    }

    fn check_key(&mut self, key: &Key) {
        let (name, keys) = (key.name.as_str(), || FIELDS.iter().map(|field| field.key));
        if keys().any(|known| known == name) {
            return;
        }
        if name == "containers" {
            let help = "`sidecars` adds a container, `appContainers` changes the application's own";
            return self.checker.error(key.span, "a template has no key \"containers\"", help);
        }
        let help = match nearest(name, keys()) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => format!("known keys: {}", keys().collect::<Vec<_>>().join(", ")),
        };
        self.checker.error(key.span, format!("unknown key \"{name}\""), help);
    }

    /// The fields that decide what pods get, as canonical JSON. A field that is absent, null or has its default does not
    /// count, so that a new field changes no hash.
    fn canonical(&self) -> serde_json::Value {
        let counted = FIELDS.iter().filter(|field| field.counts).filter_map(|field| {
            let node = self.document.get(field.key)?;
            let is_default = match &node.value {
                Value::Null => true,
                Value::String(word) => Some(word.as_str()) == field.default,
                _ => false,
            };
            (!is_default).then(|| (field.key.to_owned(), node.source_json()))
        });
        let mut canonical = serde_json::Value::Object(counted.collect());
        // The order in which the keys were written does not matter.
        canonical.sort_all_objects();
        canonical
    }
}

/// The lint rules that a template silences: those with a reason.
fn silenced(node: Option<&Node>) -> Vec<String> {
    let has_reason = |node: &Node| matches!(&node.value, Value::String(reason) if !reason.trim().is_empty());
    let entries = node.map(Node::entries).unwrap_or_default().iter();
    let rules = entries.filter(|(key, reason)| has_reason(reason) && key.name != "invalid");
    rules.map(|(key, _)| key.name.clone()).collect()
}
