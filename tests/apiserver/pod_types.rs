//! Tests that the table of Pod field types is the same as the types that the API server publishes.

use std::path::Path;

use crate::scenario::Scenario;
use crate::support::pod_types::table;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("pod_types_are_current", pod_types_are_current)];

/// Compares only if the API server has the version of the table. Other versions have other fields.
fn pod_types_are_current(scenario: &Scenario<'_>) {
    let version = scenario.cluster().version().expect("a version").trim_start_matches('v').to_owned();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inject/kube/pod_types.txt");
    let committed = std::fs::read_to_string(&path).expect("the table");
    let update = std::env::var_os("UPDATE_POD_TYPES").is_some();
    if !update && !committed.lines().next().is_some_and(|line| line.ends_with(&format!(" {version}."))) {
        println!("skipped: the table is not of version {version}");
        return;
    }
    let current = table(&scenario.cluster().get("/openapi/v3/api/v1").expect("the document"), &version);
    if update {
        std::fs::write(&path, current).expect("write the table");
    } else {
        assert!(
            committed == current,
            "src/inject/kube/pod_types.txt is stale; UPDATE_POD_TYPES=1 make e2e writes it again"
        );
    }
}
