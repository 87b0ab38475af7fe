//! The templates that were chosen for a pod: first evaluated one by one, then planned together.

use crate::inject::decision::Problem;
use crate::inject::decision::reason::Reason;
use crate::inject::evaluate::Ready;
use crate::inject::plan::{Placed, Plan, PodContext};
use crate::inject::resolve::case::Case;
use crate::inject::resolve::look_up::{self, NotUsable};
use crate::inject::select::{Choice, ChosenBy};
use crate::inject::template::Template;
use crate::inject::template::words::{Clash, OnConflict, OnProblem};

/// A template that was chosen, evaluated for the pod.
pub(super) struct Candidate<'p> {
    pub(super) choice: Choice<'p>,
    /// The template, if there is one.
    pub(super) template: Option<&'p Template>,
    pub(super) state: Evaluated<'p>,
}

/// The result of evaluating a candidate.
pub(super) enum Evaluated<'p> {
    /// The status lists it, and everything that the status lists is in the pod.
    Present,
    /// An earlier round left it out. It is not evaluated again, because the pod now has our own additions.
    Settled,
    /// It cannot be applied.
    Failed(Vec<Problem>),
    /// It can be planned.
    Ready(Ready<'p>),
}

/// The outcome of a candidate.
#[allow(clippy::large_enum_variant, reason = "a pod has few candidates, and a box would cost an allocation for each")]
pub(super) enum CandidateOutcome<'r> {
    Present,
    Settled,
    Failed(Vec<Problem>),
    /// The pod already has every part of it, or no part applies.
    NothingToAdd,
    Placed(Placed<'r>),
}

/// A candidate with its outcome.
pub(super) struct Resolved<'r> {
    pub(super) candidate: &'r Candidate<'r>,
    pub(super) outcome: CandidateOutcome<'r>,
}

impl<'p> Candidate<'p> {
    /// The name that was requested.
    pub(super) fn name(&self) -> &'p str {
        self.choice.wanted.name
    }

    /// Adds a problem that was found before the template was evaluated.
    pub(super) fn fail(&mut self, problem: Problem) {
        match &mut self.state {
            Evaluated::Failed(problems) => problems.push(problem),
            state => *state = Evaluated::Failed(vec![problem]),
        }
    }

    /// The hash of its `template`, with the parameters and values that were used if it was evaluated.
    pub(super) fn hash<'s>(&'s self, template: &'s Template) -> &'s str {
        match &self.state {
            Evaluated::Ready(ready) => &ready.hash,
            _ => &template.hash,
        }
    }

    /// True if a problem of the template denies the pod.
    pub(super) fn denies(&self, case: &Case<'_>) -> bool {
        // Another version, or a typo in it, must not bypass a required template.
        if case.is_required(self.name()) {
            return true;
        }
        let by_pod = self.choice.by == ChosenBy::Pod;
        let Some(template) = self.template else { return by_pod && !case.settings.skip_unknown };
        let default = if by_pod { OnProblem::Deny } else { OnProblem::Skip };
        template.on_problem.unwrap_or(default) == OnProblem::Deny
    }
}

impl Resolved<'_> {
    /// The problems of the candidate.
    pub(super) fn problems(&self) -> &[Problem] {
        match &self.outcome {
            CandidateOutcome::Failed(problems) => problems,
            _ => &[],
        }
    }

    /// True if the candidate denies the pod.
    pub(super) fn denies(&self, case: &Case<'_>) -> bool {
        !self.problems().is_empty() && self.candidate.denies(case)
    }
}

/// Evaluates a choice. `key` is the annotation that requests it. `is_incomplete` is true if the pod has only a part of
/// it.
pub(super) fn evaluate<'p>(case: &Case<'p>, key: &str, choice: Choice<'p>, is_incomplete: bool) -> Candidate<'p> {
    let template = match look_up::template(case, key, &choice) {
        Ok(template) => template,
        Err(NotUsable { template, problem }) => return failed(choice, template, vec![problem]),
    };
    match case.evaluation().of(template) {
        Ok(mut ready) => {
            if is_incomplete {
                // The parts in the pod are kept, and the crossed parts are added.
                ready.on_conflict = OnConflict::all(Clash::Keep);
                ready.verifies = true;
            }
            Candidate { choice, template: Some(template), state: Evaluated::Ready(ready) }
        }
        Err(problems) => failed(choice, Some(template), problems),
    }
}

fn failed<'p>(choice: Choice<'p>, template: Option<&'p Template>, problems: Vec<Problem>) -> Candidate<'p> {
    Candidate { choice, template, state: Evaluated::Failed(problems) }
}

/// The outcomes of candidates of which none must be planned.
pub(super) fn done<'r>(candidates: &'r [Candidate<'r>]) -> Vec<Resolved<'r>> {
    let outcome = |candidate: &Candidate<'_>| match candidate.state {
        Evaluated::Present => CandidateOutcome::Present,
        _ => CandidateOutcome::Settled,
    };
    candidates.iter().map(|candidate| Resolved { candidate, outcome: outcome(candidate) }).collect()
}

/// Plans the candidates that are ready. If a placed template breaks a rule between parts of the
/// pod, planning starts again without it, so that the others are planned as if those had not been requested.
pub(super) fn plan<'r>(pod: &PodContext<'r>, candidates: &'r [Candidate<'r>]) -> (Plan<'r>, Vec<Resolved<'r>>) {
    let mut crossed: Vec<Vec<Problem>> = candidates.iter().map(|_| Vec::new()).collect();
    loop {
        let mut plan = Plan::of(pod);
        let mut problems: Vec<Vec<Problem>> = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            problems.push(match &candidate.state {
                Evaluated::Ready(ready) if crossed[index].is_empty() => plan.place(index, ready, pod),
                _ => Vec::new(),
            });
        }
        let broken = plan.cross_problems(pod);
        let is_sound = broken.is_empty();
        for (index, problem) in broken {
            crossed[index].push(problem);
        }
        if is_sound {
            plan.placed.retain(|placed| !placed.is_empty());
            plan.finish(pod);
            let all = problems.into_iter().zip(crossed).map(|(mut problems, crossed)| {
                problems.extend(crossed);
                problems
            });
            let resolved = resolved(candidates, all, &mut plan);
            return (plan, resolved);
        }
    }
}

/// The outcome of each candidate. Takes the placed templates out of the plan.
fn resolved<'r>(
    candidates: &'r [Candidate<'r>],
    problems: impl Iterator<Item = Vec<Problem>>,
    plan: &mut Plan<'r>,
) -> Vec<Resolved<'r>> {
    let mut placed = std::mem::take(&mut plan.placed).into_iter().peekable();
    let mut outcome = |index: usize, candidate: &Candidate<'r>, problems: Vec<Problem>| match &candidate.state {
        Evaluated::Present => CandidateOutcome::Present,
        Evaluated::Settled => CandidateOutcome::Settled,
        Evaluated::Failed(problems) => CandidateOutcome::Failed(problems.clone()),
        Evaluated::Ready(_) if !problems.is_empty() && !is_forgiven(candidate, &problems) => {
            CandidateOutcome::Failed(problems)
        }
        Evaluated::Ready(_) => match placed.next_if(|placed| placed.index == index) {
            Some(placed) => CandidateOutcome::Placed(placed),
            None => CandidateOutcome::NothingToAdd,
        },
    };
    let each = candidates.iter().enumerate().zip(problems);
    each.map(|((index, candidate), problems)| Resolved { candidate, outcome: outcome(index, candidate, problems) })
        .collect()
}

/// True for a template that the pod did not request by name and that is not made for pods on the host's network, or on
/// Windows: it does not apply, which is not a problem.
fn is_forgiven(candidate: &Candidate<'_>, problems: &[Problem]) -> bool {
    let is_required = candidate.template.is_some_and(|template| template.required);
    let is_unfit = |problem: &Problem| matches!(problem.reason, Reason::HostNetwork | Reason::WindowsPod);
    candidate.choice.by != ChosenBy::Pod && !is_required && problems.iter().any(is_unfit)
}
