//! Runs the cases of every rule. The text of a case depends on the input of the rule:
//! - one template: a template document; its name is `a`,
//! - several templates: their documents, separated by `---`,
//! - a dry run: the status code and the message of the API server for a pod with the template `a`,
//! - a manifest: a map with the metadata of the `pod` and, optionally, of its `workload`. [`LOGS`] and [`NEXT`] are
//!   the templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::inject::authoring::dry_run::refusal::Refusal;
use crate::inject::authoring::lint;
use crate::inject::authoring::lint::linter::{LintLimits, ManifestPod, Rule, RuleCheck};
use crate::inject::authoring::lint::rules::RULES;
use crate::inject::catalog::Catalog;
use crate::inject::catalog::holder::TemplateText;
use crate::inject::diagnostic::Source;
use crate::inject::document::yaml;
use crate::inject::settings::keys::Keys;
use crate::inject::template::Template;

/// The templates that manifests can request.
const LOGS: &str = "
name: logs
parameters: {level: {type: string, enum: [info, debug]}, labels: {type: map}}
sidecars: [{name: logs, image: 'i:1', args: ['${params.level}', '${json(params.labels)}']}]
";

const NEXT: &str = "{name: next, version: 2-rc1}";

#[test]
fn each_rule_has_the_expected_findings() {
    let mut wrong = Vec::new();
    for rule in RULES {
        for (text, expected) in rule.cases {
            let found = messages(rule, text);
            let fits = found.iter().zip(*expected).all(|(message, part)| message.contains(part));
            if found.len() != expected.len() || !fits {
                wrong.push(format!("{}:\n{text}\nfound    {found:?}\nexpected {expected:?}", rule.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_rule_has_a_case_with_findings_and_one_without() {
    for rule in RULES {
        assert!(rule.cases.iter().any(|(_, expected)| !expected.is_empty()), "{}", rule.id);
        assert!(rule.cases.iter().any(|(_, expected)| expected.is_empty()), "{}", rule.id);
    }
}

#[test]
fn the_rules_are_sorted() {
    assert!(RULES.is_sorted_by(|one, next| one.id < next.id));
}

/// The messages of the findings of `rule` in the text of a case.
fn messages(rule: &Rule, text: &str) -> Vec<String> {
    let findings = match rule.check {
        RuleCheck::Loading | RuleCheck::Template(_) => {
            let budget = [("cpu".to_owned(), 100_000_000), ("memory".to_owned(), 128 * (1 << 20) * 1_000_000_000)];
            let limits = LintLimits { max_sidecars: 2, budget: BTreeMap::from(budget), ..LintLimits::default() };
            let (findings, template) = lint::template(&Source::new("case", text), "a", &Keys::default(), &limits);
            assert!(template.is_some() || matches!(rule.check, RuleCheck::Loading), "{text}\n{findings:?}");
            findings
        }
        RuleCheck::DryRun => {
            let case: Json = yaml::parse_manifest(&Source::new("case", text)).expect("a code and a message");
            let code = case["code"].as_u64().and_then(|code| u16::try_from(code).ok()).expect("a code");
            let refusal = Refusal::read(code, case["message"].as_str().expect("a message"));
            let refused = |refusal: &Refusal| {
                let pods =
                    lint::RefusedPods { refusal, pod: &Json::Null, words: "", namespace: "shop", count: 1, of: 1 };
                lint::refused(&Source::new("case", "{}"), &load("{}"), &pods)
            };
            refusal.as_ref().and_then(refused).into_iter().collect()
        }
        RuleCheck::Templates(_) => {
            let templates: Vec<Template> = text.split("---\n").map(load).collect();
            let text = TemplateText { origin: "case".to_owned(), ..TemplateText::default() };
            lint::across(&templates.iter().map(|template| (&text, template)).collect::<Vec<_>>())
        }
        RuleCheck::Manifest(_) => {
            let case: Json = yaml::parse_manifest(&Source::new("case", text)).expect("a pod and its workload");
            let catalog = Catalog::new([LOGS, NEXT].map(|text| Arc::new(load(text))), BTreeMap::new());
            lint::manifest(&ManifestPod {
                origin: "case",
                metadata: &case["pod"],
                workload: case.get("workload"),
                catalog: &catalog,
                keys: &Keys::default(),
            })
        }
    };
    let own = findings.into_iter().filter(|finding| finding.rule == rule.id);
    own.map(|finding| finding.diagnostic.message).collect()
}

fn load(text: &str) -> Template {
    Template::load(&Source::new("case", text), "a", &Keys::default()).expect(text).template
}
