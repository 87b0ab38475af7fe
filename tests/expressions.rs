//! Compares the injector with the verdicts of the API server on expressions, `tests/expressions.txt`. The injector
//! rejects, warns about or fails on what the API server rejects, and has the same result for what it accepts. A row
//! with a reason must differ.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "the support module serves several test programs")]

#[path = "support/expressions.rs"]
mod expressions;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use expressions::{Row, VARIABLES, pod, rows};
use serde_json::{Value, json};
use sidecar_injector::inject::Engine;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::review::Request;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::settings::{Embedding, EntryPoint, Settings};
use sidecar_injector::inject::template::Template;

/// Words of Rust and of its libraries. Messages have the words of CEL.
const RUST: [&str; 10] = ["Arc<", "Int(", "String(", "Bool(", "UInt", "Float", "Opaque", "i64", "f64", "Value"];

/// What the injector does with an expression.
#[derive(Debug)]
enum Verdict {
    /// The template is rejected.
    Rejected(Vec<String>),
    /// The template is loaded, with these warnings, and then evaluated.
    Loaded(Vec<String>, Result<String, String>),
}

impl Verdict {
    fn of(expression: &str) -> Self {
        let variables: Vec<Value> =
            VARIABLES.iter().map(|(name, expression)| json!({"name": name, "expression": expression})).collect();
        let annotations = json!({"example.com/result": format!("${{json({expression})}}")});
        let template =
            json!({"name": "t", "variables": variables, "metadata": {"annotations": annotations}}).to_string();
        let lines = |list: Vec<sidecar_injector::inject::diagnostic::Diagnostic>| {
            list.iter().map(sidecar_injector::inject::diagnostic::Diagnostic::one_line).collect()
        };
        match Template::load(&Source::new("t", &template), "t", &Keys::default()) {
            Err(errors) => Self::Rejected(lines(errors)),
            Ok(loaded) => Self::Loaded(lines(loaded.warnings), evaluate(loaded.template)),
        }
    }

    /// Returns true if the injector agrees with the API server.
    fn agrees(&self, row: &Row) -> bool {
        match self {
            Self::Rejected(_) => row.rejected.is_some() || row.mistyped.is_some() || row.error.is_some(),
            Self::Loaded(warnings, result) => {
                let fails = result.is_err() || !warnings.is_empty();
                let is_same = match (result, &row.result) {
                    (Ok(result), Some(expected)) => result == expected || row.rejected.is_some(),
                    (Ok(_), None) => row.rejected.is_some(),
                    (Err(_), expected) => expected.is_none(),
                };
                if row.rejected.is_some() || row.mistyped.is_some() { fails && is_same } else { is_same }
            }
        }
    }

    fn messages(&self) -> Vec<&String> {
        match self {
            Self::Rejected(messages) => messages.iter().collect(),
            Self::Loaded(warnings, result) => warnings.iter().chain(result.as_ref().err()).collect(),
        }
    }
}

/// The result for the pod of the table, as the API server writes it.
fn evaluate(template: Template) -> Result<String, String> {
    let catalog = Catalog::new([Arc::new(template)], BTreeMap::new());
    let settings = Settings::default();
    let mut pod = pod("NAMESPACE");
    pod["metadata"]["annotations"]["sidecar.io/inject"] = json!("t");
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "NAMESPACE",
            "operation": "CREATE", "dryRun": true, "object": pod,
        },
    });
    let body = review.to_string();
    let request = Request::parse(body.as_bytes()).expect("a review");
    let decision = Engine::new(&catalog, &settings, EntryPoint::default()).decide(&request, &Embedding::default());
    let Some(patch) = decision.patch else { return Err(decision.message) };
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
    json_patch::patch(&mut pod, &patch).expect("the patch applies");
    let result = pod["metadata"]["annotations"]["example.com/result"].as_str().expect("the result");
    let result: Value = serde_json::from_str(result).expect("JSON");
    Ok(result.as_str().map_or_else(|| text(&result), str::to_owned))
}

/// A value as the function `format` of CEL writes it inside a list.
fn text(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or_default().to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key:?}:{}", text(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_injector_agrees_with_the_api_server() {
    let rows = rows();
    assert!(rows.len() >= 150, "the table has only {} expressions", rows.len());
    let (mut wrong, mut counts) = (String::new(), BTreeMap::<&str, usize>::new());
    for row in &rows {
        let has_verdict = row.rejected.is_some() || row.result.is_some() || row.error.is_some();
        let verdict = Verdict::of(&row.expression);
        if !has_verdict {
            let _ = writeln!(wrong, "{}: the table has no verdict", row.expression);
        } else if verdict.agrees(row) == row.differs.is_some() {
            let what = if row.differs.is_some() { "agrees, but the table says that it differs" } else { "differs" };
            let _ = writeln!(wrong, "{}: the injector {what}: {verdict:?}\n    {row:?}", row.expression);
        }
        for message in verdict.messages() {
            if let Some(word) = RUST.iter().find(|word| message.contains(**word)) {
                let _ = writeln!(wrong, "{}: the message contains {word}: {message}", row.expression);
            }
        }
        let kind = match verdict {
            Verdict::Rejected(_) => "rejected",
            Verdict::Loaded(_, Ok(_)) => "evaluated",
            Verdict::Loaded(_, Err(_)) => "failed",
        };
        *counts.entry(kind).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    // The test is worthless if the template fails for another reason.
    assert!(counts.values().all(|count| *count >= 10), "{counts:?}");
}

/// An error must not be false: what the injector rejects because of its types fails for the API server, too.
#[test]
fn one_mistake_is_one_error() {
    for row in rows() {
        if let Verdict::Rejected(errors) = Verdict::of(&row.expression) {
            assert_eq!(errors.len(), 1, "{}: {errors:?}", row.expression);
        }
    }
}
