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
use sidecar_injector::inject::diagnostic::{Diagnostic, Source};
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
        let lines = |list: Vec<Diagnostic>| list.iter().map(Diagnostic::one_line).collect();
        match Template::load(&Source::new("t", &template), "t", &Keys::default()) {
            Err(errors) => Self::Rejected(lines(errors)),
            Ok(loaded) => Self::Loaded(lines(loaded.doubts), evaluate(loaded.template)),
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

#[test]
fn one_mistake_is_one_error() {
    for row in rows() {
        if let Verdict::Rejected(errors) = Verdict::of(&row.expression) {
            assert_eq!(errors.len(), 1, "{}: {errors:?}", row.expression);
        }
    }
}

/// The errors and warnings of a template, each on one line.
fn load(template: &str) -> (Vec<String>, Vec<String>) {
    let lines = |list: Vec<Diagnostic>| list.iter().map(Diagnostic::one_line).collect();
    match Template::load(&Source::new("t", template), "t", &Keys::default()) {
        Ok(loaded) => (Vec::new(), lines(loaded.doubts)),
        Err(errors) => (lines(errors), Vec::new()),
    }
}

const PARAMETERS: &str = "parameters: {n: {type: integer, default: 1}, text: {type: string}, tags: {type: list}}\n";

#[test]
fn a_result_that_does_not_fit_its_field_is_an_error() {
    for (template, error) in [
        (
            "sidecars: [{name: a, image: 'a:1', env: [{name: A, value: '${params.tags}'}]}]",
            "t:2:59: sidecars[0].env[0].value must be a string, but the expression returns list(string) (write LIST.join(',') or json(…))",
        ),
        (
            "sidecars: [{name: a, image: 'a:1', env: [{name: A, value: 'x${params.tags}'}]}]",
            "t:2:63: the result is list(string), but the text around it needs a string (write json(…) or .join(…))",
        ),
        (
            "sidecars: [{name: a, image: 'a:1', ports: [{containerPort: '${params.text}'}]}]",
            "t:2:60: sidecars[0].ports[0].containerPort must be a 32-bit integer, but the expression returns string (write int(…))",
        ),
        (
            "sidecars: [{name: a, image: 'a:1', tty: '${params.n}'}]",
            "t:2:41: sidecars[0].tty must be a boolean, but the expression returns int",
        ),
        (
            "sidecars: [{name: a, image: 'a:1', args: '${params.text}'}]",
            "t:2:42: sidecars[0].args must be a list, but the expression returns string (write [ITEM])",
        ),
        (
            "sidecars: [{name: a, image: 'a:1', if: params.text}]",
            "t:2:40: a condition must be true or false, not string (compare it: … == 'true')",
        ),
        (
            "metadata: {annotations: {a: \"${duration('1m')}\"}}",
            "t:2:32: the result is duration, which has no JSON form (write string(…))",
        ),
        (
            "appContainers: [{if: \"container.nam == 'a'\", env: [{name: A, value: a}]}]",
            "t:2:33: unknown field \"nam\" in Container (did you mean \"name\"?)",
        ),
        (
            "autoInject: {podSelector: {matchLabels: {a: b}}, if: object.metadata.labels}",
            "t:2:54: a condition must be true or false, not map(string, string)",
        ),
    ] {
        assert_eq!(load(&format!("{PARAMETERS}{template}")).0, [error], "{template}");
    }
}

#[test]
fn a_broken_variable_is_one_error() {
    let template = "variables: [{name: bad, expression: 1 + 'a'}, {name: uses, expression: variables.bad + 1}]\n\
        sidecars: [{name: a, image: 'a:1', if: variables.bad, args: ['${variables.uses}'], tty: '${variables.bad}'}]";
    assert_eq!(load(template).0, ["t:1:39: `+` does not work with int and string (write string(1))"]);
}

#[test]
fn unknown_fields_and_certain_failures_are_warnings() {
    for (expression, warning) in [
        (
            "object.spec.newField",
            "unknown field \"newField\" in PodSpec (if it can be missing, use get(object, path, default))",
        ),
        ("params.n == '1'", "int and string are never equal (write string(params.n))"),
        (
            "object.spec.containers[0].resources.limits.cpu + 1",
            "failed: `+` does not work with string and int, on each of four sample pods (the samples are a minimal pod, and \
             pods of a Deployment, of a Job and of Windows)",
        ),
    ] {
        let template = format!("{PARAMETERS}metadata: {{annotations: {{a: \"${{json({expression})}}\"}}}}");
        let (errors, warnings) = load(&template);
        let [found] = &warnings[..] else { panic!("{expression}: {errors:?} {warnings:?}") };
        assert!(found.ends_with(warning), "{found}");
    }
}
