//! Phase 2 of a decision: the templates that were asked for meet the pod. Collects their problems, decides
//! which of them deny, and puts plan, status and patch together. It must not know where templates come from
//! or how the answer is sent.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::catalog::{Catalog, Unknown};
use super::decision::{self, Decision, Outcome, Verdict};
use super::diagnostic::{self, nearest};
use super::evaluate::Evaluation;
use super::parameter;
use super::plan::{self, Placed, Plan, Problem, Ready};
use super::pod::{Metadata, Spec, StringMap};
use super::pod_level::Operation;
use super::reason::Reason;
use super::review::Request;
use super::select::{self, TemplateRef};
use super::status::{Added, STATUS, Skipped, Status, Written, WrittenEntry};
use super::syntax::is_label;
use super::template::{OnProblem, Template};
use super::{Embedding, Item, Settings, patch};

/// Annotations of a pod may have this many bytes, keys and values (`ValidateAnnotationsSize`).
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// What the API server reads of an object (`MaxRequestBodyBytes`).
const MAX_OBJECT: usize = 3 * 1024 * 1024;

/// Where the pod's author changes things.
pub(super) struct Place<'p> {
    pub(super) metadata: &'p Metadata<'p>,
    pub(super) embedding: &'p Embedding,
}

impl Place<'_> {
    /// The sentence that says where the request is written.
    pub(super) fn change(&self) -> String {
        let path = if self.embedding.pointer.is_empty() {
            let owned = self.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
            if owned { "spec.template.".to_owned() } else { String::new() }
        } else {
            format!("{}.", self.embedding.pointer[1..].replace('/', "."))
        };
        format!("Change {path}metadata.annotations.")
    }
}

/// Phase 2: the templates asked for meet the pod.
pub(super) struct Case<'p> {
    pub(super) request: &'p Request<'p>,
    pub(super) metadata: &'p Metadata<'p>,
    pub(super) spec: &'p Spec<'p>,
    pub(super) catalog: &'p Catalog,
    pub(super) settings: &'p Settings,
    pub(super) place: Place<'p>,
}

/// A template asked for.
struct Chosen<'p> {
    wanted: TemplateRef<'p>,
    template: Option<&'p Template>,
    /// What it adds, if it is known and could be evaluated.
    ready: Option<Ready<'p>>,
}

/// What stands in the way of each template asked for, in the same order; where nothing does, what came of it.
#[derive(Default)]
struct Findings {
    problems: Vec<Vec<Problem>>,
    /// Nothing of it is missing from the pod.
    adds_nothing: Vec<bool>,
}

impl Findings {
    fn first(&self, index: usize) -> Option<&Problem> {
        self.problems[index].first()
    }
}

impl<'p> Case<'p> {
    pub(super) fn decide(&self, refs: &[TemplateRef<'p>]) -> Decision {
        let status_text = self.metadata.annotation(STATUS);
        let status = Status::parse(status_text);
        let present = status.present(self.metadata, self.spec);
        let is_present = |wanted: &&TemplateRef<'p>| present.iter().any(|(name, _)| *name == wanted.name);
        if refs.iter().all(|wanted| is_present(&wanted)) {
            return self.outcome(Decision::unchanged(Reason::AlreadyInjected), refs, &[], &Findings::default());
        }
        let absent = refs.iter().filter(|wanted| !is_present(wanted));
        let (chosen, problems): (Vec<Chosen<'p>>, Vec<Vec<Problem>>) =
            absent.map(|wanted| self.choose(*wanted)).unzip();
        let mut findings = Findings { adds_nothing: vec![false; chosen.len()], problems };
        let listed = status.containers();
        let foreign: Vec<&str> = self.settings.foreign_sidecars.iter().map(String::as_str).chain(listed).collect();
        let target = plan::Target {
            metadata: self.metadata,
            spec: self.spec,
            foreign: &foreign,
            of_job: self.place.embedding.of_job || self.metadata.is_of_job(),
            claims: &self.place.embedding.claims,
        };
        let plan = Self::plan(&target, &chosen, &mut findings);
        let denies = |chosen: &Chosen<'p>| chosen.template.and_then(|t| t.on_problem) != Some(OnProblem::Skip);
        let broken = |(_, problems): &(&Chosen<'p>, &Vec<Problem>)| !problems.is_empty();
        if chosen.iter().zip(&findings.problems).filter(broken).any(|(chosen, _)| denies(chosen)) {
            return self.outcome(self.denied(&chosen, &findings), refs, &chosen, &findings);
        }
        let mut decision = Decision::unchanged(Reason::AlreadyInjected);
        let left_out = findings.problems.iter().find_map(|problems| problems.first());
        if !plan.placed.is_empty() {
            (decision.verdict, decision.reason) = (Verdict::Injected, Reason::Injected);
        } else if let Some(problem) = left_out {
            decision.reason = problem.reason;
        } else if present.is_empty() {
            decision.reason = Reason::NothingToAdd;
        }
        decision.warnings = self.warnings(refs, &chosen, &findings, &plan);
        let new_status = self.status(refs, &status, &present, &chosen, &findings, &plan);
        if !plan.placed.is_empty() || left_out.is_some() && status_text != Some(new_status.as_str()) {
            let pointer = &self.place.embedding.pointer;
            let patch = patch::write(&plan, &new_status, self.metadata, self.spec, pointer);
            if let Some(too_large) = self.too_large(&plan, &new_status, patch.len()) {
                return self.outcome(too_large, refs, &chosen, &findings);
            }
            decision.patch = Some(patch);
        }
        self.outcome(decision, refs, &chosen, &findings)
    }

    fn choose(&self, wanted: TemplateRef<'p>) -> (Chosen<'p>, Vec<Problem>) {
        let template = match self.catalog.get(wanted) {
            Ok(template) => template,
            Err(unknown) => {
                let problems = vec![self.unknown(wanted, &unknown)];
                return (Chosen { wanted, template: None, ready: None }, problems);
            }
        };
        let evaluation =
            Evaluation { request: self.request, metadata: self.metadata, spec: self.spec, catalog: self.catalog };
        match evaluation.of(template) {
            Ok(ready) => (Chosen { wanted, template: Some(template), ready: Some(ready) }, Vec::new()),
            Err(problems) => (Chosen { wanted, template: Some(template), ready: None }, problems),
        }
    }

    /// Plans the templates that have no problem, and starts again without those that turn out to have one.
    fn plan<'r>(target: &plan::Target<'r>, chosen: &'r [Chosen<'r>], findings: &mut Findings) -> Plan<'r> {
        loop {
            let mut plan = Plan::of(target);
            let mut again = false;
            for (chosen, problems) in chosen.iter().zip(&mut findings.problems) {
                if let (Some(ready), true) = (&chosen.ready, problems.is_empty()) {
                    *problems = plan.place(ready, target);
                }
            }
            for (index, chosen) in chosen.iter().enumerate() {
                let problems = &mut findings.problems[index];
                let (Some(ready), true) = (&chosen.ready, problems.is_empty()) else { continue };
                *problems = plan.missing_volumes(ready, target);
                again |= !problems.is_empty();
                let placed = plan.placed.iter().find(|placed| std::ptr::eq(placed.ready, ready));
                findings.adds_nothing[index] = placed.is_some_and(Placed::is_empty);
            }
            if !again {
                plan.placed.retain(|placed| !placed.is_empty());
                plan.finish(target);
                return plan;
            }
        }
    }

    fn unknown(&self, wanted: TemplateRef<'_>, unknown: &Unknown<'_>) -> Problem {
        let asks = |what: String| format!("{} asks for \"{what}\", ", select::REQUEST);
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
    fn denied(&self, chosen: &[Chosen<'_>], findings: &Findings) -> Decision {
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

    fn warnings(
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

    /// Parameters for templates that are not asked for: probably a slip.
    fn stray_parameters(&self, refs: &[TemplateRef<'_>]) -> Vec<String> {
        let keys = self.metadata.annotations.iter().flat_map(StringMap::iter).map(|(key, _)| key);
        let stray = keys.filter_map(|key| {
            let (template, _) = key.split_once(parameter::INFIX)?;
            let asked_for = refs.iter().any(|wanted| wanted.name == template);
            (is_label(template) && !asked_for).then_some((key, template))
        });
        let warning = |(key, template): (&str, &str)| {
            let hint = nearest(template, refs.iter().map(|wanted| wanted.name));
            let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            decision::warning(&format!("{key} is for a template that is not asked for{hint}"), Reason::InvalidParameter)
        };
        stray.map(warning).collect()
    }

    /// The new status: the templates asked for in their order, then what else is present.
    fn status(
        &self,
        refs: &[TemplateRef<'_>],
        old: &Status<'_>,
        present: &[(&str, &RawValue)],
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
            let Some(index) = chosen.iter().position(|chosen| chosen.wanted == *wanted) else { continue };
            let Some(template) = chosen[index].template else { continue };
            let ready = chosen[index].ready.as_ref();
            let hash = ready.map_or(template.hash.as_str(), |ready| &ready.hash);
            let placed = plan.placed.iter().find(|placed| ready.is_some_and(|ready| std::ptr::eq(placed.ready, ready)));
            if let Some(placed) = placed {
                // What had to be created is undone with the first template that is.
                let added = added(placed, std::mem::take(&mut created));
                templates.push(WrittenEntry::of(template, hash, Some(added), None));
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

    fn too_large(&self, plan: &Plan<'_>, status: &str, patch: usize) -> Option<Decision> {
        let size = |pairs: &mut dyn Iterator<Item = (&str, &str)>| pairs.map(|(k, v)| k.len() + v.len()).sum::<usize>();
        let own =
            self.metadata.annotations.as_ref().map_or(0, |map| size(&mut map.iter().filter(|(key, _)| *key != STATUS)));
        let annotations = own
            + size(&mut plan.annotations.iter().map(|(key, value)| (*key, value.as_ref())))
            + STATUS.len()
            + status.len();
        // Managed fields do not count: the API server drops them where they make an object too large.
        let managed = self.metadata.managed_fields.map_or(0, |fields| fields.get().len());
        let object = self.request.document.len().saturating_sub(managed) + patch;
        let what = if annotations > MAX_ANNOTATIONS {
            format!("its annotations would have {annotations} bytes; the API server takes {MAX_ANNOTATIONS}")
        } else if object > MAX_OBJECT {
            format!("it would have {object} bytes; the API server takes {MAX_OBJECT}")
        } else {
            return None;
        };
        let all_skip = plan.placed.iter().all(|placed| placed.ready.template.on_problem == Some(OnProblem::Skip));
        if all_skip {
            let mut decision = Decision::unchanged(Reason::TooLarge);
            decision
                .warnings
                .push(decision::warning(&format!("nothing is added: the pod is too large, {what}"), Reason::TooLarge));
            return Some(decision);
        }
        let text = format!(
            "The pod is too large for what it asks for: {what}. Make it smaller or ask for less. {}",
            self.place.change()
        );
        Some(Decision::denied(Reason::TooLarge, &text))
    }

    /// `decision` with what became of each template.
    fn outcome(
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
                known: self.catalog.has(wanted.name),
                version: template.and_then(|template| template.version.clone()),
                reason,
                denied: denied && problem.is_some(),
            }
        };
        decision.templates = refs.iter().map(outcome).collect();
        decision
    }
}

/// What a placed template adds, for the status.
fn added<'c>(placed: &Placed<'c>, created: Vec<String>) -> Added<'c> {
    let names = |items: &[&'c Item]| items.iter().map(|item| item.name.as_str()).collect();
    let mut added = Added {
        containers: names(&placed.containers),
        init_containers: names(&placed.init_containers),
        volumes: names(&placed.volumes),
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
        let appended: BTreeMap<&str, String> = app.appended.iter().cloned().collect();
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
