//! Selects the templates for a pod: those that it requests, the defaults of its namespace or of the installation, and
//! those that match by `autoInject`. This module does not depend on the additions of templates.

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

/// The source of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    /// The pod, by name.
    Pod,
    /// A default of the namespace or the installation.
    Default,
    /// The template's `autoInject`.
    Auto,
}

/// A chosen template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice<'p> {
    /// The name and version.
    pub(crate) wanted: TemplateRef<'p>,
    /// The source of the choice.
    pub(crate) by: ChosenBy,
}

/// The chosen templates, in the order in which they are added.
#[derive(Debug, Default)]
pub(crate) struct Choices<'p> {
    /// The key of the annotation with the request; `None` without a request.
    pub(crate) key: Option<&'p str>,
    /// The choices, with unique names.
    pub(crate) all: Vec<Choice<'p>>,
    /// Warnings for the client, ready to be sent.
    pub(crate) warnings: Vec<String>,
    /// Templates whose condition `autoInject.if` failed, by name.
    pub(crate) problems: BTreeMap<&'p str, Problem>,
}

/// Chooses the templates for one pod.
pub(crate) struct Chooser<'p> {
    pub(crate) request: &'p Request<'p>,
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) catalog: View<'p>,
    pub(crate) settings: &'p Settings,
    pub(crate) entry_point: EntryPoint,
}

impl<'p> Chooser<'p> {
    /// The key and the value of the request, from the first request annotation that the pod has.
    pub(crate) fn request(&self) -> Option<(&'p str, &'p str)> {
        self.settings.request_keys().find_map(|key| Some((key, self.metadata.annotation(key)?)))
    }

    /// The rows of the trace about the request. `nothing` is the reason if no template was chosen.
    pub(crate) fn rows(&self, choices: &Choices<'_>, nothing: Option<Reason>) -> Vec<Row> {
        let asks = match self.request() {
            Some((key, value)) => format!("{key} is \"{}\"", shown(value, 200)),
            None => format!("the pod has no {}", self.settings.keys.request),
        };
        let chosen: Vec<&str> = choices.all.iter().map(|choice| choice.wanted.name).collect();
        let row = |reason, evidence: String| Row {
            template: String::new(),
            reason,
            holds: Some(nothing == Some(reason)),
            evidence,
        };
        let entry = match self.entry_point {
            EntryPoint::Requests => "only explicit requests apply here",
            EntryPoint::Policy => "requests, defaults and autoInject apply here",
        };
        let selected = match chosen.as_slice() {
            [] => "no templates selected".to_owned(),
            names => format!("selected: {}", names.join(", ")),
        };
        vec![
            row(Reason::InvalidRequest, asks),
            row(Reason::OptedOut, String::new()),
            row(Reason::NotRequested, format!("{selected} ({entry})")),
        ]
    }

    fn parse<'v>(&self, key: &str, value: &'v str) -> Result<Selection<'v>, String> {
        let dialect = if key == self.settings.keys.request { Dialect::Own } else { Dialect::Foreign };
        request::parse(key, value, dialect)
    }

    /// Chooses the templates for the pod. The second value is the reason if no template was chosen.
    ///
    /// # Errors
    /// The error in the request, as [`request::parse`] returns it.
    pub(crate) fn choose(&self) -> Result<(Choices<'p>, Option<Reason>), String> {
        let mut choices = Choices::default();
        let asks = self.request();
        choices.key = asks.map(|(key, _)| key);
        let request = choices.key.unwrap_or(&self.settings.keys.request);
        let selection = match asks {
            None => None,
            Some((key, value)) => Some(self.parse(key, value)?),
        };
        // The reason if no template is chosen.
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
                let text = format!("{request} is empty and requests nothing");
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

    /// Adds the defaults: those of the namespace if they are valid, else those of the installation. If the pod requests
    /// the defaults and there are none, adds a warning.
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
                let text = format!("{request} of the namespace {namespace} is not valid and is ignored");
                choices.warnings.push(decision::warning(&text, Reason::InvalidRequest));
                self.installation(choices);
            }
            None => self.installation(choices),
        }
        if asked_for && choices.all.len() == before {
            let text = format!("{request} requests the defaults, but there are none");
            choices.warnings.push(decision::warning(&text, Reason::NotRequested));
        }
    }

    /// Adds the defaults of the installation.
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

    /// Adds the templates that match the pod by `autoInject`, in the order of their names, after all other choices.
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

    /// Returns true if the condition `autoInject.if` holds. It is evaluated only if both selectors match.
    ///
    /// # Errors
    /// The failure of the expression, a sentence without full stop.
    fn holds(&self, template: &Template, auto: &AutoInject) -> Result<bool, String> {
        let Some(condition) = &auto.condition else { return Ok(true) };
        let object = auto.paths.read(self.request.document, self.request.at).unwrap_or_default();
        // Invalid parameters are reported when the template is evaluated.
        let params = parameters::values(&self.settings.keys, &template.name, &template.parameters, self.metadata)
            .unwrap_or_default();
        let seen = Seen { request: self.request, catalog: self.catalog, object: &object, params: &params };
        seen.by(template.variables(), |scope| scope.holds(condition))
    }
}

impl<'p> Choices<'p> {
    /// Adds a template unless one of that name is already chosen.
    fn add(&mut self, wanted: TemplateRef<'p>, by: ChosenBy) {
        match self.all.iter().position(|known| known.wanted.name == wanted.name) {
            None => self.all.push(Choice { wanted, by }),
            // A request of the pod overrides an earlier default of the same name.
            Some(at) if by == ChosenBy::Pod => self.all[at] = Choice { wanted, by },
            Some(_) => {}
        }
    }
}
