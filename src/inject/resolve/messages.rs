//! The texts of a decision: its message, its warnings, and the outcome of each template. It makes no decisions.

use crate::inject::decision::reason::Reason;
use crate::inject::decision::{self, Decision, TemplateOutcome, Verdict};
use crate::inject::plan::Plan;
use crate::inject::resolve::candidate::{CandidateOutcome, Resolved};
use crate::inject::resolve::case::Case;
use crate::inject::select::strays;
use crate::inject::template::reference::TemplateRef;

/// The denial with every problem. Its reason is that of the first problem, in the order of the request.
pub(super) fn denied(case: &Case<'_>, resolved: &[Resolved<'_>]) -> Decision {
    let mut sentences = Vec::new();
    let mut first = None;
    for resolved in resolved {
        for problem in resolved.problems() {
            // A template that is only left out is not the reason.
            if resolved.denies(case) {
                first.get_or_insert(problem.reason);
            }
            let template = resolved.candidate.template;
            let template = template.map(|template| format!("Template {} cannot be added: ", template.display()));
            let fix = if problem.fix.is_empty() { case.origin.fix() } else { format!("{}.", problem.fix) };
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

/// The warnings: templates that were left out, unexpected results of the plan, and parameters of templates that are not
/// requested.
pub(super) fn warnings(case: &Case<'_>, resolved: &[Resolved<'_>], plan: &Plan<'_>) -> Vec<String> {
    let warnings = plan.warnings.iter();
    let planned =
        warnings.map(|warning| decision::warning(&format!("{}: {}", warning.template, warning.what), warning.reason));
    resolved.iter().filter_map(left_out).chain(planned).chain(stray_parameters(case, resolved)).collect()
}

/// The warning for a template that was left out.
fn left_out(resolved: &Resolved<'_>) -> Option<String> {
    let problem = resolved.problems().first()?;
    let text = format!("{} left out: {}", resolved.candidate.name(), problem.what);
    Some(decision::warning(&text, problem.reason))
}

/// The warnings for parameters of templates that are not requested, which are probably typos.
fn stray_parameters(case: &Case<'_>, resolved: &[Resolved<'_>]) -> Vec<String> {
    let requested: Vec<TemplateRef<'_>> = resolved.iter().map(|resolved| resolved.candidate.choice.wanted).collect();
    let strays = strays::stray_parameters(case.metadata, &requested, &case.settings.keys);
    strays.iter().map(|stray| decision::warning(stray, Reason::InvalidParameter)).collect()
}

/// Returns the decision with the outcome of each template.
pub(super) fn with_outcomes(case: &Case<'_>, mut decision: Decision, resolved: &[Resolved<'_>]) -> Decision {
    let is_denied = decision.verdict == Verdict::Denied;
    let outcome = |resolved: &Resolved<'_>| {
        let candidate = resolved.candidate;
        let reason = match &resolved.outcome {
            CandidateOutcome::Present | CandidateOutcome::Settled => Reason::AlreadyInjected,
            CandidateOutcome::Failed(problems) => problems.first().map_or(decision.reason, |problem| problem.reason),
            CandidateOutcome::NothingToAdd => Reason::NothingToAdd,
            CandidateOutcome::Placed(_) if decision.verdict == Verdict::Injected => Reason::Injected,
            CandidateOutcome::Placed(_) => decision.reason,
        };
        TemplateOutcome {
            name: candidate.name().to_owned(),
            origin: case.catalog.origin(candidate.name()),
            version: candidate.template.and_then(|template| template.version.clone()),
            reason,
            denied: is_denied && resolved.denies(case),
            left_out: left_out(resolved).filter(|_| !is_denied),
        }
    };
    decision.templates = resolved.iter().map(outcome).collect();
    decision
}
