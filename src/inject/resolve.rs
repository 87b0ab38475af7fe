//! Phase 2 of a decision: the templates that were asked for meet the pod. Collects their problems, decides
//! which of them deny, and puts plan, status and patch together. It must not know where templates come from
//! or how the answer is sent.

use serde_json::value::RawValue;

use super::catalog::{Catalog, Unknown};
use super::decision::{self, Decision, Outcome, Verdict};
use super::diagnostic::{self, nearest};
use super::plan::{self, Plan, Problem};
use super::pod::{Metadata, Spec};
use super::reason::Reason;
use super::review::Request;
use super::select::{self, TemplateRef};
use super::status::{Added, STATUS, Skipped, Status, Written, WrittenEntry};
use super::template::{OnProblem, Template};
use super::{Embedding, Item, patch};

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
    pub(super) place: Place<'p>,
}

/// A template asked for and what stands in its way.
struct Chosen<'p> {
    wanted: TemplateRef<'p>,
    template: Option<&'p Template>,
    problems: Vec<Problem>,
    /// Nothing of it is missing from the pod.
    adds_nothing: bool,
}

impl<'p> Case<'p> {
    pub(super) fn decide(&self, refs: &[TemplateRef<'p>]) -> Decision {
        let status_text = self.metadata.annotation(STATUS);
        let status = Status::parse(status_text);
        let present = status.present(self.metadata, self.spec);
        let is_present = |wanted: &&TemplateRef<'p>| present.iter().any(|(name, _)| *name == wanted.name);
        if refs.iter().all(|wanted| is_present(&wanted)) {
            return self.outcome(Decision::unchanged(Reason::AlreadyInjected), refs, &[]);
        }
        let mut chosen: Vec<Chosen<'p>> =
            refs.iter().filter(|wanted| !is_present(wanted)).map(|wanted| self.choose(*wanted)).collect();
        let plan = self.plan(&mut chosen);
        let denies = |chosen: &&Chosen<'p>| chosen.template.and_then(|t| t.on_problem) != Some(OnProblem::Skip);
        if chosen.iter().filter(denies).any(|chosen| !chosen.problems.is_empty()) {
            return self.outcome(self.denied(&chosen), refs, &chosen);
        }
        let mut decision = Decision::unchanged(Reason::AlreadyInjected);
        let left_out = chosen.iter().find(|chosen| !chosen.problems.is_empty());
        if !plan.placed.is_empty() {
            (decision.verdict, decision.reason) = (Verdict::Injected, Reason::Injected);
        } else if let Some(chosen) = left_out {
            decision.reason = chosen.problems[0].reason;
        } else if present.is_empty() {
            decision.reason = Reason::NothingToAdd;
        }
        decision.warnings = Self::warnings(&chosen, &plan);
        let new_status = self.status(refs, &status, &present, &chosen, &plan);
        if !plan.placed.is_empty() || left_out.is_some() && status_text != Some(new_status.as_str()) {
            let pointer = &self.place.embedding.pointer;
            let patch = patch::write(&plan, &new_status, self.metadata, self.spec, pointer);
            if let Some(too_large) = self.too_large(&plan, &new_status, patch.len()) {
                return self.outcome(too_large, refs, &chosen);
            }
            decision.patch = Some(patch);
        }
        self.outcome(decision, refs, &chosen)
    }

    fn choose(&self, wanted: TemplateRef<'p>) -> Chosen<'p> {
        match self.catalog.get(wanted) {
            Ok(template) => Chosen { wanted, template: Some(template), problems: Vec::new(), adds_nothing: false },
            Err(unknown) => {
                let problems = vec![self.unknown(wanted, &unknown)];
                Chosen { wanted, template: None, problems, adds_nothing: false }
            }
        }
    }

    /// Plans the templates that have no problem, and starts again without those that turn out to have one.
    fn plan(&self, chosen: &mut [Chosen<'p>]) -> Plan<'p> {
        let target = plan::Target { metadata: self.metadata, spec: self.spec, claims: &self.place.embedding.claims };
        loop {
            let mut plan = Plan::default();
            let mut again = false;
            for chosen in chosen.iter_mut().filter(|chosen| chosen.problems.is_empty()) {
                let Some(template) = chosen.template else { continue };
                chosen.problems = plan.place(template, &target);
            }
            for chosen in chosen.iter_mut().filter(|chosen| chosen.problems.is_empty()) {
                let Some(template) = chosen.template else { continue };
                chosen.problems = plan.missing_volumes(template, &target);
                again |= !chosen.problems.is_empty();
                chosen.adds_nothing =
                    plan.placed.iter().any(|placed| std::ptr::eq(placed.template, template) && placed.is_empty());
            }
            if !again {
                plan.placed.retain(|placed| !placed.is_empty());
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
    fn denied(&self, chosen: &[Chosen<'_>]) -> Decision {
        let mut sentences = Vec::new();
        let mut first = None;
        for chosen in chosen {
            for problem in &chosen.problems {
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

    fn warnings(chosen: &[Chosen<'_>], plan: &Plan<'_>) -> Vec<String> {
        let left_out = chosen.iter().filter(|chosen| !chosen.problems.is_empty()).map(|chosen| {
            let problem = &chosen.problems[0];
            decision::warning(&format!("{} left out: {}", chosen.wanted.name, problem.what), problem.reason)
        });
        let kept = plan
            .kept
            .iter()
            .map(|(template, what)| decision::warning(&format!("{}: {what}", template.name), Reason::Conflict));
        left_out.chain(kept).collect()
    }

    /// The new status: the templates asked for in their order, then what else is present.
    fn status(
        &self,
        refs: &[TemplateRef<'_>],
        old: &Status<'_>,
        present: &[(&str, &RawValue)],
        chosen: &[Chosen<'_>],
        plan: &Plan<'_>,
    ) -> String {
        let mut created = patch::created(plan, self.metadata, self.spec);
        let mut templates = Vec::with_capacity(refs.len());
        for wanted in refs {
            if let Some((_, raw)) = present.iter().find(|(name, _)| *name == wanted.name) {
                templates.push(WrittenEntry::Kept(raw));
            }
            let Some(chosen) = chosen.iter().find(|chosen| chosen.wanted == *wanted) else { continue };
            let Some(template) = chosen.template else { continue };
            let placed = plan.placed.iter().find(|placed| std::ptr::eq(placed.template, template));
            if let Some(placed) = placed {
                // What had to be created is undone with the first template that is.
                let added = added(placed, std::mem::take(&mut created));
                templates.push(WrittenEntry::of(template, Some(added), None));
            } else if let Some(problem) = chosen.problems.first() {
                let skipped = Skipped { reason: problem.reason.as_str(), message: &problem.what };
                templates.push(match old.skipped(&template.name, &template.hash) {
                    Some(raw) => WrittenEntry::Kept(raw),
                    None => WrittenEntry::of(template, None, Some(skipped)),
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
        let annotations = own + size(&mut plan.annotations.iter().copied()) + STATUS.len() + status.len();
        // Managed fields do not count: the API server drops them where they make an object too large.
        let managed = self.metadata.managed_fields.map_or(0, |fields| fields.get().len());
        let object = self.request.size.saturating_sub(managed) + patch;
        let what = if annotations > MAX_ANNOTATIONS {
            format!("its annotations would have {annotations} bytes; the API server takes {MAX_ANNOTATIONS}")
        } else if object > MAX_OBJECT {
            format!("it would have {object} bytes; the API server takes {MAX_OBJECT}")
        } else {
            return None;
        };
        let all_skip = plan.placed.iter().all(|placed| placed.template.on_problem == Some(OnProblem::Skip));
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
    fn outcome(&self, mut decision: Decision, refs: &[TemplateRef<'_>], chosen: &[Chosen<'_>]) -> Decision {
        let denied = decision.verdict == Verdict::Denied;
        decision.templates = refs
            .iter()
            .map(|wanted| {
                let chosen = chosen.iter().find(|chosen| chosen.wanted.name == wanted.name);
                let template = chosen.and_then(|chosen| chosen.template);
                let reason = match chosen {
                    None => Reason::AlreadyInjected,
                    Some(chosen) => match chosen.problems.first() {
                        Some(problem) => problem.reason,
                        None if chosen.adds_nothing => Reason::NothingToAdd,
                        None if decision.verdict == Verdict::Injected => Reason::Injected,
                        None => decision.reason,
                    },
                };
                Outcome {
                    name: wanted.name.to_owned(),
                    known: self.catalog.has(wanted.name),
                    version: template.and_then(|template| template.version.clone()),
                    reason,
                    denied: denied && chosen.is_some_and(|chosen| !chosen.problems.is_empty()),
                }
            })
            .collect();
        decision
    }
}

/// What a placed template adds, for the status.
fn added<'c>(placed: &plan::Placed<'c>, created: Vec<&'static str>) -> Added<'c> {
    let names = |items: &'c [Item]| items.iter().map(|item| item.name.as_str()).collect();
    Added {
        containers: names(&placed.template.containers),
        init_containers: names(&placed.template.init_containers),
        volumes: names(&placed.template.volumes),
        image_pull_secrets: placed.image_pull_secrets.clone(),
        labels: placed.labels.clone(),
        annotations: placed.annotations.clone(),
        created,
    }
}

fn first_ten(names: &[&str]) -> String {
    let mut list = names.iter().take(10).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 10 {
        list.push_str(", …");
    }
    list
}
