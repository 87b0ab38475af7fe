//! Phase 2 of a decision: resolves the chosen templates for the pod. It finds the problems, decides which of them deny
//! the pod, and combines plan, status and patch into a decision. It does not depend on the sources of templates or on
//! the format of responses.

mod candidate;
pub(crate) mod case;
mod evidence;
mod look_up;
mod messages;
mod record;

use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::Recorder;
use crate::inject::decision::{self, Decision, Verdict};
use crate::inject::evaluate::Ready;
use crate::inject::kube::MAX_ANNOTATIONS;
use crate::inject::plan::{self, Plan, patch};
use crate::inject::resolve::candidate::{Candidate, CandidateOutcome, Evaluated, Resolved};
use crate::inject::resolve::case::{Case, StatusFacts};
use crate::inject::select::{Choice, Choices};
use crate::inject::status::{Status, StatusEntry};
use crate::inject::template::reference::TemplateRef;

/// Maximum size of a pod as JSON, in bytes. etcd accepts requests of 1.5 MiB (`DefaultMaxRequestBytes`), and the API
/// server answers 500 for a larger object. It stores pods as protobuf, which is smaller than JSON.
const MAX_OBJECT: usize = 3 * 1024 * 1024 / 2;

/// Decides on a pod for which templates were chosen.
pub(crate) fn decide(case: &Case<'_>, mut choices: Choices<'_>, recorder: Recorder<'_>) -> Decision {
    let mut warnings = std::mem::take(&mut choices.warnings);
    let mut decision = resolve(case, choices, recorder);
    warnings.append(&mut decision.warnings);
    decision.warnings = warnings;
    decision
}

/// The entries of a status whose templates are in the pod.
struct Known<'s> {
    /// The pod has every part that they list.
    present: Vec<StatusEntry<'s>>,
    /// Entries of required templates of which the pod lacks a part.
    incomplete: Vec<StatusEntry<'s>>,
}

impl Known<'_> {
    fn is_present(&self, name: &str) -> bool {
        self.present.iter().any(|entry| entry.name == name)
    }
}

fn resolve(case: &Case<'_>, choices: Choices<'_>, recorder: Recorder<'_>) -> Decision {
    let status_text = case.metadata.annotation(&case.settings.keys.status);
    let status = Status::parse(status_text);
    let listed = listed(case, &status);
    let known = known(case, &status, &listed);
    let candidates = candidates(case, choices, &status, &known);
    let is_done = |candidate: &Candidate<'_>| matches!(candidate.state, Evaluated::Present | Evaluated::Settled);
    if candidates.iter().all(is_done) {
        let resolved = candidate::done(&candidates);
        recorder.rows(|| evidence::rows(case, &resolved));
        return messages::with_outcomes(case, Decision::unchanged(Reason::AlreadyInjected), &resolved);
    }
    let pod = case.pod_context(&listed);
    let (plan, resolved) = candidate::plan(&pod, &candidates);
    recorder.rows(|| evidence::rows(case, &resolved));
    if resolved.iter().any(|resolved| resolved.denies(case)) {
        return messages::with_outcomes(case, messages::denied(case, &resolved), &resolved);
    }
    let mut decision = verdict(&resolved, !known.present.is_empty());
    decision.warnings = messages::warnings(case, &resolved, &plan);
    let new_status = record::status(case, &status, (&known.present, &known.incomplete), &resolved, &plan);
    let is_injected = decision.verdict == Verdict::Injected;
    let left_out = resolved.iter().any(|resolved| !resolved.problems().is_empty());
    if is_injected || left_out && status_text != Some(new_status.as_str()) {
        let pointer = &case.origin.embedding.pointer;
        let written = (case.settings.keys.status.as_str(), new_status.as_str());
        let patch = patch::write(&plan, written, case.metadata, case.spec, pointer);
        let too_large = too_large(case, &resolved, &plan, &new_status, patch.len());
        recorder.holds(Reason::TooLarge, too_large.is_some(), || {
            too_large.as_ref().map_or(String::new(), |decision| decision.message.clone())
        });
        if let Some(too_large) = too_large {
            return messages::with_outcomes(case, too_large, &resolved);
        }
        decision.patch = Some(patch);
    }
    messages::with_outcomes(case, decision, &resolved)
}

/// Compares the status with the catalog. A container is confirmed only if its template adds a container of that name.
fn listed<'s>(case: &'s Case<'_>, status: &'s Status<'_>) -> StatusFacts<'s> {
    let confirmed = status.containers().filter(|(template, container)| adds_container(case, template, container));
    let foreign = case.settings.foreign_sidecars.iter().map(String::as_str);
    StatusFacts {
        foreign: foreign.chain(confirmed.map(|(_, container)| container)).collect(),
        unconfirmed: status.containers().map(|(_, container)| container).collect(),
        shared: status
            .volumes()
            .filter(|(template, name)| is_shared(case, template, name))
            .map(|(_, name)| name)
            .collect(),
    }
}

/// Returns true if a version of the template adds a container of that name to this pod.
fn adds_container(case: &Case<'_>, template: &str, container: &str) -> bool {
    case.catalog.versions(template).any(|template| {
        let adds = |ready: Ready<'_>| ready.additions.all_containers().any(|item| item.name == container);
        template.container_names().any(|name| name == container)
            || template.names_containers_by_expression() && case.evaluation().of(template).is_ok_and(adds)
    })
}

/// Returns true if the template that the status lists with a volume shares it, or no longer exists and so can have
/// shared it.
fn is_shared(case: &Case<'_>, template: &str, volume: &str) -> bool {
    let mut versions = case.catalog.versions(template).peekable();
    versions.peek().is_none() || versions.any(|template| template.shares(volume))
}

/// The entries of the status whose templates are in the pod.
fn known<'s>(case: &Case<'_>, status: &'s Status<'_>, listed: &StatusFacts<'_>) -> Known<'s> {
    let present = status.present(case.metadata, case.spec);
    let (present, incomplete) = present.into_iter().partition(|entry| is_complete(case, entry.name, listed));
    Known { present, incomplete }
}

/// Returns true if the pod has every part of a template that the status lists. A status can be forged, so a required
/// template is compared with the pod: every container, and all its other additions. Other templates are not checked.
fn is_complete(case: &Case<'_>, name: &str, listed: &StatusFacts<'_>) -> bool {
    let wanted = TemplateRef { name, version: None };
    let Some(template) = case.catalog.get(wanted).ok().filter(|template| template.required) else { return true };
    let has = |name: &str| case.spec.container(name).is_some();
    let pod = plan::PodContext { listed: &[], ..case.pod_context(listed) };
    template.unconditional_containers().all(has)
        && case.evaluation().of(template).is_ok_and(|ready| !plan::would_add(&ready, &pod))
}

/// The chosen templates. Those that the status does not settle are evaluated.
fn candidates<'p>(case: &Case<'p>, choices: Choices<'p>, status: &Status<'_>, known: &Known<'_>) -> Vec<Candidate<'p>> {
    let Choices { key, all, mut problems, .. } = choices;
    let key = key.unwrap_or(&case.settings.keys.request);
    let is_settled = |name: &str, wanted: TemplateRef<'_>| {
        let is_required = case.catalog.get(wanted).is_ok_and(|template| template.required);
        !known.present.is_empty() && !is_required && status.left_out(name).is_some()
    };
    let candidate = |choice: Choice<'p>| {
        let name = choice.wanted.name;
        if known.is_present(name) {
            return Candidate { choice, template: None, state: Evaluated::Present };
        }
        if is_settled(name, choice.wanted) {
            return Candidate { choice, template: None, state: Evaluated::Settled };
        }
        let is_incomplete = known.incomplete.iter().any(|entry| entry.name == name);
        let mut candidate = candidate::evaluate(case, key, choice, is_incomplete);
        if let Some(problem) = problems.remove(name) {
            candidate.fail(problem);
        }
        candidate
    };
    all.into_iter().map(candidate).collect()
}

/// The decision on a pod that no problem denies.
fn verdict(resolved: &[Resolved<'_>], has_present: bool) -> Decision {
    let mut decision = Decision::unchanged(Reason::AlreadyInjected);
    let is_placed = |resolved: &Resolved<'_>| matches!(resolved.outcome, CandidateOutcome::Placed(_));
    if resolved.iter().any(is_placed) {
        (decision.verdict, decision.reason) = (Verdict::Injected, Reason::Injected);
    } else if let Some(problem) = resolved.iter().find_map(|resolved| resolved.problems().first()) {
        decision.reason = problem.reason;
    } else if !has_present {
        decision.reason = Reason::NothingToAdd;
    }
    decision
}

/// The decision, if the patched pod would exceed a size limit of the API server. `patch` is the size of the patch in
/// bytes.
fn too_large(
    case: &Case<'_>,
    resolved: &[Resolved<'_>],
    plan: &Plan<'_>,
    status: &str,
    patch: usize,
) -> Option<Decision> {
    let size = |pairs: &mut dyn Iterator<Item = (&str, &str)>| pairs.map(|(k, v)| k.len() + v.len()).sum::<usize>();
    let key = case.settings.keys.status.as_str();
    let own = case.metadata.annotations.as_ref();
    let own = own.map_or(0, |map| size(&mut map.iter().filter(|(other, _)| *other != key)));
    let annotations =
        own + size(&mut plan.annotations.iter().map(|(key, value)| (*key, value.as_ref()))) + key.len() + status.len();
    // Managed fields do not count: the API server drops them if they make an object too large.
    let managed = case.metadata.managed_fields.map_or(0, |fields| fields.get().len());
    let object = case.request.document.len().saturating_sub(managed) + patch;
    let what = if annotations > MAX_ANNOTATIONS {
        format!("its annotations would have {annotations} bytes, and the API server accepts at most {MAX_ANNOTATIONS}")
    } else if object > MAX_OBJECT {
        format!("it would have {object} bytes, and the API server accepts at most {MAX_OBJECT}")
    } else {
        return None;
    };
    let denies = |resolved: &Resolved<'_>| {
        matches!(resolved.outcome, CandidateOutcome::Placed(_)) && resolved.candidate.denies(case)
    };
    if !resolved.iter().any(denies) {
        let mut decision = Decision::unchanged(Reason::TooLarge);
        let text = format!("nothing is added, the pod would be too large: {what}");
        decision.warnings.push(decision::warning(&text, Reason::TooLarge));
        return Some(decision);
    }
    let fix = case.origin.fix();
    let text = format!("The pod would be too large: {what}. Make it smaller or request fewer templates. {fix}");
    Some(Decision::denied(Reason::TooLarge, &text))
}
