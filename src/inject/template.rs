//! A template: what one document says, checked and compiled. What is the same for every pod becomes JSON bytes
//! here, once, so that a request only copies it. It must not know pods or catalogs.

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::blueprint::{self, Additions, Blueprint};
use super::diagnostic::{Diagnostic, Source, nearest, shown};
use super::expr::{Expression, Names, Reads, Scope};
use super::parameter::{self, Parameter};
use super::paths::Paths;
use super::pod_types::Checker;
use super::select::{RESERVED, is_version};
use super::syntax;
use super::yaml::{self, Node, Value};

/// What is added to a pod under one name.
#[derive(Debug)]
pub struct Template {
    /// Its name, a DNS-1123 label.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<String>,
    /// One line for people.
    pub description: Option<String>,
    /// Whether sidecars are native or plain containers.
    pub mode: Mode,
    /// Where its containers go; `None` is the default of each list.
    pub position: Option<Position>,
    /// What a problem means for the pod; `None` depends on who chose the template.
    pub on_problem: Option<OnProblem>,
    /// Whether pods on the host's network may have it.
    pub host_network: HostNetwork,
    /// What pods may choose.
    pub parameters: Vec<Parameter>,
    variables: Vec<(String, Expression)>,
    blueprint: Blueprint,
    paths: Paths,
    /// What is added, where it is the same for every pod.
    constant: Option<Arc<Additions>>,
    /// Identifies everything above that affects a pod: 16 hexadecimal digits.
    pub hash: String,
}

/// How sidecars run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As init containers with `restartPolicy: Always` (KEP-753).
    #[default]
    Native,
    /// As containers beside the application's.
    Container,
}

impl Mode {
    /// The word in templates and in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Container => "container",
        }
    }
}

/// Where containers are put in their list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before the pod's own.
    First,
    /// Behind the pod's own.
    Last,
    /// Right before the container of that name.
    Before(String),
    /// Right behind it.
    After(String),
}

/// What a problem with the template means for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnProblem {
    /// The pod is refused.
    Deny,
    /// The template is left out, with a warning.
    Skip,
}

/// What `hostNetwork` says about pods that use the node's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostNetwork {
    /// Refused if the template declares ports: they would become ports of the node.
    #[default]
    RefusePorts,
    /// Always refused.
    Refuse,
    /// Allowed.
    Allow,
}

/// A template and the warnings of its text.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled template.
    pub template: Template,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

const KEYS: [&str; 16] = [
    "apiVersion",
    "kind",
    "name",
    "version",
    "description",
    "mode",
    "position",
    "onProblem",
    "hostNetwork",
    "sidecars",
    "initContainers",
    "volumes",
    "imagePullSecrets",
    "metadata",
    "parameters",
    "variables",
];
const NOT_YET: [&str; 6] = ["autoInject", "required", "allowedNamespaces", "onConflict", "appContainers", "pod"];

impl Template {
    /// Reads one template document. `default_name` names it if the document does not.
    ///
    /// # Errors
    /// Every problem found, each with its place; a document with any is not used.
    pub fn load(source: &Source<'_>, default_name: &str) -> Result<Loaded, Vec<Diagnostic>> {
        let node = yaml::parse(source).map_err(|error| vec![error])?;
        let mut checker = Checker::new(source);
        let template = read(&mut checker, &node, default_name);
        if checker.errors.is_empty() {
            Ok(Loaded { template, warnings: checker.warnings })
        } else {
            Err(checker.errors)
        }
    }

    /// `NAME` or `NAME@VERSION`.
    #[must_use]
    pub fn display(&self) -> String {
        match &self.version {
            Some(version) => format!("{}@{version}", self.name),
            None => self.name.clone(),
        }
    }

    /// What its expressions read.
    pub(super) fn reads(&self) -> &Reads {
        &self.blueprint.reads
    }

    /// The members of the pod that its expressions read.
    pub(super) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The variables that its expressions may name.
    pub(super) fn variables(&self) -> &[(String, Expression)] {
        &self.variables
    }

    /// What is added to any pod, if it is the same for every one.
    pub(super) fn constant(&self) -> Option<&Arc<Additions>> {
        self.constant.as_ref()
    }

    /// What is added to the pod that `scope` shows.
    ///
    /// # Errors
    /// Every expression that failed, each a sentence without full stop.
    pub(super) fn evaluate(&self, scope: &Scope<'_>) -> Result<Additions, Vec<String>> {
        self.blueprint.evaluate(scope)
    }

    fn fingerprint(&self) -> String {
        let variables: Vec<[&str; 2]> = self.variables.iter().map(|(name, e)| [name.as_str(), e.source()]).collect();
        let mut parts = Map::new();
        parts.insert("mode".into(), self.mode.as_str().into());
        parts.insert("position".into(), format!("{:?}", self.position).into());
        parts.insert("hostNetwork".into(), format!("{:?}", self.host_network).into());
        parts.insert("variables".into(), serde_json::json!(variables));
        parts.insert("blueprint".into(), self.blueprint.parts());
        // Sorted, so that the order in which someone wrote the keys does not matter.
        let mut canonical = Json::Object(parts);
        canonical.sort_all_objects();
        hash(&canonical.to_string())
    }
}

/// 16 hexadecimal digits that stand for `text`.
pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn read(checker: &mut Checker<'_>, node: &Node, default_name: &str) -> Template {
    let Value::Map(entries) = &node.value else {
        checker.error(node.span, format!("a template is a map, not {}", node.value.kind()), "");
        return Template::empty(default_name);
    };
    let get = |name: &str| entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    if !header_is_known(checker, get("apiVersion"), get("kind")) {
        return Template::empty(default_name);
    }
    for (key, _) in entries {
        unknown_key(checker, key);
    }
    let mode = word(checker, get("mode"), "mode", &[("native", Mode::Native), ("container", Mode::Container)]);
    let mode = mode.unwrap_or_default();
    let parameters = parameter::read(checker, get("parameters"));
    let declared: Vec<(&str, bool)> = parameters.iter().map(|p| (p.name.as_str(), p.is_map())).collect();
    let variables = blueprint::variables(checker, get("variables"), &declared);
    let known: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let names = Names { parameters: &declared, variables: &known, container: false };
    let mut blueprint = Blueprint::load(checker, node, mode, &names);
    for (_, expression) in &variables {
        blueprint.reads.merge(&expression.reads);
    }
    let mut template = Template {
        name: name(checker, get("name"), node, default_name),
        version: version(checker, get("version")),
        description: get("description").and_then(|node| string(checker, node, "description")),
        mode,
        position: position(checker, get("position")),
        on_problem: word(
            checker,
            get("onProblem"),
            "onProblem",
            &[("Deny", OnProblem::Deny), ("Skip", OnProblem::Skip)],
        ),
        host_network: word(
            checker,
            get("hostNetwork"),
            "hostNetwork",
            &[("refuse", HostNetwork::Refuse), ("allow", HostNetwork::Allow)],
        )
        .unwrap_or_default(),
        constant: blueprint.constant().map(Arc::new),
        paths: Paths::new(&blueprint.reads.object),
        parameters,
        variables,
        blueprint,
        hash: String::new(),
    };
    template.hash = template.fingerprint();
    template
}

impl Template {
    fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: None,
            description: None,
            mode: Mode::Native,
            position: None,
            on_problem: None,
            host_network: HostNetwork::RefusePorts,
            parameters: Vec::new(),
            variables: Vec::new(),
            blueprint: Blueprint::default(),
            paths: Paths::default(),
            constant: None,
            hash: String::new(),
        }
    }
}

/// A version of the format that is not known gives one message instead of many unknown keys.
fn header_is_known(checker: &mut Checker<'_>, api_version: Option<&Node>, kind: Option<&Node>) -> bool {
    for (node, key, expected) in [(api_version, "apiVersion", "sidecar.io/v1"), (kind, "kind", "SidecarTemplate")] {
        let Some(node) = node else { continue };
        if !matches!(&node.value, Value::String(text) if text == expected) {
            let help = format!("write {key}: {expected}, or leave it out");
            checker.error(node.span, format!("this {key} is not known to this version of the injector"), help);
            return false;
        }
    }
    true
}

fn unknown_key(checker: &mut Checker<'_>, key: &yaml::Key) {
    let name = key.name.as_str();
    if KEYS.contains(&name) {
        return;
    }
    if NOT_YET.contains(&name) {
        checker.error(key.span, format!("\"{name}\" is not supported yet"), "");
    } else if name == "containers" {
        let help = "`sidecars` adds a container; changing the application's own containers is not supported yet";
        checker.error(key.span, "a template has no key \"containers\"", help);
    } else {
        let help = match nearest(name, KEYS) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => format!("known keys: {}", KEYS.join(", ")),
        };
        checker.error(key.span, format!("unknown key \"{name}\""), help);
    }
}

fn name(checker: &mut Checker<'_>, node: Option<&Node>, document: &Node, default_name: &str) -> String {
    let (name, span) = match node {
        Some(node) => (string(checker, node, "name").unwrap_or_else(|| "unnamed".to_owned()), node.span),
        None => (default_name.to_owned(), document.span),
    };
    if RESERVED.contains(&name.as_str()) {
        checker.error(span, format!("\"{name}\" is reserved and cannot name a template"), "");
    } else if !syntax::is_label(&name) {
        let message = format!("\"{}\" cannot name a template", shown(&name, 80));
        checker.error(span, message, "use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit");
    }
    name
}

fn version(checker: &mut Checker<'_>, node: Option<&Node>) -> Option<String> {
    let node = node?;
    if let (Value::Number(_), Some(written)) = (&node.value, &node.written) {
        let message = "version must be a string; as a number 4.10 would be 4.1";
        checker.error(node.span, message, format!("write version: \"{written}\""));
        return None;
    }
    let version = string(checker, node, "version")?;
    if !is_version(&version) {
        let help = "use 1 to 63 of A-Z, a-z, 0-9, -, . and _, beginning with a letter or digit";
        checker.error(node.span, "this cannot be a version", help);
    }
    Some(version)
}

/// Reads where containers go: `first`, `last`, `{before: NAME}` or `{after: NAME}`.
pub(super) fn position(checker: &mut Checker<'_>, node: Option<&Node>) -> Option<Position> {
    let Some(Node { value: Value::Map(entries), span, .. }) = node else {
        return word(checker, node, "position", &[("first", Position::First), ("last", Position::Last)]);
    };
    if let [(key, Node { value: Value::String(name), .. })] = &entries[..] {
        match key.name.as_str() {
            "before" => return Some(Position::Before(name.clone())),
            "after" => return Some(Position::After(name.clone())),
            _ => {}
        }
    }
    checker.error(*span, "position is first, last, {before: NAME} or {after: NAME}", "");
    None
}

/// One of a few words.
fn word<T: Clone>(checker: &mut Checker<'_>, node: Option<&Node>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let node = node?;
    let known = match &node.value {
        Value::String(text) => words.iter().find(|(word, _)| word == text),
        _ => None,
    };
    if known.is_none() {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        checker.error(node.span, format!("{key} is one of {}", list.join(", ")), "");
    }
    known.map(|(_, value)| value.clone())
}

fn string(checker: &mut Checker<'_>, node: &Node, key: &str) -> Option<String> {
    match checker.json(node, "string", key) {
        Json::String(text) => Some(text),
        _ => None,
    }
}
