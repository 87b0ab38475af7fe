//! What is said and recorded of a decision: messages, warnings, the status annotation and what became of each
//! template. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::inject::catalog::Unknown;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::{self, Decision, Outcome, Verdict};
use crate::inject::diagnostic::{self, nearest};
use crate::inject::plan::{Placed, Plan, Problem, patch};
use crate::inject::resolve::{Case, Chosen, Findings};
use crate::inject::select::request::TemplateRef;
use crate::inject::select::{By, strays};
use crate::inject::status::{Added, Skipped, Status, Written, WrittenEntry};
use crate::inject::template::body::item::Item;
use crate::inject::template::body::pod_fields::Operation;

/// A template that a status lists, and its entry.
pub(crate) type Listed<'a> = (&'a str, &'a RawValue);

impl Case<'_> {
    pub(crate) fn unknown(&self, key: &str, wanted: TemplateRef<'_>, by: By, unknown: &Unknown<'_>) -> Problem {
        let who = if by == By::Pod { format!("{key} asks for") } else { "the defaults name".to_owned() };
        let asks = |what: String| format!("{who} \"{what}\", ");
        let what = match unknown {
            Unknown::Name { broken: Some(why) } => {
                asks(wanted.name.to_owned()) + &format!("whose template is broken: {}", diagnostic::shown(why, 300))
            }
            Unknown::Name { broken: None } => {
                let names = self.catalog.names();
                let hint =
                    nearest(wanted.name, names.iter().copied()).map(|name| format!(". Did you mean \"{name}\"?"));
                let known = if names.is_empty() {
                    " There are no templates".to_owned()
                } else {
                    format!(" Known: {}", first_ten(&names))
                };
                asks(wanted.name.to_owned()) + "which does not exist" + hint.as_deref().unwrap_or(".") + &known
            }
            Unknown::Version { known } => {
                let known: Vec<&str> = known.iter().map(|version| version.unwrap_or("(without version)")).collect();
                let version = wanted.version.unwrap_or_default();
                asks(format!("{}@{version}", wanted.name))
                    + &format!("a version that does not exist. Known: {}", first_ten(&known))
            }
        };
        Problem { reason: Reason::UnknownTemplate, what, fix: "" }
    }

    /// The refusal, listing every problem; its reason is the first in the order of the request.
    pub(crate) fn denied(&self, chosen: &[Chosen<'_>], findings: &Findings) -> Decision {
        let mut sentences = Vec::new();
        let mut first = None;
        for (chosen, problems) in chosen.iter().zip(&findings.problems) {
            for problem in problems {
                first.get_or_insert(problem.reason);
                let template = chosen.template.map(|t| format!("Template {} cannot be added: ", t.display()));
                let fix = if problem.fix.is_empty() { self.place.change() } else { format!("{}.", problem.fix) };
                sentences.push(format!("{}{}. {fix}", template.unwrap_or_default(), problem.what));
            }
        }
        let reason = first.unwrap_or(Reason::Conflict);
        if sentences.len() > 1 {
            let listed: Vec<String> =
                sentences.iter().enumerate().map(|(at, text)| format!("({}) {text}", at + 1)).collect();
            return Decision::denied(reason, &format!("{} problems: {}", listed.len(), listed.join(" ")));
        }
        Decision::denied(reason, &sentences.concat())
    }

    pub(crate) fn warnings(
        &self,
        refs: &[TemplateRef<'_>],
        chosen: &[Chosen<'_>],
        findings: &Findings,
        plan: &Plan<'_>,
    ) -> Vec<String> {
        let left_out = chosen.iter().zip(&findings.problems).filter_map(|(chosen, problems)| {
            let problem = problems.first()?;
            Some(decision::warning(&format!("{} left out: {}", chosen.wanted.name, problem.what), problem.reason))
        });
        let warnings = plan
            .warnings
            .iter()
            .map(|warning| decision::warning(&format!("{}: {}", warning.template, warning.what), warning.reason));
        left_out.chain(warnings).chain(self.stray_parameters(refs)).collect()
    }

    /// Warnings about parameters for templates that are not asked for.
    fn stray_parameters(&self, refs: &[TemplateRef<'_>]) -> Vec<String> {
        let messages = strays::stray_parameters(self.metadata, refs, &self.settings.keys);
        messages.iter().map(|message| decision::warning(message, Reason::InvalidParameter)).collect()
    }

    /// The new status: the templates asked for in their order, then what else is present.
    /// Of `incomplete` ones something was missing.
    pub(crate) fn status(
        &self,
        refs: &[TemplateRef<'_>],
        old: &Status<'_>,
        (present, incomplete): (&[Listed<'_>], &[Listed<'_>]),
        chosen: &[Chosen<'_>],
        findings: &Findings,
        plan: &Plan<'_>,
    ) -> String {
        let mut created = patch::created(plan, self.metadata, self.spec);
        let mut templates = Vec::with_capacity(refs.len());
        for wanted in refs {
            if let Some((_, raw)) = present.iter().find(|(name, _)| *name == wanted.name) {
                templates.push(WrittenEntry::Kept(raw));
            }
            let Some(index) = chosen.iter().position(|chosen| chosen.wanted == *wanted) else {
                let left_out =
                    old.left_out(wanted.name).filter(|_| present.iter().all(|(name, _)| *name != wanted.name));
                templates.extend(left_out.map(WrittenEntry::Kept));
                continue;
            };
            let Some(template) = chosen[index].template else { continue };
            let ready = chosen[index].ready.as_ref();
            let hash = ready.map_or(template.hash.as_str(), |ready| &ready.hash);
            let older = incomplete.iter().find(|(name, _)| *name == wanted.name);
            let placed = plan.placed.iter().find(|placed| ready.is_some_and(|ready| std::ptr::eq(placed.ready, ready)));
            if let Some(placed) = placed {
                // What had to be created is undone with the first template that is.
                let added = added(placed, std::mem::take(&mut created));
                let entry = WrittenEntry::of(template, hash, Some(added), None);
                templates.push(match older {
                    Some((_, older)) => entry.completing(older, &placed.ready.additions, self.spec),
                    None => entry,
                });
            } else if let (Some((_, raw)), None) = (older, findings.first(index)) {
                templates.push(WrittenEntry::Kept(raw));
            } else if findings.adds_nothing[index] && !plan.placed.is_empty() {
                // A later round would judge its conditions on what the others have added.
                let skipped = Skipped { reason: Reason::NothingToAdd.as_str(), message: "" };
                templates.push(WrittenEntry::of(template, hash, None, Some(skipped)));
            } else if let Some(problem) = findings.first(index) {
                let skipped = Skipped { reason: problem.reason.as_str(), message: &problem.what };
                templates.push(match old.skipped(&template.name, hash) {
                    Some(raw) => WrittenEntry::Kept(raw),
                    None => WrittenEntry::of(template, hash, None, Some(skipped)),
                });
            }
        }
        let others = present.iter().filter(|(name, _)| refs.iter().all(|wanted| wanted.name != *name));
        templates.extend(others.map(|(_, raw)| WrittenEntry::Kept(raw)));
        let written = Written { injector: env!("CARGO_PKG_VERSION"), templates };
        let mut text = Vec::with_capacity(512);
        // Strings and raw JSON always have a JSON form, which is UTF-8.
        let _ = serde_json::to_writer(&mut text, &written);
        String::from_utf8(text).unwrap_or_default()
    }

    /// `decision` with what became of each template.
    pub(crate) fn outcome(
        &self,
        mut decision: Decision,
        refs: &[TemplateRef<'_>],
        chosen: &[Chosen<'_>],
        findings: &Findings,
    ) -> Decision {
        let denied = decision.verdict == Verdict::Denied;
        let outcome = |wanted: &TemplateRef<'_>| {
            let index = chosen.iter().position(|chosen| chosen.wanted.name == wanted.name);
            let template = index.and_then(|index| chosen[index].template);
            let problem = index.and_then(|index| findings.first(index));
            let reason = match (index, problem) {
                (None, _) => Reason::AlreadyInjected,
                (Some(_), Some(problem)) => problem.reason,
                (Some(index), None) if findings.adds_nothing[index] => Reason::NothingToAdd,
                (Some(_), None) if decision.verdict == Verdict::Injected => Reason::Injected,
                (Some(_), None) => decision.reason,
            };
            Outcome {
                name: wanted.name.to_owned(),
                origin: self.catalog.origin(wanted.name),
                version: template.and_then(|template| template.version.clone()),
                reason,
                denied: denied && problem.is_some() && index.is_some_and(|index| self.denies(&chosen[index])),
            }
        };
        decision.templates = refs.iter().map(outcome).collect();
        decision
    }
}

/// What a placed template adds, for the status.
fn added<'c>(placed: &'c Placed<'_>, created: Vec<String>) -> Added<'c> {
    let names = |items: &'c [Arc<Item>]| items.iter().map(|item| item.name.as_str()).collect();
    let mut added = Added {
        containers: names(&placed.containers),
        init_containers: names(&placed.init_containers),
        volumes: placed.volumes.iter().map(|item| item.name.as_str()).collect(),
        image_pull_secrets: placed.image_pull_secrets.clone(),
        labels: placed.labels.clone(),
        annotations: placed.annotations.clone(),
        pod: placed.pod.iter().map(Operation::pointer).collect(),
        replaced: placed.replaced.clone(),
        created,
        ..Added::default()
    };
    for app in &placed.app_containers {
        let paths: Vec<&str> = app.mounts.iter().map(|mount| mount.path.as_str()).collect();
        added.mounts.extend((!paths.is_empty()).then_some((app.container, paths)));
        added.env.extend((!app.env.is_empty()).then(|| (app.container, app.env.clone())));
        added.env_from.extend((!app.env_from.is_empty()).then(|| (app.container, app.env_from.clone())));
        let mut appended: BTreeMap<&str, String> = BTreeMap::new();
        for (name, suffix) in &app.appended {
            appended.entry(name).or_default().push_str(suffix);
        }
        added.appended.extend((!appended.is_empty()).then_some((app.container, appended)));
    }
    added
}

fn first_ten(names: &[&str]) -> String {
    let mut list = names.iter().take(10).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 10 {
        list.push_str(", …");
    }
    list
}
