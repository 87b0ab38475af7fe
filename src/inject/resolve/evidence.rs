//! The trace of the chosen templates: the result of every check, and the outcome of each template. It reads decisions
//! and makes none.

use std::fmt::Write as _;

use crate::inject::decision::Problem;
use crate::inject::decision::reason::{Reason, Stage};
use crate::inject::decision::trace::Row;
use crate::inject::diagnostic::shown;
use crate::inject::evaluate::parameters;
use crate::inject::plan::Placed;
use crate::inject::plan::pod_fields::Operation;
use crate::inject::resolve::candidate::{Candidate, CandidateOutcome, Resolved};
use crate::inject::resolve::case::Case;
use crate::inject::select::ChosenBy;

/// The rows of every chosen template.
pub(super) fn rows(case: &Case<'_>, resolved: &[Resolved<'_>]) -> Vec<Row> {
    let is_denied = resolved.iter().any(|resolved| resolved.denies(case));
    resolved.iter().flat_map(|resolved| of_template(case, resolved, is_denied)).collect()
}

fn of_template(case: &Case<'_>, resolved: &Resolved<'_>, is_denied: bool) -> Vec<Row> {
    let candidate = resolved.candidate;
    let who = match candidate.choice.by {
        ChosenBy::Pod => "the pod requests it",
        ChosenBy::Default => "a default template",
        ChosenBy::Auto => "its autoInject selects the pod",
    };
    let version = candidate.choice.wanted.version.map(|version| format!("@{version}")).unwrap_or_default();
    let template = format!("template {}{version} ({who})", candidate.name());
    let row = |reason, holds, evidence| Row { template: template.clone(), reason, holds, evidence };
    let settled = match resolved.outcome {
        CandidateOutcome::Present => Some("the status lists it, and the pod has all listed parts"),
        CandidateOutcome::Settled => Some("the status records that an earlier round left it out"),
        _ => None,
    };
    if let Some(evidence) = settled {
        return vec![row(Reason::AlreadyInjected, Some(true), evidence.to_owned())];
    }
    let evidence = "the status does not list it, or the pod lacks a listed part".to_owned();
    let mut rows = vec![row(Reason::AlreadyInjected, Some(false), evidence)];
    let problems = problem_rows(case, candidate, resolved.problems());
    rows.extend(problems.into_iter().map(|(reason, holds, evidence)| row(reason, holds, evidence)));
    let (reason, holds, evidence) = conclusion(case, resolved, is_denied);
    rows.push(row(reason, Some(holds), evidence));
    rows
}

/// Every reason that a template can fail for, in the order of the stages, with the verdict and the evidence.
fn problem_rows(
    case: &Case<'_>,
    candidate: &Candidate<'_>,
    problems: &[Problem],
) -> Vec<(Reason, Option<bool>, String)> {
    let mut rows = Vec::new();
    let mut is_stopped = false;
    for stage in Stage::OF_TEMPLATES {
        let of_stage = Reason::ALL.iter().filter(|reason| reason.stage() == *stage);
        let mut holds = false;
        for reason in of_stage {
            let found: Vec<&str> = found(problems, *reason).collect();
            holds |= !found.is_empty();
            rows.push(match (is_stopped, found.is_empty()) {
                (true, true) => (*reason, None, String::new()),
                (false, true) => (*reason, Some(false), evidence(case, candidate, *reason)),
                (_, false) => (*reason, Some(true), found.join("; ")),
            });
        }
        // After a stage with a problem, the next stages are not checked.
        is_stopped |= holds;
    }
    // A template can also fail for a reason of the pod, such as a container whose lists cannot be read.
    let other = Reason::ALL.iter().filter(|reason| !Stage::OF_TEMPLATES.contains(&reason.stage()));
    for reason in other {
        let found: Vec<&str> = found(problems, *reason).collect();
        if !found.is_empty() {
            rows.push((*reason, Some(true), found.join("; ")));
        }
    }
    rows
}

fn found(problems: &[Problem], reason: Reason) -> impl Iterator<Item = &str> {
    problems.iter().filter(move |problem| problem.reason == reason).map(|problem| problem.what.as_str())
}

/// The outcome of the template.
fn conclusion(case: &Case<'_>, resolved: &Resolved<'_>, is_denied: bool) -> (Reason, bool, String) {
    match &resolved.outcome {
        CandidateOutcome::Placed(placed) if is_denied => {
            let what = format!("another template denies the pod; this one would add {}", added(placed));
            (Reason::Injected, false, what)
        }
        CandidateOutcome::Placed(placed) => (Reason::Injected, true, added(placed)),
        CandidateOutcome::NothingToAdd => {
            (Reason::NothingToAdd, true, "the pod has all parts of it, or no part applies".to_owned())
        }
        _ => {
            let denies = resolved.candidate.denies(case);
            let what = if denies { "its problems deny the pod" } else { "it is left out" };
            (Reason::Injected, false, what.to_owned())
        }
    }
}

/// The evidence of a check that found no problem; can be empty.
fn evidence(case: &Case<'_>, candidate: &Candidate<'_>, reason: Reason) -> String {
    let Some(template) = candidate.template else { return String::new() };
    match reason {
        Reason::UnknownTemplate => format!("found {}", template.display()),
        Reason::InvalidParameter => {
            let keys = &case.settings.keys;
            let values = parameters::values(keys, &template.name, &template.parameters, case.metadata);
            let values = values.unwrap_or_default();
            let pairs = values.as_object().into_iter().flatten();
            let pair =
                |(name, value): (&String, &serde_json::Value)| format!("{name}={}", shown(&value.to_string(), 60));
            pairs.map(pair).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

/// The additions of a template, by kind.
fn added(placed: &Placed<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut part = |what: &str, names: Vec<&str>| {
        if !names.is_empty() {
            parts.push(format!("{what} {}", names.join(", ")));
        }
    };
    part("init containers", placed.init_containers.iter().map(|item| item.name.as_str()).collect());
    part("containers", placed.containers.iter().map(|item| item.name.as_str()).collect());
    part("volumes", placed.volumes.iter().map(|item| item.name.as_str()).collect());
    part("pull secrets", placed.image_pull_secrets.clone());
    part("labels", placed.labels.clone());
    part("annotations", placed.annotations.clone());
    let pointers: Vec<String> = placed.pod.iter().map(Operation::pointer).collect();
    part("pod", pointers.iter().map(String::as_str).collect());
    for app in &placed.app_containers {
        let mut text = format!("in {}:", shown(app.container, 63));
        let paths: Vec<&str> = app.mounts.iter().map(|mount| mount.path.as_str()).collect();
        let appended: Vec<&str> = app.appended.iter().map(|(name, _)| *name).collect();
        for (what, names) in [("env", &app.env), ("mounts", &paths), ("appended", &appended)] {
            if !names.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(text, " {what} {}", names.join(", "));
            }
        }
        parts.push(text);
    }
    parts.join("; ")
}
