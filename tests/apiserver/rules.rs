//! Tests each row of the table of rules against the API server: what a row refuses, the server must reject, and what it
//! allows, the server must accept.

use sidecar_injector::inject::kube::examples;

use crate::scenario::Scenario;
use crate::support::cluster::ApiError;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("each_rule_is_true", each_rule_is_true)];

fn each_rule_is_true(scenario: &Scenario<'_>) {
    let (mut count, mut wrong) = (0, Vec::new());
    // The control plane has the default gates.
    for row in examples::rows().into_iter().filter(|row| row.gate.is_none()) {
        for example in &row.examples {
            count += 1;
            let answer = scenario.dry_run(&example.pod);
            let why = match &answer {
                Ok(_) if example.is_allowed => continue,
                Ok(_) => "the server accepts it".to_owned(),
                Err(error) if is_refusal(error) && !example.is_allowed => continue,
                Err(error) => error.to_string(),
            };
            wrong.push(format!("{} ({}): {}: {why}", row.of, row.rule, example.value));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} examples:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} examples agree with the API server");
}

/// True for an answer about the value, 422 or 403. Another answer is a fault of the example.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error.code, 403 | 422)
}
