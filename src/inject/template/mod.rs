//! A template: what one document says, checked and compiled. What is the same for every pod becomes JSON bytes
//! here, once, so that a request only copies it. It must not know pods or catalogs.

mod auto_inject;
pub(crate) mod body;
mod fields;
pub mod parameter;
pub mod pod_security;
pub mod selector;

use std::sync::Arc;

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::inject::diagnostic::{Diagnostic, Source, nearest};
use crate::inject::document::yaml::{self, Node, Value};
use crate::inject::expr::paths::Paths;
use crate::inject::expr::{Expression, Names, Reads, Scope};
use crate::inject::kube::types::Checker;
use crate::inject::settings::keys::Keys;
use crate::inject::template::body::additions::Additions;
use crate::inject::template::body::{Blueprint, compile};
use crate::inject::template::fields::{name, on_conflict, string, version, word};
use crate::inject::template::parameter::Parameter;
use crate::inject::template::pod_security::Profile;
use crate::inject::template::selector::Selector;

pub use crate::inject::template::body::item::Position;
pub use auto_inject::AutoInject;
pub(crate) use fields::position;
pub use fields::{Clash, HostNetwork, Mode, OnConflict, OnProblem};

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
    /// Which pods it chooses itself.
    pub auto_inject: Option<AutoInject>,
    /// Problems always deny, and `false` does not stop its `autoInject`.
    pub required: bool,
    /// Namespaces whose pods may ask for it; without requirements all.
    pub allowed_namespaces: Selector,
    /// What is done where the pod has something already.
    pub on_conflict: OnConflict,
    /// What pods may choose.
    pub parameters: Vec<Parameter>,
    variables: Vec<(String, Expression)>,
    blueprint: Blueprint,
    paths: Paths,
    /// What is added, where it is the same for every pod.
    constant: Option<Arc<Additions>>,
    /// What its source is held to.
    pub profile: Profile,
    /// Rules of lint that it breaks on purpose.
    silenced: Vec<String>,
    /// Expressions where a profile other than privileged allows none.
    pub(crate) sensitive: Vec<Diagnostic>,
    /// Identifies everything above that affects a pod: 16 hexadecimal digits.
    pub hash: String,
}

/// A template and the warnings of its text.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled template.
    pub template: Template,
    /// What is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

const KEYS: [&str; 23] = [
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
    "onConflict",
    "appContainers",
    "pod",
    "autoInject",
    "required",
    "allowedNamespaces",
    "lint",
];
impl Template {
    /// Reads one template document. `default_name` names it if the document does not; `keys` are the installation's.
    ///
    /// # Errors
    /// Every problem found, each with its place; a document with any is not used.
    pub fn load(source: &Source<'_>, default_name: &str, keys: &Keys) -> Result<Loaded, Vec<Diagnostic>> {
        let node = yaml::parse(source).map_err(|error| vec![error])?;
        let mut checker = Checker::new(source);
        let template = read(&mut checker, &node, default_name, keys);
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
    pub(crate) fn reads(&self) -> &Reads {
        &self.blueprint.reads
    }

    /// Whether it breaks a rule of lint on purpose, and says why.
    #[must_use]
    pub fn silences(&self, rule: &str) -> bool {
        self.silenced.iter().any(|silenced| silenced == rule)
    }

    /// The first thing in it, expressions left aside, that a level of the Pod Security Standards does not allow.
    #[must_use]
    pub fn beyond(&self, profile: Profile) -> Option<String> {
        pod_security::violation(profile, &self.blueprint.known(), &Json::Null)
    }

    /// Whether it chooses the pod's ServiceAccount.
    #[must_use]
    pub fn sets_service_account(&self) -> bool {
        self.blueprint.sets("serviceAccountName")
    }

    /// Whether it cannot be decided on without knowing more of a namespace than its name.
    #[must_use]
    pub fn needs_namespaces(&self) -> bool {
        let auto = self.auto_inject.as_ref();
        let condition = auto.and_then(|auto| auto.condition.as_ref());
        self.allowed_namespaces.needs_labels()
            || auto.is_some_and(|auto| auto.namespaces.needs_labels())
            || condition.is_some() && auto.is_some_and(|auto| auto.reads_namespace)
            || self.blueprint.reads.namespace
    }

    /// Kind and name of everything with a name of its own that pods may get, and what is shared under it.
    pub(crate) fn literal_names(&self) -> impl Iterator<Item = (&'static str, String, Option<Json>)> {
        self.blueprint.literal_names()
    }

    /// The names of its containers that every pod gets.
    pub(crate) fn literal_containers(&self) -> impl Iterator<Item = &str> {
        self.blueprint.literal_containers()
    }

    /// The names of its containers that are spelt out, also of those that only some pods get.
    pub(crate) fn container_names(&self) -> impl Iterator<Item = &str> {
        self.blueprint.container_names()
    }

    /// Whether an expression names one of its containers.
    pub(crate) fn names_containers_by_expression(&self) -> bool {
        self.blueprint.names_containers_by_expression()
    }

    /// Whether it means to share a volume.
    pub(crate) fn shares(&self, volume: &str) -> bool {
        self.blueprint.shares(volume)
    }

    /// The members of the pod that its expressions read.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The variables that its expressions may name.
    pub(crate) fn variables(&self) -> &[(String, Expression)] {
        &self.variables
    }

    /// What is added to any pod, if it is the same for every one.
    pub(crate) fn constant(&self) -> Option<&Arc<Additions>> {
        self.constant.as_ref()
    }

    /// What is added to the pod that `scope` shows.
    ///
    /// # Errors
    /// Every expression that failed, each a sentence without full stop.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>, object: &Json) -> Result<Additions, Vec<String>> {
        self.blueprint.evaluate(scope, object)
    }

    fn fingerprint(&self) -> String {
        let variables: Vec<[&str; 2]> = self.variables.iter().map(|(name, e)| [name.as_str(), e.source()]).collect();
        let mut parts = Map::new();
        parts.insert("mode".into(), self.mode.as_str().into());
        parts.insert("position".into(), format!("{:?}", self.position).into());
        parts.insert("hostNetwork".into(), format!("{:?}", self.host_network).into());
        parts.insert("onConflict".into(), format!("{:?}", self.on_conflict).into());
        parts.insert("variables".into(), serde_json::json!(variables));
        parts.insert("blueprint".into(), self.blueprint.parts());
        // Sorted, so that the order in which someone wrote the keys does not matter.
        let mut canonical = Json::Object(parts);
        canonical.sort_all_objects();
        hash(&canonical.to_string())
    }
}

/// 16 hexadecimal digits that stand for `text`.
pub(crate) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn read(checker: &mut Checker<'_>, node: &Node, default_name: &str, keys: &Keys) -> Template {
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
    let variables = compile::variables(checker, get("variables"), &declared);
    let known: Vec<String> = variables.iter().map(|(name, _)| name.clone()).collect();
    let names = Names { parameters: &declared, variables: &known, container: false };
    let name = name(checker, get("name"), node, default_name);
    let mut blueprint = Blueprint::load(checker, node, &name, mode, &names, keys);
    for (_, expression) in &variables {
        blueprint.reads.merge(&expression.reads);
    }
    let mut template = Template {
        name,
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
        auto_inject: get("autoInject").map(|node| auto_inject::read(checker, node, &variables)),
        required: get("required").is_some_and(|node| checker.json(node, "boolean", "required") == true),
        allowed_namespaces: get("allowedNamespaces")
            .map(|node| Selector::read(checker, node, "allowedNamespaces"))
            .unwrap_or_default(),
        on_conflict: on_conflict(checker, get("onConflict")),
        constant: blueprint.constant().map(Arc::new),
        profile: Profile::Privileged,
        sensitive: blueprint.sensitive().map(|(span, what)| checker.sensitive(span, what)).collect(),
        paths: Paths::new(&blueprint.reads.object),
        silenced: silenced(get("lint")),
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
            auto_inject: None,
            required: false,
            allowed_namespaces: Selector::default(),
            on_conflict: OnConflict::default(),
            parameters: Vec::new(),
            variables: Vec::new(),
            blueprint: Blueprint::default(),
            profile: Profile::Privileged,
            silenced: Vec::new(),
            sensitive: Vec::new(),
            paths: Paths::default(),
            constant: None,
            hash: String::new(),
        }
    }
}

/// The rules that `lint` silences: those that have a reason.
fn silenced(node: Option<&Node>) -> Vec<String> {
    let Some(Value::Map(entries)) = node.map(|node| &node.value) else { return Vec::new() };
    let has_reason = |node: &Node| matches!(&node.value, Value::String(reason) if !reason.trim().is_empty());
    let rules = entries.iter().filter(|(key, reason)| has_reason(reason) && key.name != "invalid");
    rules.map(|(key, _)| key.name.clone()).collect()
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
    if name == "containers" {
        let help = "`sidecars` adds a container, `appContainers` changes the application's own";
        checker.error(key.span, "a template has no key \"containers\"", help);
    } else {
        let help = match nearest(name, KEYS) {
            Some(known) => format!("did you mean \"{known}\"?"),
            None => format!("known keys: {}", KEYS.join(", ")),
        };
        checker.error(key.span, format!("unknown key \"{name}\""), help);
    }
}
