//! The golden corpus: the engine decides every case under `tests/golden`, and the results are compared with the files
//! of the case. `UPDATE_GOLDEN=1` writes the files again. A file that is not expected fails the test.
//!
//! A case: `input.yaml` (its second line says what to expect) and `templates/`. Expected: `patch.json`
//! (one entry per pod), `output.json` (the documents after the patch), `denied.txt`, `warnings.txt`.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod corpus;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use corpus::{CaseSettings, contains};
use serde_json::{Value, json};
use sidecar_injector::inject::Engine;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::catalog::namespaces::Namespaces;
use sidecar_injector::inject::catalog::sources::{SourceRules, Sources};
use sidecar_injector::inject::decision::{Decision, Verdict};
use sidecar_injector::inject::review;
use sidecar_injector::inject::review::Request;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::settings::{EntryPoint, Settings};
use sidecar_injector::manifest::workload::{PodTemplate, pod_templates};
use sidecar_injector::manifest::{template_files, value_files};

type Files = BTreeMap<&'static str, String>;

fn catalog(case: &Path, keys: Keys) -> Catalog {
    let mut sources = Sources::with_rules(SourceRules::default(), keys);
    template_files::read(&[case.join("templates")], &mut sources);
    let published = sources.catalog();
    let errors: Vec<String> = published.errors.iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}:\n{}", case.display(), errors.join("\n"));
    published.catalog.with_values(&corpus::values(case))
}

/// A case's catalog and settings.
struct Decider {
    catalog: Catalog,
    entry: EntryPoint,
    settings: Settings,
}

fn review_of(pod: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"golden","resource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"default","operation":"CREATE","object":{pod}}}}}"#
    )
}

impl Decider {
    fn engine(&self) -> Engine<'_> {
        Engine::new(&self.catalog, &self.settings, self.entry)
    }

    fn decide(&self, pod: &PodTemplate) -> Decision {
        let namespace = pod.namespace.as_deref().unwrap_or("default");
        let review =
            review_of(&pod.pod).replace("\"namespace\":\"default\"", &format!("\"namespace\":\"{namespace}\""));
        let request = Request::parse(review.as_bytes()).expect("a review");
        let decision = self.engine().decide(&request, &pod.embedding);
        // The path of the server, which can stop at the beginning of the review, must agree. It has no embedding, so
        // only pods without one are compared.
        if pod.embedding.pointer.is_empty() {
            let answer = self.engine().answer(review.as_bytes()).expect("a review");
            assert_eq!(answer.body, review::response(review::Version::V1, "golden", &decision));
        }
        decision
    }

    /// Applies `decision` and checks the invariant of every patch.
    fn apply(&self, document: &mut Value, pod: &PodTemplate, decision: &Decision) {
        let Some(patch) = &decision.patch else { return };
        let parsed: json_patch::Patch = serde_json::from_slice(patch).expect("a JSON patch");
        assert!(parsed.iter().all(|op| matches!(op, json_patch::PatchOperation::Add(_))), "only add");
        let before = document.clone();
        json_patch::patch(document, &parsed).expect("the patch applies");
        assert!(contains(&before, document), "a value of the user is missing or out of order");
        let again = pod_templates(document).into_iter().find(|p| p.embedding.pointer == pod.embedding.pointer);
        let again = self.decide(&again.expect("still there"));
        assert_eq!(again.patch, None, "a second run adds nothing");
    }
}

/// The results of a case: the line of its expectation, and its files.
fn run(case: &Path) -> (String, Files) {
    let settings = CaseSettings::of(case);
    let input = fs::read_to_string(case.join("input.yaml")).expect("input.yaml");
    let (mut files, mut patches, mut documents) = (Files::new(), Vec::new(), Vec::new());
    let (mut warnings, mut denied, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    let parts = template_files::split(&input).into_iter();
    let parsed = parts.map(|(lines, text)| template_files::manifest("input.yaml", lines, text).expect("YAML"));
    let parsed: Vec<Value> = parsed.filter(|document| !document.is_null()).collect();
    let namespaces = Namespaces { watched: false, known: parsed.iter().filter_map(value_files::namespace).collect() };
    let catalog = catalog(case, settings.keys()).with_namespaces(Arc::new(namespaces));
    let decider = Decider { catalog, entry: settings.entry(), settings: settings.settings() };
    for mut document in parsed {
        for pod in pod_templates(&document) {
            let decision = decider.decide(&pod);
            decider.apply(&mut document, &pod, &decision);
            verdicts.push((decision.verdict, decision.reason));
            warnings.extend(decision.warnings);
            if decision.verdict == Verdict::Denied {
                denied.push(decision.message);
            } else if let Some(patch) = decision.patch {
                let patch: Value = serde_json::from_slice(&patch).expect("JSON");
                patches.push(json!({"at": pod.embedding.pointer, "patch": patch}));
            }
        }
        documents.push(document);
    }
    let total = verdicts.iter().find(|(verdict, _)| *verdict == Verdict::Denied);
    let total = total.or(verdicts.iter().find(|(verdict, _)| *verdict == Verdict::Injected)).or(verdicts.first());
    let total = match total {
        Some((Verdict::Injected, _)) => "Injected".to_owned(),
        Some((verdict, reason)) => format!("{} {reason}", verdict.as_str()),
        None => "Unchanged NotRequested".to_owned(),
    };
    if !denied.is_empty() {
        files.insert("denied.txt", denied.join("\n") + "\n");
    } else if !patches.is_empty() {
        files.insert("patch.json", serde_json::to_string_pretty(&patches).expect("JSON") + "\n");
        files.insert("output.json", serde_json::to_string_pretty(&documents).expect("JSON") + "\n");
    }
    if !warnings.is_empty() {
        files.insert("warnings.txt", warnings.join("\n") + "\n");
    }
    (total, files)
}

#[test]
fn golden_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut failures, mut count) = (Vec::new(), 0);
    for entry in fs::read_dir(&root).expect("the corpus") {
        let case = entry.expect("readable").path();
        let name = case.file_name().expect("named").to_string_lossy().into_owned();
        let outcome = std::panic::catch_unwind(|| check(&case, update));
        count += 1;
        match outcome {
            Ok(problems) => failures.extend(problems.into_iter().map(|problem| format!("{name}: {problem}"))),
            Err(_) => failures.push(format!("{name}: panicked, see above")),
        }
    }
    assert!(count >= 40, "the corpus is missing");
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
}

fn check(case: &Path, update: bool) -> Vec<String> {
    let (total, files) = run(case);
    let input = fs::read_to_string(case.join("input.yaml")).expect("input.yaml");
    let expected = input.lines().find_map(|line| line.strip_prefix("# expect: ")).unwrap_or("nothing").trim();
    let mut problems = Vec::new();
    if total != expected {
        problems.push(format!("is {total}, expected {expected}; {:?}", files.get("denied.txt")));
    }
    for name in ["patch.json", "output.json", "denied.txt", "warnings.txt"] {
        let path = case.join(name);
        match (files.get(name), fs::read_to_string(&path).ok()) {
            (Some(new), old) if old.as_ref() != Some(new) => {
                if update {
                    fs::write(&path, new).expect("writable");
                } else {
                    problems.push(format!("{name} differs; UPDATE_GOLDEN=1 writes it again\n{new}"));
                }
            }
            (None, Some(_)) => {
                if update {
                    fs::remove_file(&path).expect("removable");
                } else {
                    problems.push(format!("{name} is stale"));
                }
            }
            _ => {}
        }
    }
    problems
}
