//! Tests each row of the table of rules against the API server: what a row refuses, the server must reject, and what it
//! allows, the server must accept.

use serde_json::{Value, json};
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::kube::examples::{self, RuleRow};
use sidecar_injector::inject::settings::Settings;
use sidecar_injector::inject::template::Template;

use crate::scenario::Scenario;
use crate::support::cluster::ApiError;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("each_rule_is_true", each_rule_is_true)];

/// The gates of rows that are on by default, with the first minor version in which they are. With another gate, the
/// server drops the field, so that it refuses no value of it.
const GATES_ON_FROM: [(&str, u32); 2] = [("ClusterTrustBundleProjection", 37), ("PodCertificateRequest", 37)];

/// A value that the table refuses in all versions, although the server accepts it from a version on.
struct Difference {
    /// A pod-level field with the value, as JSON.
    field: (&'static str, &'static str),
    /// The first minor version that accepts it; None if no version does by default.
    accepted_from: Option<u32>,
    reason: &'static str,
}

const DIFFERENCES: [Difference; 3] = [
    Difference {
        field: ("securityContext", r#"{"seLinuxChangePolicy": "MountOption"}"#),
        accepted_from: Some(37),
        reason: "the feature gate SELinuxMount is on from 1.37",
    },
    Difference {
        field: ("tolerations", r#"[{"key": "a", "operator": "Gt", "value": "1"}]"#),
        accepted_from: None,
        reason: "the feature gate TaintTolerationComparisonOperators is off",
    },
    Difference {
        field: ("tolerations", r#"[{"key": "a", "operator": "Lt", "value": "1"}]"#),
        accepted_from: None,
        reason: "the feature gate TaintTolerationComparisonOperators is off",
    },
];

fn each_rule_is_true(scenario: &Scenario<'_>) {
    let minor = minor(scenario);
    let is_on = |gate| GATES_ON_FROM.iter().any(|(on, from)| *on == gate && *from <= minor);
    let (mut count, mut wrong) = (0, Vec::new());
    for row in examples::rows() {
        let is_dropped = row.gate.is_some_and(|gate| !is_on(gate));
        let before = wrong.len();
        count += row.examples.len();
        wrong.extend(row.examples.iter().filter_map(|example| disagreement(scenario, &row, example, is_dropped)));
        if let (true, Some(gate)) = (wrong.len() > before, row.gate) {
            wrong.push(format!("  is the feature gate {gate} {} by default?", if is_dropped { "on" } else { "off" }));
        }
    }
    for difference in &DIFFERENCES {
        count += 1;
        wrong.extend(stale(scenario, difference, minor));
    }
    assert!(wrong.is_empty(), "{} of {count} examples:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} examples agree with the API server");
}

fn disagreement(
    scenario: &Scenario<'_>,
    row: &RuleRow,
    example: &examples::Example,
    is_dropped: bool,
) -> Option<String> {
    let is_allowed = example.is_allowed || is_dropped;
    let why = match scenario.dry_run(&example.pod) {
        Ok(_) if is_allowed => return None,
        Ok(_) => "the server accepts it".to_owned(),
        Err(error) if is_refusal(&error) && !is_allowed => return None,
        Err(error) => error.to_string(),
    };
    Some(format!("{} ({}): {}: {why}", row.of, row.rule, example.value))
}

/// Says what is not true of a difference.
fn stale(scenario: &Scenario<'_>, difference: &Difference, minor: u32) -> Option<String> {
    let (field, value) = difference.field;
    let value: Value = serde_json::from_str(value).expect("JSON");
    let named = format!("{field}: {value} ({})", difference.reason);
    let template = json!({"name": "t", "pod": {field: value}}).to_string();
    if Template::load(&Source::new("t.yaml", &template), "t", &Settings::default().keys).is_ok() {
        return Some(format!("{named}: the table accepts it now, remove it from DIFFERENCES"));
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], field: value},
    });
    let is_accepted = difference.accepted_from.is_some_and(|from| from <= minor);
    match scenario.dry_run(&pod) {
        Ok(_) if is_accepted => None,
        Err(error) if is_refusal(&error) && !is_accepted => None,
        Ok(_) => Some(format!("{named}: the server accepts it")),
        Err(error) => Some(format!("{named}: {error}")),
    }
}

/// The minor version of the API server.
fn minor(scenario: &Scenario<'_>) -> u32 {
    let version = scenario.cluster().version().expect("a version");
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.expect("a version such as v1.36.3")
}

/// True for an answer about the value, 422 or 403. Another answer is a fault of the example.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error.code, 403 | 422)
}
