//! Writes and checks the verdicts of the API server in the table of expressions: whether it stores an admission policy
//! with an expression, what its type check says, and the result of the expression for a pod.
//! `tests/expressions.rs` compares the injector with the table.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::scenario::Scenario;
use crate::support::expressions::{Entry, Row, VARIABLES, path, pod, read, text};
use crate::support::wait;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("expressions_have_these_verdicts", expressions_have_these_verdicts)];

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
/// The beginning of the messages with results.
const RESULT: &str = "result:";

/// Compares only if the API server has the version of the table. Other versions have other functions.
fn expressions_have_these_verdicts(scenario: &Scenario<'_>) {
    let version = scenario.cluster().version().expect("a version").trim_start_matches('v').to_owned();
    let mut entries = read();
    let update = std::env::var_os("UPDATE_EXPRESSIONS").is_some();
    let Some(Entry::Comment(heading)) = entries.first_mut() else { panic!("the table has no heading") };
    if update {
        *heading = heading.replace(heading.split(' ').nth(11).unwrap_or_default(), &format!("{version}."));
    } else if !heading.contains(&format!(" {version}. ")) {
        return println!("skipped: the table is not of version {version}");
    }
    let committed: Vec<Row> = rows(&mut entries).map(|row| row.clone()).collect();
    judge(scenario, rows(&mut entries).collect());
    if update {
        std::fs::write(path(), text(entries)).expect("write the table");
        return;
    }
    for (committed, current) in committed.iter().zip(rows(&mut entries)) {
        assert_eq!(committed, current, "UPDATE_EXPRESSIONS=1 writes tests/expressions.txt again");
    }
}

fn rows(entries: &mut [Entry]) -> impl Iterator<Item = &mut Row> {
    entries.iter_mut().filter_map(|entry| match entry {
        Entry::Row(row) => Some(row),
        Entry::Comment(_) => None,
    })
}

/// Sets the verdicts of the API server.
fn judge(scenario: &Scenario<'_>, rows: Vec<&mut Row>) {
    scenario.claim("validatingadmissionpolicies", &scenario.namespace);
    scenario.claim("validatingadmissionpolicybindings", &scenario.namespace);
    let mut stored = Vec::new();
    for row in rows {
        let Row { expression, differs, .. } = row.clone();
        *row = Row { expression, differs, ..Row::default() };
        let one = policy(scenario, &[&row.expression]);
        match scenario.cluster().create(&format!("{POLICIES}?dryRun=All"), &one) {
            Ok(_) => stored.push(row),
            Err(error) => row.rejected = Some(problem(&error.message)),
        }
    }
    let expressions: Vec<&str> = stored.iter().map(|row| row.expression.as_str()).collect();
    scenario.create_claimed(POLICIES, &policy(scenario, &expressions));
    let mistyped = type_check(scenario);
    for (index, row) in stored.iter_mut().enumerate() {
        row.mistyped = mistyped.get(&index).cloned();
    }
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": scenario.namespace},
        "spec": {
            "policyName": scenario.namespace, "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scenario.namespace}}},
        },
    });
    scenario.create_claimed(BINDINGS, &binding);
    wait::until("the policy to take effect", || evaluate(scenario, stored.len()).map_or_else(|_| Ok(()), Err));
    for (index, row) in stored.into_iter().enumerate() {
        match evaluate(scenario, index) {
            Ok(result) => row.result = Some(result),
            Err(error) => row.error = Some(error),
        }
    }
    for path in [BINDINGS, POLICIES] {
        scenario.cluster().delete(&format!("{path}/{}", scenario.namespace)).expect("delete the policy");
    }
}

/// A policy that returns the result of an expression in its message. The name of the pod selects the expression, so
/// that one policy has all of them. Another expression always fails, to show that the policy is in effect.
fn policy(scenario: &Scenario<'_>, expressions: &[&str]) -> Value {
    let validation = |(index, expression): (usize, &&str)| {
        let shown = format!("'%s'.format([{expression}])");
        json!({
            "expression": format!("request.name != '{}' || {shown} == '\\u0001'", name(index)),
            "messageExpression": format!("'{RESULT}' + {shown}"),
        })
    };
    let mut validations: Vec<Value> = expressions.iter().enumerate().map(validation).collect();
    validations.push(json!({"expression": format!("request.name != '{}'", name(expressions.len()))}));
    let variables: Vec<Value> =
        VARIABLES.iter().map(|(name, expression)| json!({"name": name, "expression": expression})).collect();
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": scenario.namespace},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
            "variables": variables,
            "validations": validations,
        },
    })
}

fn name(index: usize) -> String {
    format!("e{index}")
}

/// The problems that the type check of the control plane finds, by the index of the expression.
fn type_check(scenario: &Scenario<'_>) -> BTreeMap<usize, String> {
    let path = format!("{POLICIES}/{}", scenario.namespace);
    let (checked, _) = wait::until("the type check", || {
        let policy = scenario.cluster().get(&path).map_err(|error| error.to_string())?;
        if policy["status"]["typeChecking"].is_object() { Ok(policy) } else { Err(policy["status"].to_string()) }
    });
    let warnings = checked["status"]["typeChecking"]["expressionWarnings"].as_array().cloned().unwrap_or_default();
    let warning = |warning: &Value| {
        let place = warning["fieldRef"].as_str()?.strip_prefix("spec.validations[")?.strip_suffix("].expression")?;
        Some((place.parse().ok()?, problem(warning["warning"].as_str()?)))
    };
    warnings.iter().filter_map(warning).collect()
}

/// The result of an expression.
///
/// # Errors
/// Why the evaluation failed, or the name of the pod if the policy admits the pod.
fn evaluate(scenario: &Scenario<'_>, index: usize) -> Result<String, String> {
    let mut pod = pod(&scenario.namespace);
    pod["metadata"]["name"] = json!(name(index));
    let message = match scenario.dry_run(&pod) {
        Ok(_) => return Ok("admitted".to_owned()),
        Err(error) => error.message,
    };
    if let Some((_, result)) = message.split_once(RESULT) {
        return Ok(result.replace(&scenario.namespace, "NAMESPACE"));
    }
    let (_, why) = message.rsplit_once("resulted in error: ").unwrap_or(("", &message));
    Err(why.replace(&scenario.namespace, "NAMESPACE"))
}

/// The first problem in a message of the compiler, without its place and the source.
fn problem(message: &str) -> String {
    let (_, problem) = message.split_once("<input>:").unwrap_or(("", message));
    let problem = problem.split_once(": ").map_or(problem, |(_, problem)| problem);
    let problem = problem.lines().next().unwrap_or_default().trim();
    // The types of the pod have another number in every run: Pod224548854.spec.
    let parts = problem.split("Pod").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    parts.collect::<Vec<_>>().join("Pod")
}
