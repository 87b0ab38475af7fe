//! Which scenario holds which cluster-scoped name. Scenarios share one API server and run side by side, so two of them
//! must not write the same name, not even as a dry run. A scenario claims a name here before it writes it. The client
//! of a scenario refuses every other write. A claim lasts as long as the run, so a conflict does not depend on what
//! overlaps in time. This module does not know the API server.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::scenario::Scenario;

/// Longest namespace of a scenario. Derived names (`NAMESPACE-app`, 63) and a Helm release of that name (53) still fit.
const LONGEST: usize = 50;

/// The claims of one run.
#[derive(Default)]
pub(crate) struct Claims {
    /// The scenario, by resource (`clusterroles`) and name.
    holders: Mutex<BTreeMap<(String, String), String>>,
}

impl Claims {
    /// Gives a name to a scenario. What it holds already it may claim again.
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
    /// If the object belongs to no namespace and the scenario does not hold its name.
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

/// The resource and, where the path has it, the name of an object that belongs to no namespace. `None` for other paths.
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

/// The namespace of a scenario: its name, as far as a namespace takes it.
pub(crate) fn namespace(scenario: &str) -> String {
    let mut namespace = scenario.replace('_', "-");
    namespace.truncate(LONGEST);
    namespace.trim_end_matches('-').to_owned()
}

/// Checks that every scenario has a namespace of its own.
///
/// # Errors
/// With the two scenarios that would share one.
pub(crate) fn distinct<'n>(scenarios: impl IntoIterator<Item = &'n str>) -> Result<(), String> {
    let mut known = BTreeMap::new();
    for scenario in scenarios {
        if let Some(other) = known.insert(namespace(scenario), scenario) {
            let (namespace, longest) = (namespace(scenario), LONGEST);
            let why = format!("scenarios {other} and {scenario} would share the namespace {namespace}");
            return Err(format!("{why}: their first {longest} letters must differ"));
        }
    }
    Ok(())
}

/// Tests of this module, which need no control plane.
pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_name_belongs_to_the_first_scenario_that_claims_it", first_claim),
    ("only_claimed_names_are_written", checks),
    ("scenarios_that_would_share_a_namespace_are_refused", shared_namespaces),
];

pub(crate) const SCENARIOS: &[crate::Entry] = &[("the_client_writes_no_name_that_is_not_claimed", client)];

fn first_claim() {
    let claims = Claims::default();
    claims.claim("first", "clusterroles", "x").expect("it is free");
    claims.claim("first", "clusterroles", "x").expect("its own");
    claims.claim("second", "clusterrolebindings", "x").expect("another resource");
    let refused = claims.claim("second", "clusterroles", "x").expect_err("it is held");
    assert_eq!(refused, "scenario second claims clusterroles/x, which scenario first holds");
    claims.check("first", "/apis/rbac.authorization.k8s.io/v1/clusterroles/x", &Value::Null).expect("still its own");
}

fn checks() {
    let claims = Claims::default();
    let object = |name: &str| json!({"metadata": {"name": name}});
    claims.claim("first", "clusterroles", "x").expect("it is free");
    claims.claim("first", "namespaces", "n").expect("it is free");
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
        let refused = claims.check(scenario, path, &object(name)).expect_err(path);
        assert!(refused.contains(why), "{refused}");
    }
    claims
        .check("first", roles, &json!({"metadata": {"generateName": "x-"}}))
        .expect_err("a name that the server makes up cannot be claimed");
}

fn shared_namespaces() {
    let long = "l".repeat(LONGEST);
    distinct([long.as_str(), "short"]).expect("distinct");
    let refused = distinct([&format!("{long}_one"), "short", &format!("{long}_two")].map(|name| -> &str { name }));
    let refused = refused.expect_err("one namespace");
    assert!(refused.contains("l_one and l") && refused.contains("l_two"), "{refused}");
}

/// The rule holds for the client that scenarios use.
fn client(scenario: &Scenario<'_>) {
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let name = format!("{}-unclaimed", scenario.namespace);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}});
    eprintln!("a write of {name} panics now, as it should");
    let create = || scenario.cluster().create(roles, &role);
    let panicked = catch_unwind(AssertUnwindSafe(create)).expect_err("the write panics");
    let message = panicked.downcast_ref::<String>().expect("a message");
    assert!(message.contains(&format!("clusterroles/{name} and has not claimed it")), "{message}");
    assert_eq!(scenario.cluster().get(&format!("{roles}/{name}")).expect_err("nothing was sent").code, 404);
    scenario.create_claimed(roles, &role);
    scenario.cluster().delete(&format!("{roles}/{name}")).expect("its own");
}
