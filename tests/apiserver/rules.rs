//! Tests each row of the table of rules against the API server: what a row refuses, the server must reject, and what it
//! allows, the server must accept.

use sidecar_injector::inject::kube::examples::{self, Example, RuleRow};

use crate::scenario::Scenario;
use crate::support::cluster::ApiError;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("each_rule_is_true", each_rule_is_true)];

fn each_rule_is_true(scenario: &Scenario<'_>) {
    let version = scenario.version();
    let (mut count, mut wrong) = (0, Vec::new());
    // What the server does not know by default, it drops, or it refuses any value.
    for row in examples::rows_for(version).iter().filter(|row| row.gate.is_none() || row.is_dropped) {
        count += row.examples.len();
        wrong.extend(row.examples.iter().filter_map(|example| disagreement(scenario, row, example)));
    }
    assert!(wrong.is_empty(), "{} of {count} examples:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} examples agree with Kubernetes {version}");
}

fn disagreement(scenario: &Scenario<'_>, row: &RuleRow, example: &Example) -> Option<String> {
    let is_allowed = example.is_allowed || row.is_dropped;
    let why = match scenario.dry_run(&example.pod) {
        Ok(_) if is_allowed => return None,
        Ok(_) => "the server accepts it".to_owned(),
        Err(error) if is_refusal(&error) && !is_allowed => return None,
        Err(error) => error.to_string(),
    };
    let gate = row.gate.map(|gate| format!(" (the feature gate {gate} should be off)")).unwrap_or_default();
    Some(format!("{} ({}): {}: {why}{gate}", row.of, row.rule, example.value))
}

/// True for an answer about the value, 422 or 403. Another answer is a fault of the example.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error.code, 403 | 422)
}
