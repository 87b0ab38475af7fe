//! The fields of a template: one table with the key, type, documentation and reader of each, and a mark for the fields
//! that are part of the hash. Every list of the fields uses this table: the reading of documents, the help for unknown
//! keys, the JSON Schema, the reference in the docs, and the hash of a template. This module does not depend on
//! catalogs or pods.

use crate::inject::diagnostic::{Diagnostic, LocatedError, Source, nearest};
use crate::inject::document::{Key, Node, Value, yaml};
use crate::inject::expr::paths::Paths;
use crate::inject::kube::checker::Checker;
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::{Body, compile};
use crate::inject::template::selector::Selector;
use crate::inject::template::words::{
    CLASHES, HOST_NETWORKS, MODES, ON_PROBLEMS, is_true, name, on_conflict, position, string, version, word,
};
use crate::inject::template::{Template, auto_inject, hash, parameter};

/// A field of a template.
pub struct TemplateField {
    /// The key in a template document.
    pub key: &'static str,
    /// The type.
    pub kind: FieldKind,
    /// A description of one or two sentences.
    pub documentation: &'static str,
    /// The word that has the same effect as no value.
    pub default: Option<&'static str>,
    /// True if it affects what pods get. Then it is part of the template's hash.
    pub counts: bool,
    read: fn(&mut Reading<'_>, Option<&Node>),
}

/// The type of a field of a template. The JSON Schema has the details of each.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FieldKind {
    Constant(&'static str),
    Name,
    Version,
    Text,
    Boolean,
    /// A fixed set of words.
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

/// The API version and kind of a template document. Both are optional.
const HEADER: [(&str, &str); 2] = [("apiVersion", "sidecar.io/v1"), ("kind", "SidecarTemplate")];

/// The words of a table of words and their meanings.
pub(crate) fn words_of<T>(words: &[(&'static str, T)]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}

/// A field that affects what pods get.
const fn counting(
    key: &'static str,
    kind: FieldKind,
    documentation: &'static str,
    read: fn(&mut Reading<'_>, Option<&Node>),
) -> TemplateField {
    TemplateField { counts: true, ..other(key, kind, documentation, read) }
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

/// The reader of lists that [`Body::load`] reads together, since their names must be unique across lists.
fn with_body(_: &mut Reading<'_>, _: Option<&Node>) {}

/// All fields, in the order in which they are read. Expressions can use the parameters and variables, and annotations
/// of files begin with the name, so those come first.
pub const FIELDS: &[TemplateField] = &[
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
    other(
        "default",
        FieldKind::Boolean,
        "If true, a request without a version gets this version. Default: false.",
        |reading, node| reading.template.is_default = is_true(&mut reading.checker, node, "default"),
    ),
    other("description", FieldKind::Text, "A one-line description.", |reading, node| {
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
            let names = reading.template.vocabulary(&declared);
            let variables = compile::variables(&mut reading.checker, node, &names);
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
        "The behavior if the pod already has an item. Fail: the template is not applied. Keep: the pod's item stays.",
        |reading, node| reading.template.on_conflict = on_conflict(&mut reading.checker, node),
    ),
    counting(
        "hostNetwork",
        FieldKind::Words(|| words_of(&HOST_NETWORKS)),
        "Pods on the network of the node. Default: rejected if the template declares ports.",
        |reading, node| {
            let known = word(&mut reading.checker, node, "hostNetwork", &HOST_NETWORKS);
            reading.template.host_network = known.unwrap_or_default();
        },
    ),
    other(
        "onProblem",
        FieldKind::Words(|| words_of(&ON_PROBLEMS)),
        "The effect of a problem: Deny denies the pod, Skip omits the template. Default: Deny if the pod names it.",
        |reading, node| {
            reading.template.on_problem = word(&mut reading.checker, node, "onProblem", &ON_PROBLEMS);
        },
    ),
    other(
        "autoInject",
        FieldKind::AutoInject,
        "Pods that get the template without a request, in namespaces with the policy webhook.",
        |reading, node| {
            let names = reading.template.vocabulary(&[]);
            let auto = node.map(|node| auto_inject::read(&mut reading.checker, node, &names));
            reading.template.auto_inject = auto;
        },
    ),
    other(
        "required",
        FieldKind::Boolean,
        "Problems always deny the pod, and `false` on the pod does not stop autoInject.",
        |reading, node| reading.template.required = is_true(&mut reading.checker, node, "required"),
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
        reading.template.silenced = silenced(node);
    }),
];

/// The words of `onConflict`.
#[must_use]
pub fn conflict_words() -> Vec<&'static str> {
    words_of(&CLASHES)
}

/// A loaded template with the warnings about its document.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled template.
    pub template: Template,
    /// Probable mistakes, each with its place.
    pub warnings: Vec<Diagnostic>,
    /// Probable mistakes in expressions, each with its place.
    pub doubts: Vec<Diagnostic>,
}

impl Template {
    /// Reads one template document. `default_name` is the template's name if the document does not set one; `keys` are
    /// the annotation keys of the installation.
    ///
    /// # Errors
    /// Every error in the document, each with its place. A document with an error is not used.
    ///
    /// ```
    /// use sidecar_injector::inject::diagnostic::Source;
    /// use sidecar_injector::inject::settings::keys::Keys;
    /// use sidecar_injector::inject::template::Template;
    ///
    /// let load = |text| Template::load(&Source::new("logs.yaml", text), "logs", &Keys::default());
    /// let loaded = load("sidecars: [{name: logs, image: 'logs:1'}]").unwrap();
    /// assert_eq!(loaded.template.name, "logs");
    ///
    /// let errors = load("sidecars:\n- name: logs\n").unwrap_err();
    /// assert_eq!(errors[0].one_line(), "logs.yaml:2:3: sidecars[0] has no image");
    /// ```
    pub fn load(source: &Source<'_>, default_name: &str, keys: &Keys) -> Result<Loaded, Vec<Diagnostic>> {
        let document = yaml::parse(source).map_err(|error| vec![error])?;
        let Reading { checker, mut template, .. } = Reading::of(&document, default_name, keys);
        let diagnostics = |errors: Vec<LocatedError>| errors.into_iter().map(|error| source.diagnostic(error));
        if !checker.errors.is_empty() {
            return Err(diagnostics(checker.errors).collect());
        }
        let sensitive = template.body.sensitive_expressions().map(|(span, field)| {
            source.error(span, format!("an expression in {field} is only allowed for the profile privileged"))
        });
        template.sensitive = sensitive.collect();
        template.gates = checker.gates;
        let warnings = diagnostics(checker.warnings).map(Diagnostic::warning).collect();
        let doubts = diagnostics(checker.doubts).map(Diagnostic::warning).collect();
        Ok(Loaded { template, warnings, doubts })
    }
}

/// A template while its document is read.
struct Reading<'r> {
    checker: Checker,
    template: Template,
    document: &'r Node,
    default_name: &'r str,
    keys: &'r Keys,
}

impl<'r> Reading<'r> {
    /// Reads `document`. `default_name` is the template's name if the document does not set one. Errors are in
    /// `checker`.
    fn of(document: &'r Node, default_name: &'r str, keys: &'r Keys) -> Self {
        let (checker, template) = (Checker::default(), Template::default());
        let mut reading = Self { checker, template, document, default_name, keys };
        reading.read();
        reading
    }

    fn read(&mut self) {
        let Value::Map(entries) = &self.document.value else {
            let message = format!("a template must be a map, not {}", self.document.value.kind());
            return self.checker.error(self.document.span, message, "");
        };
        if !self.has_known_header() {
            return;
        }
        for (key, _) in entries {
            self.check_key(key);
        }
        for field in FIELDS {
            (field.read)(self, self.document.get(field.key));
        }
        self.template.hash = hash(&self.canonical().to_string());
    }

    /// Reads the lists, metadata and pod-level fields, which need the name, the parameters and the variables.
    fn body(&mut self) {
        let Self { checker, template, document, keys, .. } = self;
        let declared = template.declared();
        let vocabulary = template.vocabulary(&declared);
        let mut body = Body::load(checker, document, &template.name, template.mode, &vocabulary, keys);
        for (_, expression) in &template.variables {
            body.reads.merge(&expression.reads);
        }
        template.paths = Paths::new(&body.reads.object);
        template.constant = body.constant().map(std::sync::Arc::new);
        template.body = body;
    }

    /// Returns true if `apiVersion` and `kind` are supported or absent. An unknown version of the format is one error
    /// instead of many unknown keys.
    fn has_known_header(&mut self) -> bool {
        for (key, expected) in HEADER {
            let Some(node) = self.document.get(key) else { continue };
            if !matches!(&node.value, Value::String(text) if text == expected) {
                let help = format!("write {key}: {expected}, or omit it");
                let message = format!("this version of the injector does not support this {key}");
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

    /// The fields that affect what pods get, as canonical JSON. A field that is absent, null or has its default is left
    /// out, so that a new field does not change existing hashes.
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
        // The order of keys in the document has no effect on pods.
        canonical.sort_all_objects();
        canonical
    }
}

/// The ids of the lint rules that a template silences with a reason. The rule `invalid` cannot be silenced.
fn silenced(node: Option<&Node>) -> Vec<String> {
    let has_reason = |node: &Node| matches!(&node.value, Value::String(reason) if !reason.trim().is_empty());
    let entries = node.map(Node::entries).unwrap_or_default().iter();
    let rules = entries.filter(|(key, reason)| has_reason(reason) && key.name != "invalid");
    rules.map(|(key, _)| key.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_do_not_change_what_a_pod_gets_do_not_change_the_hash() {
        let hash = |more: &str| {
            let text = format!("sidecars: [{{name: a, image: 'i:1'}}]\n{more}");
            Template::load(&Source::new("t", &text), "a", &Keys::default()).expect("a template").template.hash
        };
        assert_eq!(hash("default: true"), hash(""));
        assert_eq!(hash("version: '1'\ndefault: false\nrequired: true"), hash(""));
        assert_ne!(hash("mode: container"), hash(""));
    }
}
