//! `why`: prints each check behind the decisions on the pods of manifests, with its evidence. The module does not know
//! how decisions are made.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;

use crate::commands::common::decider::DecideArgs;
use crate::commands::common::manifests::{self, Document};
use crate::commands::failure::Failure;
use crate::inject::decision::Verdict;
use crate::inject::decision::trace::Conclusion;
use crate::manifest::workload::pod_templates;

/// Arguments of `why`.
#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    #[command(flatten)]
    decide: DecideArgs,
}

/// Runs the command.
///
/// # Errors
/// Invalid flags, files that cannot be read, invalid manifests or templates, denied pods, and input without pods.
pub(super) fn run(args: &WhyArgs) -> Result<(), Failure> {
    let settings = args.decide.settings()?;
    let read = args.decide.read()?;
    let mut problems = String::new();
    let parsed: Vec<Vec<Document<'_>>> =
        read.files.iter().map(|file| manifests::documents(file, &mut problems)).collect();
    let decider = args.decide.decider(settings, &parsed)?;
    let (mut out, mut denied) = (String::new(), 0);
    for (file, documents) in read.files.iter().zip(&parsed) {
        for document in documents {
            for pod in pod_templates(&document.value) {
                let (decision, trace) = decider.trace(&pod);
                denied += usize::from(decision.verdict == Verdict::Denied);
                let blank = if out.is_empty() { "" } else { "\n" };
                let what = manifests::describe(&document.value, &pod);
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{blank}{}: {what}\n{trace}{}", file.name, Conclusion(&decision));
            }
        }
    }
    std::io::stdout().write_all(out.as_bytes()).context("failed to write to stdout")?;
    if let Some(error) = read.unread {
        eprint!("{problems}");
        return Err(Failure::Io(error));
    }
    if out.is_empty() && problems.is_empty() {
        problems.push_str("the input contains no pods and no workloads with pod templates");
    }
    match denied {
        0 if problems.is_empty() => Ok(()),
        0 => Err(Failure::Found(problems)),
        count => Err(Failure::Found(format!("{problems}pods denied: {count}"))),
    }
}
