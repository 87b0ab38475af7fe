//! Looks up the template of a choice, and checks that the pod may use it.

use crate::inject::catalog::NotFound;
use crate::inject::catalog::view::View;
use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::diagnostic::{nearest, shown};
use crate::inject::resolve::case::Case;
use crate::inject::select::{Choice, ChosenBy};
use crate::inject::template::Template;
use crate::inject::template::reference::TemplateRef;

/// Why a choice cannot be used.
pub(super) struct NotUsable<'p> {
    /// The template, if there is one.
    pub(super) template: Option<&'p Template>,
    pub(super) problem: Problem,
}

/// The template of a choice. `key` is the annotation that requests it.
///
/// # Errors
/// If there is no such template, or the pod must not use it.
pub(super) fn template<'p>(case: &Case<'p>, key: &str, choice: &Choice<'p>) -> Result<&'p Template, NotUsable<'p>> {
    let problem = |reason, what| Problem { reason, what, fix: "" };
    let template = case.catalog.get(choice.wanted).map_err(|not_found| {
        let what = unknown(&case.catalog, key, choice, &not_found);
        NotUsable { template: None, problem: problem(Reason::UnknownTemplate, what) }
    })?;
    match not_allowed(case, choice.wanted, template) {
        None => Ok(template),
        Some(what) => Err(NotUsable { template: Some(template), problem: problem(Reason::NotAllowed, what) }),
    }
}

/// The reason, if the pod is not allowed to use the template: a sentence without its full stop.
fn not_allowed(case: &Case<'_>, wanted: TemplateRef<'_>, template: &Template) -> Option<String> {
    let namespace = case.request.namespace.as_str();
    let serving = case.catalog.get(TemplateRef { name: wanted.name, version: None });
    if !case.catalog.namespaces().matches(&template.allowed_namespaces, namespace) {
        Some(format!("pods of the namespace {} must not use it", shown(namespace, 63)))
    } else if serving.is_ok_and(|serving| serving.required && serving.version != template.version) {
        Some("it is required, so no other version of it can be requested".to_owned())
    } else {
        None
    }
}

/// The problem of a template that was not found: a sentence without its full stop. `key` is the annotation that
/// requests it.
fn unknown(catalog: &View<'_>, key: &str, choice: &Choice<'_>, unknown: &NotFound<'_>) -> String {
    let wanted = choice.wanted;
    let who = if choice.by == ChosenBy::Pod { format!("{key} requests") } else { "the defaults include".to_owned() };
    let asks = |what: &str| format!("{who} \"{what}\", ");
    match unknown {
        NotFound::Name { broken: Some(why) } => {
            asks(wanted.name) + &format!("whose template is invalid: {}", shown(why, 300))
        }
        NotFound::Name { broken: None } => {
            let names = catalog.names();
            let near = nearest(wanted.name, names.iter().copied());
            let hint = near.map_or(".".to_owned(), |name| format!(". Did you mean \"{name}\"?"));
            let known = if names.is_empty() {
                " There are no templates".to_owned()
            } else {
                format!(" Known: {}", first_ten(&names))
            };
            asks(wanted.name) + "which does not exist" + &hint + &known
        }
        NotFound::Version { known } => {
            let known: Vec<&str> = known.iter().map(|version| version.unwrap_or("(without version)")).collect();
            let version = wanted.version.unwrap_or_default();
            let known = first_ten(&known);
            asks(&format!("{}@{version}", wanted.name)) + &format!("a version that does not exist. Known: {known}")
        }
        NotFound::OnlyPreReleases { known } => {
            let known: Vec<String> = known.iter().map(|version| format!("{}@{version}", wanted.name)).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            asks(wanted.name) + &format!("which has only pre-releases. Request a version: {}", first_ten(&known))
        }
    }
}

fn first_ten(names: &[&str]) -> String {
    let mut list = names.iter().take(10).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 10 {
        list.push_str(", …");
    }
    list
}
