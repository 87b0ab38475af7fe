//! Documents that define the same version of a template.

use crate::inject::authoring::lint::linter::{Finding, Rule, RuleCheck};
use crate::inject::catalog::definitions::{Document, DuplicateKind, settle};
use crate::inject::catalog::holder::TemplateText;
use crate::inject::diagnostic::Severity;
use crate::inject::template::Template;

pub(super) const RULE: Rule = Rule {
    id: "duplicate-version",
    severity: Severity::Error,
    explanation: "Two documents define the same version of a template. The webhook uses the one in the older ConfigMap; \
        `inject` and `why` fail. Change the version of one document, or delete the document.",
    check: RuleCheck::Templates(|templates| findings(templates, DuplicateKind::Version, &RULE)),
    #[cfg(test)]
    cases: &[
        ("version: '1'\n---\nversion: '2'\n---\nname: b\nversion: '1'\n---\n{}\n", &[]),
        ("version: '1'\n---\nversion: '1'\n", &["a@1 is already defined by case"]),
        ("name: b\n---\nname: c\n---\nname: c\n---\nname: c\n", &["c is already", "c is already"]),
    ],
};

/// The findings of `rule` for the clashes of one kind.
pub(super) fn findings(templates: &[(&TemplateText, &Template)], of: DuplicateKind, rule: &Rule) -> Vec<Finding> {
    let places: Vec<String> = templates.iter().map(|(text, _)| text.place()).collect();
    let documents = templates.iter().zip(&places);
    let documents: Vec<Document<'_>> =
        documents.map(|((_, template), place)| Document { template, place, is_current: true }).collect();
    let clashes = settle(&documents).clashes.into_iter().filter(|clash| clash.kind == of);
    let finding = |(at, first): (usize, usize)| {
        let message = of.message(documents[at], documents[first]);
        Finding::new(rule, templates[at].0.error(message), &templates[at].1.name)
    };
    let silenced = |at: usize| templates[at].1.silences(rule.id);
    clashes.filter(|clash| !silenced(clash.at)).map(|clash| finding((clash.at, clash.first))).collect()
}
