//! Which templates a pod gets: what it asks for, what its namespace or the installation has as defaults, and what
//! templates say of themselves (`autoInject`). It must not know what templates add.

pub mod request;
pub(crate) mod strays;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::inject::catalog::view::View;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::Row;
use crate::inject::diagnostic::shown;
use crate::inject::expr::{Roots, Scope};
use crate::inject::plan::Problem;
use crate::inject::review::Request;
use crate::inject::review::pod::Metadata;
use crate::inject::select::request::{Dialect, Item, Selection, TemplateRef};
use crate::inject::template::{AutoInject, Template, parameter};
use crate::inject::{Entry, Settings, decision};

/// Who chose a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The pod, by name.
    Pod,
    /// A default of the namespace or the installation.
    Default,
    /// The template itself.
    Auto,
}

/// The templates chosen, in the order in which they are added.
#[derive(Debug, Default)]
pub(crate) struct Choices<'p> {
    /// The annotation that asks, if one does.
    pub(crate) key: Option<&'p str>,
    pub(crate) refs: Vec<TemplateRef<'p>>,
    pub(crate) by: Vec<By>,
    pub(crate) warnings: Vec<String>,
    /// Templates whose own condition failed.
    pub(crate) problems: BTreeMap<&'p str, Problem>,
}

/// What phase 1 needs for a choice.
pub(crate) struct Chooser<'p> {
    pub(crate) request: &'p Request<'p>,
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) catalog: View<'p>,
    pub(crate) settings: &'p Settings,
    pub(crate) entry: Entry,
}

impl<'p> Chooser<'p> {
    /// The value of the request, from the first of its keys that the pod has.
    pub(crate) fn request(&self) -> Option<(&'p str, &'p str)> {
        self.settings.request_keys().find_map(|key| Some((key, self.metadata.annotation(key)?)))
    }

    /// What a trace says of the request.
    pub(crate) fn rows(&self, choices: &Choices<'_>, nothing: Option<Reason>) -> Vec<Row> {
        let asks = match self.request() {
            Some((key, value)) => format!("{key} is \"{}\"", shown(value, 200)),
            None => format!("there is no {}", self.settings.keys.request),
        };
        let chosen: Vec<&str> = choices.refs.iter().map(|wanted| wanted.name).collect();
        let row = |reason, evidence: String| Row {
            template: String::new(),
            reason,
            holds: Some(nothing == Some(reason)),
            evidence,
        };
        let entry = match self.entry {
            Entry::Requests => "requests alone count here",
            Entry::Policy => "requests, defaults and autoInject count here",
        };
        vec![
            row(Reason::InvalidRequest, asks),
            row(Reason::OptedOut, String::new()),
            row(
                Reason::NotRequested,
                format!("chosen: {}; {entry}", if chosen.is_empty() { "none".to_owned() } else { chosen.join(", ") }),
            ),
        ]
    }

    fn parse<'v>(&self, key: &str, value: &'v str) -> Result<Selection<'v>, String> {
        let dialect = if key == self.settings.keys.request { Dialect::Own } else { Dialect::Foreign };
        request::parse(key, value, dialect)
    }

    /// The templates for the pod.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub(crate) fn choose(&self) -> Result<(Choices<'p>, Option<Reason>), String> {
        let mut choices = Choices::default();
        let asks = self.request();
        choices.key = asks.map(|(key, _)| key);
        let request = choices.key.unwrap_or(&self.settings.keys.request);
        let selection = match asks {
            None => None,
            Some((key, value)) => Some(self.parse(key, value)?),
        };
        // What is left if nothing is chosen.
        let mut nothing = Reason::NotRequested;
        let policy = self.entry == Entry::Policy;
        let mut only_required = false;
        match &selection {
            Some(Selection::Templates(items)) => {
                for item in items {
                    match item {
                        Item::Named(wanted) => choices.add(*wanted, By::Pod),
                        Item::Defaults => self.defaults(&mut choices, true),
                    }
                }
            }
            Some(Selection::OptedOut) => (nothing, only_required) = (Reason::OptedOut, true),
            Some(Selection::Empty) => {
                let text = format!("{request} is empty and asks for nothing");
                choices.warnings.push(decision::warning(&text, Reason::NotRequested));
                if policy {
                    self.defaults(&mut choices, false);
                }
            }
            None if policy => self.defaults(&mut choices, false),
            None => {}
        }
        if policy {
            self.auto(&mut choices, only_required);
        }
        let nothing = choices.refs.is_empty().then_some(nothing);
        Ok((choices, nothing))
    }

    /// The defaults: the namespace's if it has valid ones, else the installation's.
    fn defaults(&self, choices: &mut Choices<'p>, asked_for: bool) {
        let namespace = self.request.namespace.as_str();
        let request = self.settings.keys.request.as_str();
        let own = self.catalog.namespaces().annotation(namespace, request);
        let parsed = own.map(|value| self.parse(request, value));
        let before = choices.refs.len();
        match parsed {
            Some(Ok(Selection::OptedOut | Selection::Empty)) => {}
            Some(Ok(Selection::Templates(items))) => {
                for item in items {
                    match item {
                        Item::Named(wanted) => choices.add(wanted, By::Default),
                        Item::Defaults => self.installation(choices),
                    }
                }
            }
            Some(Err(_)) => {
                let text = format!("{request} of the namespace {namespace} is malformed and ignored");
                choices.warnings.push(decision::warning(&text, Reason::InvalidRequest));
                self.installation(choices);
            }
            None => self.installation(choices),
        }
        if asked_for && choices.refs.len() == before {
            let text = format!("{request} asks for the defaults, and there are none");
            choices.warnings.push(decision::warning(&text, Reason::NotRequested));
        }
    }

    fn installation(&self, choices: &mut Choices<'p>) {
        for default in &self.settings.default_templates {
            if let Ok(Selection::Templates(items)) = request::parse("--default-templates", default, Dialect::Own) {
                for item in items {
                    if let Item::Named(wanted) = item {
                        choices.add(wanted, By::Default);
                    }
                }
            }
        }
    }

    /// Templates that choose the pod themselves, by name, on top of everything else.
    fn auto(&self, choices: &mut Choices<'p>, only_required: bool) {
        let namespace = self.request.namespace.as_str();
        for (template, auto) in self.catalog.auto_inject() {
            let labels = |key: &str| self.metadata.labels.as_ref().and_then(|labels| labels.get(key));
            let known = choices.refs.iter().any(|wanted| wanted.name == template.name);
            if known
                || only_required && !template.required
                || !auto.pods.matches(labels)
                || !self.catalog.namespaces().matches(&auto.namespaces, namespace)
            {
                continue;
            }
            match self.holds(template, auto) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(what) => {
                    let fix = "Change the template's autoInject.if";
                    let problem = Problem { reason: Reason::ExpressionFailed, what, fix };
                    choices.problems.insert(&template.name, problem);
                }
            }
            choices.add(TemplateRef { name: &template.name, version: None }, By::Auto);
        }
    }

    /// Whether the template's own condition holds; evaluated only when both selectors match.
    fn holds(&self, template: &Template, auto: &AutoInject) -> Result<bool, String> {
        let Some(condition) = &auto.condition else { return Ok(true) };
        let object = auto.paths.read(self.request.document, self.request.at).unwrap_or_default();
        let request = self.request.as_seen();
        // Wrong parameters are told when the template is evaluated.
        let params = parameter::values(&self.settings.keys, &template.name, &template.parameters, self.metadata)
            .unwrap_or_default();
        let namespace = self.catalog.namespaces().object(self.request.namespace.as_str());
        let roots = Roots {
            object: &object,
            request: &request,
            params: &params,
            values: self.catalog.values(),
            namespace: &namespace,
        };
        Scope::new(&roots, template.variables()).holds(condition)
    }
}

impl<'p> Choices<'p> {
    /// Adds a template unless one of that name is chosen already.
    fn add(&mut self, wanted: TemplateRef<'p>, by: By) {
        match self.refs.iter().position(|known| known.name == wanted.name) {
            None => {
                self.refs.push(wanted);
                self.by.push(by);
            }
            // What the pod says counts for more than a default of that name before it.
            Some(at) if by == By::Pod => (self.refs[at], self.by[at]) = (wanted, by),
            Some(_) => {}
        }
    }
}

impl Request<'_> {
    /// The request as expressions see it.
    pub(crate) fn as_seen(&self) -> Json {
        json!({
            "namespace": self.namespace.as_str(),
            "operation": self.target.operation.as_str(),
            "dryRun": self.dry_run,
        })
    }
}
