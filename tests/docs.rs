//! Tests the documentation: every template in it loads without errors, and the generated references are current
//! (`UPDATE_DOCS=1` writes them again).

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "cluster")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sidecar_injector::inject::authoring::lint;
use sidecar_injector::inject::authoring::lint::{LintLimits, RULES};
use sidecar_injector::inject::authoring::schema;
use sidecar_injector::inject::decision::reason::Reason;
use sidecar_injector::inject::diagnostic::{Severity, Source};
use sidecar_injector::inject::kube::examples;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::telemetry::metrics::DESCRIPTIONS;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

#[test]
fn every_template_in_the_docs_loads() {
    let mut count = 0;
    for file in ["templates.md", "recipes.md"] {
        let text = fs::read_to_string(docs().join(file)).expect("the page");
        for block in text.split("```yaml template\n").skip(1) {
            let template = block.split("```").next().expect("the end of the block");
            let (findings, _) =
                lint::template(&Source::new(file, template), "example", &Keys::default(), &LintLimits::default());
            let errors: Vec<String> = findings
                .iter()
                .filter(|finding| finding.diagnostic.severity == Severity::Error)
                .map(|finding| finding.diagnostic.to_string())
                .collect();
            assert!(errors.is_empty(), "{file}: {}\n{template}", errors.join("\n"));
            count += 1;
        }
    }
    assert!(count >= 10, "the blocks are missing");
}

fn lint_reference() -> String {
    let mut page = "# Lint rules\n\nThis page is generated. `sidecar-injector lint --explain RULE` prints the same text. To silence a rule in a template,\ngive the reason: `lint: {RULE: REASON}`.\n".to_owned();
    for rule in RULES {
        let severity = if rule.severity == Severity::Error { "error" } else { "warning" };
        let _ = write!(page, "\n## {}\n\n*{severity}* {}\n", rule.id, rule.explanation);
    }
    page
}

fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    }
    if let Some(constant) = schema["const"].as_str() {
        return format!("`{constant}`");
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(", or ");
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or_default().to_owned();
    }
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds[0].as_str().unwrap_or_default().to_owned(),
        _ => "any".to_owned(),
    }
}

fn template_reference() -> String {
    let schema = schema::template();
    let mut page = "# Fields of a template\n\nGenerated from `sidecar-injector schema`, which has every field of containers and volumes too. Concepts:\n[templates](../templates.md).\n\n| field | type | |\n|---|---|---|\n".to_owned();
    for (name, property) in schema["properties"].as_object().expect("properties") {
        let description = property["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, "| `{name}` | {} | {description} |", kind(property));
    }
    let _ = write!(page, "\n## A parameter\n\n| field | type |\n|---|---|\n");
    for (name, property) in schema["$defs"]["parameter"]["properties"].as_object().expect("properties") {
        let _ = writeln!(page, "| `{name}` | {} |", kind(property));
    }
    let _ = write!(page, "\n## `pod`\n\n| field | type |\n|---|---|\n");
    for (name, property) in schema["properties"]["pod"]["properties"].as_object().expect("properties") {
        let _ = writeln!(page, "| `{name}` | {} |", kind(property).replace(", or expression", ""));
    }
    page
}

fn rule_reference() -> String {
    let mut page = "# Rules for fields of a Pod\n\nGenerated from the program. The API server rejects a pod with a value that breaks one of these rules. A template with\nsuch a value does not load, and a result of an expression that breaks one is `ExpressionFailed`. Tests try each rule\nagainst a real API server.\n\n| field | rule | source in Kubernetes |\n|---|---|---|\n".to_owned();
    for row in examples::rows() {
        let gate = row
            .gate
            .filter(|gate| !row.rule.contains(gate))
            .map(|gate| format!(" (only with the feature gate {gate})"))
            .unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {}{gate} | `{}` |", row.of, row.rule.replace('|', "\\|"), row.source);
    }
    page
}

fn reason_reference() -> String {
    let mut page = "# Reasons\n\nGenerated from the program. The same names are used in messages, warnings, events, logs, metrics and the trace.\n\n| reason | meaning | what to do |\n|---|---|---|\n".to_owned();
    for reason in Reason::ALL {
        let (means, remedy) = reason.explanation();
        let _ = writeln!(page, "| `{reason}` | {means} | {remedy} |");
    }
    page
}

fn metric_reference() -> String {
    let mut page = "# Metrics\n\nGenerated from the program. The admin port serves these metrics at `/metrics` in the OpenMetrics format. For their meaning in operation, see\n[operations](../operations.md).\n\n| metric | type | labels | |\n|---|---|---|---|\n".to_owned();
    for metric in DESCRIPTIONS {
        let ending = match metric.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            page,
            "| `sidecar_injector_{}{ending}` | {} | {labels} | {}. |",
            metric.name, metric.kind, metric.help
        );
    }
    page
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/sidecar-injector")
}

/// The reference of the chart: its values and their comments, from values.yaml.
fn chart_reference() -> String {
    let values = fs::read_to_string(chart().join("values.yaml")).expect("the values");
    let mut page = "# sidecar-injector\n\nThe Helm chart of [sidecar-injector](../../README.md). Generated from values.yaml.\n\n```console\n$ helm install sidecar-injector charts/sidecar-injector --namespace sidecar-injector --create-namespace\n```\n\n| value | default | |\n|---|---|---|\n".to_owned();
    let (mut path, mut comment): (Vec<(usize, String)>, String) = (Vec::new(), String::new());
    for line in values.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        // Two spaces mark an example, not a comment.
        if text.starts_with("#  ") {
            continue;
        }
        if let Some(words) = text.strip_prefix("# ") {
            comment = [comment.as_str(), words].join(" ").trim_start().into();
            continue;
        }
        let Some((key, value)) = text.split_once(':').filter(|_| !text.starts_with('#')) else {
            comment.clear();
            continue;
        };
        path.retain(|(other, _)| *other < depth);
        path.push((depth, key.to_owned()));
        let name = path.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        let value = value.trim();
        if !value.is_empty() || !comment.is_empty() {
            let default = if value.is_empty() { String::new() } else { format!("`{value}`") };
            let _ = writeln!(page, "| `{name}` | {default} | {comment} |");
        }
        comment.clear();
    }
    page
}

/// The schema of the chart has exactly the values of the chart. Values that are not valid are rejected when the chart
/// is rendered.
#[test]
fn the_schema_of_the_chart_has_every_value() {
    let read = |file: &str| fs::read_to_string(chart().join(file)).expect("a file of the chart");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    let values =
        sidecar_injector::manifest::template_files::manifest("values.yaml", 0, &read("values.yaml")).expect("YAML");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    assert!(validator.is_valid(&values), "{:?}", validator.iter_errors(&values).next().map(|error| error.to_string()));
    for (key, value) in values.as_object().expect("a map") {
        let known = &schema["properties"][key];
        assert!(known.is_object(), "the schema has no {key}");
        for (inner, _) in value.as_object().into_iter().flatten().filter(|_| known["properties"].is_object()) {
            assert!(known["properties"][inner].is_object(), "the schema has no {key}.{inner}");
        }
    }
    let cargo = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("Cargo.toml");
    assert!(cargo.contains(&format!("\nversion = \"{}\"", env!("CARGO_PKG_VERSION"))));
    assert!(read("Chart.yaml").contains(&format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"))), "one version");
}

/// `docs/operations.md` explains every metric and every metric of an alert.
#[test]
fn operations_explain_every_metric() {
    let text = fs::read_to_string(docs().join("operations.md")).expect("the page");
    for metric in DESCRIPTIONS {
        assert!(text.contains(metric.name), "docs/operations.md does not mention {}", metric.name);
    }
}

/// Workflows run only make targets that exist, and actions that are pinned to a commit.
#[test]
fn workflow_actions_are_pinned_and_make_targets_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = fs::read_to_string(root.join("Makefile")).expect("the Makefile");
    let (mut actions, mut targets) = (0, 0);
    for file in fs::read_dir(root.join(".github/workflows")).expect("workflows") {
        let path = file.expect("a file").path();
        let (name, text) = (path.display().to_string(), fs::read_to_string(&path).expect("text"));
        let workflow = sidecar_injector::manifest::template_files::manifest(&name, 0, &text)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{name}");
        let steps = workflow["jobs"].as_object().expect("jobs").values();
        for step in steps.flat_map(|job| job["steps"].as_array().expect("steps")) {
            if let Some(action) = step["uses"].as_str() {
                let (_, revision) = action.split_once('@').expect("a revision");
                let is_pinned = revision.len() == 40 && revision.chars().all(|c| c.is_ascii_hexdigit());
                assert!(is_pinned, "{name}: {action}");
                actions += 1;
            }
            let words = step["run"].as_str().unwrap_or_default().split_whitespace();
            for target in words.skip_while(|word| *word != "make").skip(1).filter(|word| !word.contains('=')) {
                assert!(makefile.contains(&format!("\n{target}:")), "{name}: make {target}");
                targets += 1;
            }
        }
    }
    assert!(actions >= 8 && targets >= 5, "{actions} {targets}");
}

/// Alerts and the dashboard use metrics that exist. Every alert has a runbook section, and every runbook section has an
/// alert.
#[test]
fn alerts_have_runbooks_and_use_existing_metrics() {
    let read = |file: &str| fs::read_to_string(chart().join("files").join(file)).expect("a file of the chart");
    let (alerts, dashboard) = (read("alerts.yaml"), read("dashboard.json"));
    let rules = sidecar_injector::manifest::template_files::manifest("alerts.yaml", 0, &alerts).expect("YAML");
    let rules = rules["groups"][0]["rules"].as_array().expect("rules").clone();
    let mut named: Vec<&str> = rules.iter().map(|rule| rule["alert"].as_str().expect("a name")).collect();
    for rule in &rules {
        let (name, runbook) = (rule["alert"].as_str(), rule["annotations"]["runbook_url"].as_str());
        let section =
            runbook.and_then(|url| url.split_once("docs/runbooks.md#")).map(|(_, section)| section.to_owned());
        assert_eq!(section, name.map(str::to_lowercase), "{name:?}");
    }
    let runbooks = fs::read_to_string(docs().join("runbooks.md")).expect("the page");
    let mut sections: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    named.sort_unstable();
    sections.sort_unstable();
    assert_eq!(named, sections);
    assert!(named.len() >= 8 && serde_json::from_str::<Value>(&dashboard).is_ok());
    let known = metric_reference();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for text in [&alerts, &dashboard] {
        for metric in text.split(|c| !is_part(c)).filter(|word| word.starts_with("sidecar_injector_")) {
            let metric = metric.strip_suffix("_bucket").unwrap_or(metric);
            assert!(known.contains(&format!("`{metric}`")), "there is no metric {metric}");
        }
    }
}

#[test]
fn generated_references_are_current() {
    for (file, text) in [
        ("reference/lint.md", lint_reference()),
        ("reference/template.md", template_reference()),
        ("reference/reasons.md", reason_reference()),
        ("reference/rules.md", rule_reference()),
        ("reference/metrics.md", metric_reference()),
        ("../charts/sidecar-injector/README.md", chart_reference()),
    ] {
        let path = docs().join(file);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, text).expect("write the page");
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            panic!("docs/{file} is stale; UPDATE_DOCS=1 make test writes it again");
        }
    }
}
