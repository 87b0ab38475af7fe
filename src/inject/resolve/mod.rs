//! Phase 2 of a decision: the templates that were asked for meet the pod. Collects their problems, decides
//! which of them deny, and puts plan, status and patch together. It must not know where templates come from
//! or how the answer is sent.

mod evidence;
mod messages;

use crate::inject::catalog::view::View;
use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::Recorder;
use crate::inject::decision::{self, Decision, Verdict};
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::Evaluation;
use crate::inject::plan::{self, Placed, Plan, Problem, Ready, patch};
use crate::inject::review::Request;
use crate::inject::review::pod::{Metadata, Spec};
use crate::inject::select::request::TemplateRef;
use crate::inject::select::{By, Choices};
use crate::inject::status::Status;
use crate::inject::template::{Clash, OnConflict, OnProblem, Template};
use crate::inject::{Embedding, Settings};

/// Annotations of a pod may have this many bytes, keys and values (`ValidateAnnotationsSize`).
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// What the API server reads of an object (`MaxRequestBodyBytes`).
const MAX_OBJECT: usize = 3 * 1024 * 1024;

/// Where the pod's author changes things.
pub(crate) struct Place<'p> {
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) embedding: &'p Embedding,
}

impl Place<'_> {
    /// The sentence that says where the request is written.
    pub(crate) fn change(&self) -> String {
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
pub(crate) struct Case<'p> {
    pub(crate) request: &'p Request<'p>,
    pub(crate) metadata: &'p Metadata<'p>,
    pub(crate) spec: &'p Spec<'p>,
    pub(crate) catalog: View<'p>,
    pub(crate) settings: &'p Settings,
    pub(crate) place: Place<'p>,
    pub(crate) recorder: Recorder<'p>,
}

/// A template asked for.
pub(crate) struct Chosen<'p> {
    pub(crate) wanted: TemplateRef<'p>,
    pub(crate) by: By,
    pub(crate) template: Option<&'p Template>,
    /// What it adds, if it is known and could be evaluated.
    pub(crate) ready: Option<Ready<'p>>,
}

/// What stands in the way of each template asked for, in the same order; where nothing does, what came of it.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Vec<Problem>>,
    /// Nothing of it is missing from the pod.
    pub(crate) adds_nothing: Vec<bool>,
}

impl Findings {
    pub(crate) fn first(&self, index: usize) -> Option<&Problem> {
        self.problems[index].first()
    }
}

impl<'p> Case<'p> {
    pub(crate) fn decide(&self, mut choices: Choices<'p>) -> Decision {
        let mut early = std::mem::take(&mut choices.warnings);
        let mut decision = self.resolve(choices);
        early.append(&mut decision.warnings);
        decision.warnings = early;
        decision
    }

    fn resolve(&self, choices: Choices<'p>) -> Decision {
        let Choices { key, refs, by, mut problems, .. } = choices;
        let key = key.unwrap_or(&self.settings.keys.request);
        let refs = refs.as_slice();
        let status_text = self.metadata.annotation(&self.settings.keys.status);
        let status = Status::parse(status_text);
        let present = status.present(self.metadata, self.spec);
        // What a status lists counts as somebody's for sure only where a template adds such a container.
        let is_known = |(template, container): &(&str, &str)| self.adds_container(template, container);
        let known = status.containers().filter(is_known).map(|(_, container)| container);
        let foreign: Vec<&str> = self.settings.foreign_sidecars.iter().map(String::as_str).chain(known).collect();
        let shared: Vec<&str> =
            status.volumes().filter(|listed| self.is_shared(*listed)).map(|(_, name)| name).collect();
        let listed: Vec<&str> = status.containers().map(|(_, container)| container).collect();
        let (present, incomplete): (Vec<_>, Vec<_>) =
            present.into_iter().partition(|(name, _)| self.is_complete(name, &shared, &foreign));
        let is_present = |wanted: &TemplateRef<'p>| present.iter().any(|(name, _)| *name == wanted.name);
        // What an earlier round left out beside what it added would be judged on our own additions now.
        let settled = |wanted: &TemplateRef<'p>| {
            let required = self.catalog.get(*wanted).is_ok_and(|template| template.required);
            !present.is_empty() && !required && status.left_out(wanted.name).is_some()
        };
        if refs.iter().all(|wanted| is_present(wanted) || settled(wanted)) {
            let decision = Decision::unchanged(Reason::AlreadyInjected);
            self.recorder.rows(|| self.rows(&chosen_by(refs, &by), &[], &Findings::default(), None));
            return self.outcome(decision, refs, &[], &Findings::default());
        }
        let absent = refs.iter().zip(&by).filter(|(wanted, _)| !is_present(wanted) && !settled(wanted));
        let choose = |(wanted, by): (&TemplateRef<'p>, &By)| {
            let (mut chosen, mut found) = self.choose(key, *wanted, *by);
            if let Some(ready) =
                chosen.ready.as_mut().filter(|_| incomplete.iter().any(|(name, _)| *name == wanted.name))
            {
                // Some of it is there: what is stays, what is missing is added.
                ready.on_conflict = OnConflict::all(Clash::Keep);
                ready.verifies = true;
            }
            found.extend(problems.remove(wanted.name));
            (chosen, found)
        };
        let (chosen, problems): (Vec<Chosen<'p>>, Vec<Vec<Problem>>) = absent.map(choose).unzip();
        let mut findings = Findings { adds_nothing: vec![false; chosen.len()], problems };
        let target = self.target(&shared, &foreign, &listed);
        let plan = Self::plan(&target, &chosen, &mut findings);
        Self::forgive(&chosen, &mut findings);
        self.recorder.rows(|| self.rows(&chosen_by(refs, &by), &chosen, &findings, Some(&plan)));
        let broken = |(_, problems): &(&Chosen<'p>, &Vec<Problem>)| !problems.is_empty();
        if chosen.iter().zip(&findings.problems).filter(broken).any(|(chosen, _)| self.denies(chosen)) {
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
        let new_status = self.status(refs, &status, (&present, &incomplete), &chosen, &findings, &plan);
        if !plan.placed.is_empty() || left_out.is_some() && status_text != Some(new_status.as_str()) {
            let pointer = &self.place.embedding.pointer;
            let status = (self.settings.keys.status.as_str(), new_status.as_str());
            let patch = patch::write(&plan, status, self.metadata, self.spec, pointer);
            let too_large = self.too_large(&chosen, &plan, &new_status, patch.len());
            self.recorder.holds(Reason::TooLarge, too_large.is_some(), || {
                too_large.as_ref().map_or(String::new(), |decision| decision.message.clone())
            });
            if let Some(too_large) = too_large {
                return self.outcome(too_large, refs, &chosen, &findings);
            }
            decision.patch = Some(patch);
        }
        self.outcome(decision, refs, &chosen, &findings)
    }

    /// Whether everything is in the pod that it must have of a template that a status lists. A status can be forged, so
    /// of a required template nothing may be missing: every container, and all that it adds elsewhere.
    fn is_complete(&self, name: &str, shared: &[&str], foreign: &[&str]) -> bool {
        let wanted = TemplateRef { name, version: None };
        let Some(template) = self.catalog.get(wanted).ok().filter(|template| template.required) else { return true };
        let has = |name: &str| self.spec.container(name).is_some();
        let target = self.target(shared, foreign, &[]);
        let adds = |ready: &Ready<'_>| plan::would_add(ready, &target);
        template.literal_containers().all(has) && self.evaluation().of(template).is_ok_and(|ready| !adds(&ready))
    }

    /// Whether the template, in some version, adds a container so called to this pod.
    fn adds_container(&self, template: &str, container: &str) -> bool {
        self.catalog.versions(template).any(|template| {
            template.container_names().any(|name| name == container)
                || template.names_containers_by_expression()
                    && self
                        .evaluation()
                        .of(template)
                        .is_ok_and(|ready| ready.additions.all_containers().any(|item| item.name == container))
        })
    }

    /// Whether the template that a status says has brought a volume shares it; of one that is gone nobody knows.
    fn is_shared(&self, (template, volume): (&str, &str)) -> bool {
        let mut versions = self.catalog.versions(template).peekable();
        versions.peek().is_none() || versions.any(|template| template.shares(volume))
    }

    fn evaluation(&self) -> Evaluation<'p> {
        Evaluation {
            request: self.request,
            keys: &self.settings.keys,
            metadata: self.metadata,
            spec: self.spec,
            catalog: self.catalog,
        }
    }

    fn target<'r>(&'r self, shared: &'r [&'r str], foreign: &'r [&'r str], listed: &'r [&'r str]) -> plan::Target<'r> {
        plan::Target {
            request: self.request,
            shared,
            metadata: self.metadata,
            spec: self.spec,
            foreign,
            listed,
            of_job: self.place.embedding.of_job || self.metadata.is_of_job(),
            claims: &self.place.embedding.claims,
        }
    }

    /// Whether a problem of the template refuses the pod.
    pub(crate) fn denies(&self, chosen: &Chosen<'_>) -> bool {
        // Another version, or a slip in it, is no way around a required template.
        let serving = self.catalog.get(TemplateRef { name: chosen.wanted.name, version: None });
        if serving.is_ok_and(|serving| serving.required) {
            return true;
        }
        let Some(template) = chosen.template else { return chosen.by == By::Pod && !self.settings.skip_unknown };
        let default = if chosen.by == By::Pod { OnProblem::Deny } else { OnProblem::Skip };
        template.on_problem.unwrap_or(default) == OnProblem::Deny
    }

    /// A template that nobody asked for by name does not apply to pods on the host's network, or on Windows, that it
    /// is not made for: no problem.
    fn forgive(chosen: &[Chosen<'_>], findings: &mut Findings) {
        for (index, chosen) in chosen.iter().enumerate() {
            let required = chosen.template.is_some_and(|template| template.required);
            let problems = &mut findings.problems[index];
            let unfit = |problem: &Problem| matches!(problem.reason, Reason::HostNetwork | Reason::WindowsPod);
            if chosen.by != By::Pod && !required && problems.iter().any(unfit) {
                problems.clear();
                findings.adds_nothing[index] = true;
            }
        }
    }

    /// Whether the pod may have the template at all.
    fn not_allowed(&self, wanted: TemplateRef<'_>, template: &Template) -> Option<Problem> {
        let namespace = self.request.namespace.as_str();
        let serving = self.catalog.get(TemplateRef { name: wanted.name, version: None });
        let what = if !self.catalog.namespaces().matches(&template.allowed_namespaces, namespace) {
            format!("pods of the namespace {} may not ask for it", shown(namespace, 63))
        } else if serving.is_ok_and(|serving| serving.required && serving.version != template.version) {
            "it is required, and no other version of it may be asked for".to_owned()
        } else {
            return None;
        };
        Some(Problem { reason: Reason::NotAllowed, what, fix: "" })
    }

    fn choose(&self, key: &str, wanted: TemplateRef<'p>, by: By) -> (Chosen<'p>, Vec<Problem>) {
        let template = match self.catalog.get(wanted) {
            Ok(template) => template,
            Err(unknown) => {
                let problems = vec![self.unknown(key, wanted, by, &unknown)];
                return (Chosen { wanted, by, template: None, ready: None }, problems);
            }
        };
        if let Some(problem) = self.not_allowed(wanted, template) {
            return (Chosen { wanted, by, template: Some(template), ready: None }, vec![problem]);
        }
        match self.evaluation().of(template) {
            Ok(ready) => (Chosen { wanted, by, template: Some(template), ready: Some(ready) }, Vec::new()),
            Err(problems) => (Chosen { wanted, by, template: Some(template), ready: None }, problems),
        }
    }

    /// Plans the templates that have no problem, and starts again without those that turn out to have one.
    fn plan<'r>(target: &plan::Target<'r>, chosen: &'r [Chosen<'r>], findings: &mut Findings) -> Plan<'r> {
        // What no planning can change: unknown templates, failed expressions, volumes that nobody has.
        let mut hopeless: Vec<bool> = findings.problems.iter().map(|problems| !problems.is_empty()).collect();
        loop {
            let mut plan = Plan::of(target);
            let mut again = false;
            for (index, chosen) in chosen.iter().enumerate().filter(|(index, _)| !hopeless[*index]) {
                findings.problems[index] =
                    chosen.ready.as_ref().map(|ready| plan.place(ready, target)).unwrap_or_default();
            }
            for (index, chosen) in chosen.iter().enumerate() {
                let (Some(ready), true) = (&chosen.ready, findings.problems[index].is_empty()) else { continue };
                findings.problems[index] = plan.missing_volumes(ready, target);
                hopeless[index] = !findings.problems[index].is_empty();
                again |= hopeless[index];
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

    fn too_large(&self, chosen: &[Chosen<'_>], plan: &Plan<'_>, status: &str, patch: usize) -> Option<Decision> {
        let size = |pairs: &mut dyn Iterator<Item = (&str, &str)>| pairs.map(|(k, v)| k.len() + v.len()).sum::<usize>();
        let key = self.settings.keys.status.as_str();
        let own = self.metadata.annotations.as_ref();
        let own = own.map_or(0, |map| size(&mut map.iter().filter(|(other, _)| *other != key)));
        let annotations = own
            + size(&mut plan.annotations.iter().map(|(key, value)| (*key, value.as_ref())))
            + key.len()
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
        let added = |chosen: &&Chosen<'_>| {
            let ready = chosen.ready.as_ref();
            plan.placed.iter().any(|placed| ready.is_some_and(|ready| std::ptr::eq(placed.ready, ready)))
        };
        let all_skip = chosen.iter().filter(added).all(|chosen| !self.denies(chosen));
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
}

/// The templates chosen, each with who chose it.
fn chosen_by<'p>(refs: &[TemplateRef<'p>], by: &[By]) -> Vec<(TemplateRef<'p>, By)> {
    refs.iter().copied().zip(by.iter().copied()).collect()
}
