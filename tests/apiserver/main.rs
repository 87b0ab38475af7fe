//! Tests the product with a real API server: kube-apiserver calls the binary over TLS.
//!
//! The whole run uses one control plane. Each scenario is one trial with its own namespace, webhook process and
//! `MutatingWebhookConfiguration`, so trials can run in parallel.
//!
//! - `KUBERNETES_VERSION=1.35.4 cargo test --test apiserver` uses another version of Kubernetes;
//! - `UPDATE_NEXT_VERSION=1`, with another version, writes `tests/apiserver/next_version.txt`: what that version changes;
//! - `KUBEBUILDER_ASSETS` is a folder with the binaries;
//! - `CAPTURE_REVIEWS=tests/reviews cargo test --test apiserver capture` records the reviews again;
//! - `SIDECAR_INJECTOR_E2E=full` adds the scenarios that take longer: another version of Helm, and cert-manager;
//! - `RUST_TEST_THREADS=16`, or `-- --test-threads 16`, sets how many scenarios run in parallel.
//!
//! If a run fails, it keeps its folder with all logs and prints the path.
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
mod dry_run;
mod events;
mod expressions;
mod failure;
mod golden;
mod guards;
mod next_version;
mod objects;
mod pod_types;
mod policy;
mod random;
mod reinvocation;
mod release;
mod reviews;
mod rules;
mod scenario;
mod templates;
mod versions;
mod workloads;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use bed::Bed;
use scenario::Scenario;

/// The name of a scenario and its function.
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
    // Starts the control plane only if a scenario is selected.
    let wanted = !arguments.list && trials(None).iter().any(|trial| !arguments.is_filtered_out(trial));
    let bed = wanted.then(Bed::start).transpose();
    let bed = bed.map_err(|why| format!("cannot start the control plane: {why}"))?.map(Arc::new);
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

/// The number of scenarios that run in parallel: the argument, or the variable of libtest, which libtest-mimic does not
/// read.
fn threads(argument: Option<usize>, variable: Option<String>) -> Result<Option<usize>, String> {
    let Some(text) = variable.filter(|_| argument.is_none()) else { return Ok(argument) };
    match text.parse() {
        Ok(threads @ 1..) => Ok(Some(threads)),
        _ => Err(format!("RUST_TEST_THREADS is {text:?}, it must be a positive integer")),
    }
}

/// Returns all scenarios as trials.
fn trials(bed: Option<&Arc<Bed>>) -> Vec<Trial> {
    let full = std::env::var("SIDECAR_INJECTOR_E2E").is_ok_and(|what| what == "full");
    let trial = |(name, run): Entry| {
        let bed = bed.cloned();
        Trial::test(name, move || {
            let bed = bed.ok_or("there is no control plane")?;
            run(&Scenario::new(&bed, name));
            Ok(())
        })
    };
    scenarios(full).into_iter().map(trial).collect()
}

/// Returns all scenarios. If `full` is false, the scenarios that take longer are left out.
fn scenarios(full: bool) -> Vec<Entry> {
    let groups: [&[Entry]; 22] = [
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
        rules::SCENARIOS,
        random::SCENARIOS,
        next_version::SCENARIOS,
        expressions::SCENARIOS,
        golden::SCENARIOS,
        policy::SCENARIOS,
        versions::SCENARIOS,
        dry_run::SCENARIOS,
    ];
    groups.into_iter().flatten().copied().collect()
}
