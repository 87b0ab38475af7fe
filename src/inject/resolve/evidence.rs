//! What a trace says of the templates that were chosen: each problem they could have, and what became of them. It reads
//! what was decided and decides nothing.

use std::fmt::Write as _;

use crate::inject::decision::reason::Reason;
use crate::inject::decision::trace::Row;
use crate::inject::diagnostic::shown;
use crate::inject::plan::{Placed, Plan};
use crate::inject::resolve::{Case, Chosen, Findings};
use crate::inject::select::By;
use crate::inject::select::request::TemplateRef;
use crate::inject::template::body::pod_fields::Operation;
use crate::inject::template::parameter;

impl Case<'_> {
    /// The rows of every template that was chosen.
    pub(crate) fn rows(
        &self,
        refs: &[(TemplateRef<'_>, By)],
        chosen: &[Chosen<'_>],
        findings: &Findings,
        plan: Option<&Plan<'_>>,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        for (wanted, by) in refs {
            let who = match by {
                By::Pod => "the pod asks for it",
                By::Default => "a default",
                By::Auto => "it chooses the pod itself",
            };
            let version = wanted.version.map(|version| format!("@{version}")).unwrap_or_default();
            let template = format!("template {}{version} ({who})", wanted.name);
            match chosen.iter().position(|chosen| chosen.wanted == *wanted) {
                None => rows.push(Row {
                    template,
                    reason: Reason::AlreadyInjected,
                    holds: Some(true),
                    evidence: "the status lists it, and what it lists is there".to_owned(),
                }),
                Some(at) => rows.extend(self.of_template(&template, chosen, at, findings, plan)),
            }
        }
        rows
    }

    fn of_template(
        &self,
        template: &str,
        chosen_all: &[Chosen<'_>],
        at: usize,
        findings: &Findings,
        plan: Option<&Plan<'_>>,
    ) -> Vec<Row> {
        let row = |reason, holds, evidence| Row { template: template.to_owned(), reason, holds, evidence };
        let chosen = &chosen_all[at];
        let mut rows = vec![row(
            Reason::AlreadyInjected,
            Some(false),
            "the status does not list it, or not all that it lists is there".to_owned(),
        )];
        let mut stopped = false;
        for (stage, reasons) in STAGES {
            for reason in *reasons {
                let found: Vec<&str> =
                    findings.problems[at].iter().filter(|p| p.reason == *reason).map(|p| p.what.as_str()).collect();
                rows.push(match (stopped, found.is_empty()) {
                    (true, true) => row(*reason, None, String::new()),
                    (false, true) => row(*reason, Some(false), self.evidence(*reason, chosen)),
                    (_, false) => row(*reason, Some(true), found.join("; ")),
                });
            }
            let holds = rows.iter().any(|row| row.holds == Some(true));
            // Nothing is planned of what could not be evaluated.
            stopped |= holds && *stage;
        }
        let refused = chosen_all
            .iter()
            .zip(&findings.problems)
            .any(|(chosen, problems)| !problems.is_empty() && self.denies(chosen));
        let placed = plan.and_then(|plan| {
            let ready = chosen.ready.as_ref()?;
            plan.placed.iter().find(|placed| std::ptr::eq(placed.ready, ready))
        });
        match placed {
            Some(placed) if refused => {
                let what = format!("another template's problem refuses the pod; it would add {}", added(placed));
                rows.push(row(Reason::Injected, Some(false), what));
            }
            Some(placed) => rows.push(row(Reason::Injected, Some(true), added(placed))),
            None if findings.problems[at].is_empty() && findings.adds_nothing[at] => {
                rows.push(row(Reason::NothingToAdd, Some(true), "nothing of it is missing, or applies".to_owned()));
            }
            None => {
                let what = if self.denies(chosen) { "its problems refuse the pod" } else { "it is left out" };
                rows.push(row(Reason::Injected, Some(false), what.to_owned()));
            }
        }
        rows
    }

    /// What was seen where there is no problem.
    fn evidence(&self, reason: Reason, chosen: &Chosen<'_>) -> String {
        let Some(template) = chosen.template else { return String::new() };
        match reason {
            Reason::UnknownTemplate => format!("{} serves", template.display()),
            Reason::InvalidParameter => {
                let values =
                    parameter::values(&self.settings.keys, &template.name, &template.parameters, self.metadata)
                        .unwrap_or_default();
                let pairs = values.as_object().into_iter().flatten();
                let shown_pair =
                    |(name, value): (&String, &serde_json::Value)| format!("{name}={}", shown(&value.to_string(), 60));
                pairs.map(shown_pair).collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        }
    }
}

/// What is looked at together, in the order in which it is; whether problems there keep the template from the next.
const STAGES: &[(bool, &[Reason])] = &[
    (true, &[Reason::UnknownTemplate]),
    (true, &[Reason::NotAllowed]),
    (true, &[Reason::InvalidParameter]),
    (true, &[Reason::ExpressionFailed, Reason::ResourcesExceeded]),
    (false, &[Reason::HostNetwork, Reason::WindowsPod, Reason::Conflict, Reason::MissingVolume]),
];

/// Everything that a template adds, by kind.
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
