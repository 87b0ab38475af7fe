//! The cluster-scoped names that scenarios have claimed. Scenarios share one API server and run in parallel, so two of
//! them must not write the same name, not even in a dry run. A scenario claims a name here before it writes the name.
//! The client of a scenario rejects every other write. A claim lasts until the end of the run, so a conflict does not
//! depend on timing. This module does not access the API server.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::scenario::Scenario;

/// Maximum length of the namespace of a scenario. Derived names (`NAMESPACE-app`: at most 63 characters) and a Helm
/// release with this name (at most 53) are still valid.
const MAX_LENGTH: usize = 50;

/// The claims of one run.
#[derive(Default)]
pub(crate) struct Claims {
    /// The scenarios that hold names, by resource (such as `clusterroles`) and name.
    holders: Mutex<BTreeMap<(String, String), String>>,
}

impl Claims {
    /// Gives a name to a scenario. A scenario can claim the same name again.
    ///
    /// # Errors
    /// If another scenario holds the name.
    pub(crate) fn claim(&self, scenario: &str, resource: &str, name: &str) -> Result<(), String> {
        let mut holders = self.holders();
        let holder = holders.entry((resource.to_owned(), name.to_owned())).or_insert_with(|| scenario.to_owned());
        if holder == scenario {
            return Ok(());
        }
        Err(format!("scenario {scenario} claims {resource}/{name}, which scenario {holder} holds"))
    }

    /// Checks a request that writes.
    ///
    /// # Errors
    /// If the object is cluster-scoped and the scenario does not hold its name.
    pub(crate) fn check(&self, scenario: &str, path: &str, body: &Value) -> Result<(), String> {
        let Some((resource, name)) = cluster_scoped(path) else { return Ok(()) };
        let name = name.or_else(|| body["metadata"]["name"].as_str()).unwrap_or("(no name)");
        match self.holders().get(&(resource.to_owned(), name.to_owned())) {
            Some(holder) if holder == scenario => Ok(()),
            Some(holder) => Err(format!("scenario {scenario} writes {resource}/{name}, which scenario {holder} holds")),
            None => Err(format!("scenario {scenario} writes {resource}/{name} and has not claimed it")),
        }
    }

    fn holders(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resource of a cluster-scoped object, and its name if the path contains it. `None` for other paths.
pub(crate) fn cluster_scoped(path: &str) -> Option<(&str, Option<&str>)> {
    let mut parts = path.split('?').next()?.split('/').skip(1);
    let before_resource = match parts.next()? {
        "api" => 1,
        "apis" => 2,
        _ => return None,
    };
    let (resource, name, below) = (parts.nth(before_resource)?, parts.next(), parts.next());
    let is_inside = resource == "namespaces" && below.is_some_and(|below| !["status", "finalize"].contains(&below));
    (!is_inside).then_some((resource, name))
}

/// The namespace of a scenario: the name of the scenario, truncated to the maximum length.
pub(crate) fn namespace(scenario: &str) -> String {
    let mut namespace = scenario.replace('_', "-");
    namespace.truncate(MAX_LENGTH);
    namespace.trim_end_matches('-').to_owned()
}

/// Checks that no two scenarios have the same namespace.
///
/// # Errors
/// If two scenarios have the same namespace. The error contains their names.
pub(crate) fn distinct<'n>(scenarios: impl IntoIterator<Item = &'n str>) -> Result<(), String> {
    let mut known = BTreeMap::new();
    for scenario in scenarios {
        if let Some(other) = known.insert(namespace(scenario), scenario) {
            let (namespace, max_length) = (namespace(scenario), MAX_LENGTH);
            let why = format!("scenarios {other} and {scenario} would share the namespace {namespace}");
            return Err(format!("{why}: their first {max_length} letters must differ"));
        }
    }
    Ok(())
}

/// Tests of this module. They do not need a control plane.
pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_name_belongs_to_the_first_scenario_that_claims_it", first_claim),
    ("only_claimed_names_are_written", checks),
    ("scenarios_that_would_share_a_namespace_are_rejected", shared_namespaces),
];

pub(crate) const SCENARIOS: &[crate::Entry] = &[("the_client_writes_only_claimed_names", client)];

fn first_claim() {
    let claims = Claims::default();
    claims.claim("first", "clusterroles", "x").expect("a free name");
    claims.claim("first", "clusterroles", "x").expect("its own name");
    claims.claim("second", "clusterrolebindings", "x").expect("another resource");
    let error = claims.claim("second", "clusterroles", "x").expect_err("another scenario holds it");
    assert_eq!(error, "scenario second claims clusterroles/x, which scenario first holds");
    claims
        .check("first", "/apis/rbac.authorization.k8s.io/v1/clusterroles/x", &Value::Null)
        .expect("still its own name");
}

fn checks() {
    let claims = Claims::default();
    let object = |name: &str| json!({"metadata": {"name": name}});
    claims.claim("first", "clusterroles", "x").expect("a free name");
    claims.claim("first", "namespaces", "n").expect("a free name");
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    for (path, name) in [
        (roles, "x"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles?dryRun=All", "x"),
        ("/api/v1/namespaces", "n"),
        ("/api/v1/namespaces/n/status", "n"),
        ("/api/v1/namespaces/other/pods", "p"),
        ("/apis/apps/v1/namespaces/other/deployments/x", "x"),
        ("/mutate", ""),
    ] {
        claims.check("first", path, &object(name)).expect(path);
    }
    for (scenario, path, name, why) in [
        ("second", roles, "x", "scenario second writes clusterroles/x, which scenario first holds"),
        ("first", roles, "y", "scenario first writes clusterroles/y and has not claimed it"),
        ("first", "/api/v1/namespaces/other?dryRun=All", "n", "writes namespaces/other and has not claimed it"),
        ("first", "/api/v1/namespaces/other/finalize", "n", "writes namespaces/other and has not claimed it"),
    ] {
        let error = claims.check(scenario, path, &object(name)).expect_err(path);
        assert!(error.contains(why), "{error}");
    }
    claims
        .check("first", roles, &json!({"metadata": {"generateName": "x-"}}))
        .expect_err("a generated name cannot be claimed");
}

fn shared_namespaces() {
    let long = "l".repeat(MAX_LENGTH);
    distinct([long.as_str(), "short"]).expect("distinct");
    let error = distinct([&format!("{long}_one"), "short", &format!("{long}_two")].map(|name| -> &str { name }));
    let error = error.expect_err("one namespace");
    assert!(error.contains("l_one and l") && error.contains("l_two"), "{error}");
}

/// Checks that the client of a scenario applies the rule.
fn client(scenario: &Scenario<'_>) {
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let name = format!("{}-unclaimed", scenario.namespace);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
    eprintln!("the test expects the following panic: a write of {name}");
    let create = || scenario.cluster().create(roles, &role);
    let panic = catch_unwind(AssertUnwindSafe(create)).expect_err("the write panics");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains(&format!("clusterroles/{name} and has not claimed it")), "{message}");
    assert_eq!(scenario.cluster().get(&format!("{roles}/{name}")).expect_err("nothing was sent").code, 404);
    scenario.create_claimed(roles, &role);
    scenario.cluster().delete(&format!("{roles}/{name}")).expect("its own name");
}
