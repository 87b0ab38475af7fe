//! `why`: what is decided on the pods of manifests, row by row, and on what evidence.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;

use crate::commands::Failure;
use crate::commands::common::decider::DecideArgs;
use crate::commands::common::manifests::{self, Document};
use crate::inject::decision::Verdict;
use crate::inject::decision::trace::Conclusion;
use crate::manifest::workload::pod_templates;

/// Arguments of `why`.
#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    #[command(flatten)]
    decide: DecideArgs,
}

/// Runs the command: exit code 1 when a pod would be refused.
pub(super) fn run(args: &WhyArgs) -> Result<(), Failure> {
    let settings = args.decide.settings()?;
    let read = args.decide.read()?;
    let mut problems = String::new();
    let parsed: Vec<Vec<Document<'_>>> =
        read.files.iter().map(|file| manifests::documents(file, &mut problems)).collect();
    let decider = args.decide.decider(settings, &parsed)?;
    let (mut out, mut refused) = (String::new(), 0);
    for (file, documents) in read.files.iter().zip(&parsed) {
        for document in documents {
            for pod in pod_templates(&document.value) {
                let (decision, trace) = decider.trace(&pod);
                refused += usize::from(decision.verdict == Verdict::Denied);
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
        problems.push_str("there is no pod, and nothing that makes pods, in what was given");
    }
    match refused {
        0 if problems.is_empty() => Ok(()),
        0 => Err(Failure::Found(problems)),
        count => Err(Failure::Found(format!("{problems}pods refused: {count}"))),
    }
}
