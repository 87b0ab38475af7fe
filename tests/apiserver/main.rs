//! The product against a real API server: kube-apiserver calls our real binary over TLS.
//!
//! One control plane serves the whole run; each scenario is one trial with a namespace, a webhook
//! process and a `MutatingWebhookConfiguration` of its own, so that trials run side by side.
//!
//! - `KUBERNETES_VERSION=1.35.4 cargo test --test apiserver` runs against another version;
//! - `KUBEBUILDER_ASSETS` names a folder with ready binaries;
//! - `CAPTURE_REVIEWS=tests/reviews cargo test --test apiserver capture` records the reviews anew;
//! - `SIDECAR_INJECTOR_E2E=full` adds what takes longer: another Helm, other people's controllers;
//! - `RUST_TEST_THREADS=16`, or `-- --test-threads 16`, sets how many scenarios run at once.
//!
//! A failing run keeps its folder with all logs and says where it is.
#![allow(dead_code, reason = "the support module serves several test programs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../corpus/mod.rs"]
mod corpus;
#[path = "../support/mod.rs"]
mod support;

mod admission;
mod bed;
mod catalog;
mod certificates;
mod chart;
mod claims;
mod events;
mod failure;
mod golden;
mod guards;
mod objects;
mod pod_types;
mod policy;
mod reinvocation;
mod release;
mod reviews;
mod scenario;
mod templates;
mod workloads;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use bed::Bed;
use scenario::Scenario;

/// A scenario's name and what it does.
type Entry = (&'static str, fn(&Scenario<'_>));

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = threads(arguments.test_threads, std::env::var("RUST_TEST_THREADS").ok())?;
    claims::distinct(scenarios(true).iter().map(|(name, _)| *name))?;
    // Most runs of the package's tests want something else: no control plane for them.
    let wanted = !arguments.list && trials(None).iter().any(|trial| !arguments.is_filtered_out(trial));
    let bed = wanted.then(Bed::start).transpose();
    let bed = bed.map_err(|why| format!("no control plane to test against: {why}"))?.map(Arc::new);
    let tests = claims::TESTS.iter().map(|&(name, run)| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, tests.chain(trials(bed.as_ref())).collect());
    if let Some(bed) = bed.and_then(Arc::into_inner) {
        bed.stop(conclusion.has_failed());
    }
    Ok(conclusion.exit_code())
}

/// How many scenarios run at once: the argument, or the variable of libtest, which libtest-mimic does not read.
fn threads(argument: Option<usize>, variable: Option<String>) -> Result<Option<usize>, String> {
    let Some(text) = variable.filter(|_| argument.is_none()) else { return Ok(argument) };
    match text.parse() {
        Ok(threads @ 1..) => Ok(Some(threads)),
        _ => Err(format!("RUST_TEST_THREADS is {text:?}, should be a positive integer")),
    }
}

/// All scenarios as trials on one bed.
fn trials(bed: Option<&Arc<Bed>>) -> Vec<Trial> {
    let full = std::env::var("SIDECAR_INJECTOR_E2E").is_ok_and(|what| what == "full");
    let trial = |(name, run): Entry| {
        let bed = bed.cloned();
        Trial::test(name, move || {
            let bed = bed.ok_or("listing only: there is no control plane")?;
            run(&Scenario::new(&bed, name));
            Ok(())
        })
    };
    scenarios(full).into_iter().map(trial).collect()
}

/// All scenarios, with those that take longer if `full`.
fn scenarios(full: bool) -> Vec<Entry> {
    let groups: [&[Entry]; 16] = [
        claims::SCENARIOS,
        admission::SCENARIOS,
        workloads::SCENARIOS,
        reinvocation::SCENARIOS,
        catalog::SCENARIOS,
        certificates::SCENARIOS,
        chart::SCENARIOS,
        if full { chart::FULL } else { &[] },
        if full { certificates::FULL } else { &[] },
        guards::SCENARIOS,
        events::SCENARIOS,
        failure::SCENARIOS,
        reviews::SCENARIOS,
        pod_types::SCENARIOS,
        golden::SCENARIOS,
        policy::SCENARIOS,
    ];
    groups.into_iter().flatten().copied().collect()
}
