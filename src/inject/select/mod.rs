//! Which templates a pod gets: what it asks for, what its namespace or the installation has as defaults, and what
//! templates say of themselves (`autoInject`). It must not know what templates add.

pub mod request;
pub(crate) mod strays;

use crate::inject::catalog::view::View;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::Row;
use crate::inject::decision::{self, Problem};
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::{Seen, parameters};
use crate::inject::review::Request;
use crate::inject::review::pod::Metadata;
use crate::inject::select::request::{Dialect, RequestItem, Selection};
use crate::inject::settings::{EntryPoint, Settings};
use crate::inject::template::Template;
use crate::inject::template::auto_inject::AutoInject;
use crate::inject::template::reference::TemplateRef;
use std::collections::BTreeMap;

/// Who chose a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    /// The pod, by name.
    Pod,
    /// A default of the namespace or the installation.
    Default,
    /// The template itself.
    Auto,
}

/// A template that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice<'p> {
    /// The name and version.
    pub(crate) wanted: TemplateRef<'p>,
    /// Who chose it.
    pub(crate) by: ChosenBy,
}

/// The templates chosen, in the order in which they are added.
#[derive(Debug, Default)]
pub(crate) struct Choices<'p> {
    /// The annotation that asks, if one does.
    pub(crate) key: Option<&'p str>,
    /// The choices, without two of one name.
    pub(crate) all: Vec<Choice<'p>>,
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
    pub(crate) entry_point: EntryPoint,
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
        let chosen: Vec<&str> = choices.all.iter().map(|choice| choice.wanted.name).collect();
        let row = |reason, evidence: String| Row {
            template: String::new(),
            reason,
            holds: Some(nothing == Some(reason)),
            evidence,
        };
        let entry = match self.entry_point {
            EntryPoint::Requests => "requests alone count here",
            EntryPoint::Policy => "requests, defaults and autoInject count here",
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
        let policy = self.entry_point == EntryPoint::Policy;
        let mut only_required = false;
        match &selection {
            Some(Selection::Templates(items)) => {
                for item in items {
                    match item {
                        RequestItem::Named(wanted) => choices.add(*wanted, ChosenBy::Pod),
                        RequestItem::Defaults => self.defaults(&mut choices, true),
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
        let nothing = choices.all.is_empty().then_some(nothing);
        Ok((choices, nothing))
    }

    /// The defaults: the namespace's if it has valid ones, else the installation's.
    fn defaults(&self, choices: &mut Choices<'p>, asked_for: bool) {
        let namespace = self.request.namespace.as_str();
        let request = self.settings.keys.request.as_str();
        let own = self.catalog.namespaces().annotation(namespace, request);
        let parsed = own.map(|value| self.parse(request, value));
        let before = choices.all.len();
        match parsed {
            Some(Ok(Selection::OptedOut | Selection::Empty)) => {}
            Some(Ok(Selection::Templates(items))) => {
                for item in items {
                    match item {
                        RequestItem::Named(wanted) => choices.add(wanted, ChosenBy::Default),
                        RequestItem::Defaults => self.installation(choices),
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
        if asked_for && choices.all.len() == before {
            let text = format!("{request} asks for the defaults, and there are none");
            choices.warnings.push(decision::warning(&text, Reason::NotRequested));
        }
    }

    fn installation(&self, choices: &mut Choices<'p>) {
        for default in &self.settings.default_templates {
            if let Ok(Selection::Templates(items)) = request::parse("--default-templates", default, Dialect::Own) {
                for item in items {
                    if let RequestItem::Named(wanted) = item {
                        choices.add(wanted, ChosenBy::Default);
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
            let known = choices.all.iter().any(|choice| choice.wanted.name == template.name);
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
            choices.add(TemplateRef { name: &template.name, version: None }, ChosenBy::Auto);
        }
    }

    /// True if the template's own condition holds. It is evaluated only if both selectors match.
    fn holds(&self, template: &Template, auto: &AutoInject) -> Result<bool, String> {
        let Some(condition) = &auto.condition else { return Ok(true) };
        let object = auto.paths.read(self.request.document, self.request.at).unwrap_or_default();
        // Wrong parameters are reported when the template is evaluated.
        let params = parameters::values(&self.settings.keys, &template.name, &template.parameters, self.metadata)
            .unwrap_or_default();
        let seen = Seen { request: self.request, catalog: self.catalog, object: &object, params: &params };
        seen.by(template.variables(), |scope| scope.holds(condition))
    }
}

impl<'p> Choices<'p> {
    /// Adds a template unless one of that name is chosen already.
    fn add(&mut self, wanted: TemplateRef<'p>, by: ChosenBy) {
        match self.all.iter().position(|known| known.wanted.name == wanted.name) {
            None => self.all.push(Choice { wanted, by }),
            // The pod's own request counts for more than a default of that name before it.
            Some(at) if by == ChosenBy::Pod => self.all[at] = Choice { wanted, by },
            Some(_) => {}
        }
    }
}
