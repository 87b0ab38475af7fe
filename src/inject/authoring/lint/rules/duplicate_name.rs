//! Vocabulary that two templates both add, except for a volume that both share.

use crate::inject::authoring::lint::linter::{Finding, Rule, RuleCheck};
use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::inject::catalog::holder::TemplateText;
use crate::inject::diagnostic::Severity;
use crate::inject::kube::defaults::equal;
use crate::inject::template::Template;

pub(super) const RULE: Rule = Rule {
    id: "duplicate-name",
    severity: Severity::Warning,
    explanation: "Two templates add a container or a volume with the same name, so no pod can request both. Rename one \
        of them. If both templates are meant to use the same volume, set `shared: true` on the volume in both.",
    check: RuleCheck::Templates(check),
    #[cfg(test)]
    cases: &[
        (
            "name: a\n\
             volumes: [{name: v, emptyDir: {}}]\n\
             ---\n\
             name: b\n\
             volumes: [{name: w, emptyDir: {}}]",
            &[],
        ),
        (
            "name: a\n\
             volumes: [{name: v, emptyDir: {}}]\n\
             ---\n\
             name: b\n\
             volumes: [{name: v, emptyDir: {}}]",
            &["the volume v is also added by the template a"],
        ),
        (
            "name: a\n\
             volumes: [{name: v, emptyDir: {}}]\n\
             ---\n\
             name: b\n\
             lint: {duplicate-name: never together}\n\
             volumes: [{name: v, emptyDir: {}}]",
            &[],
        ),
        // A volume is shared only if both templates share it and define it in the same way.
        (
            "name: a\n\
             volumes: [{name: v, emptyDir: {}}]\n\
             ---\n\
             name: b\n\
             volumes: [{name: v, emptyDir: {}, shared: true}]",
            &["the volume v is also added by the template a"],
        ),
        (
            "name: a\n\
             volumes: [{name: v, emptyDir: {}, shared: true}]\n\
             ---\n\
             name: b\n\
             volumes: [{name: v, emptyDir: {medium: ''}, shared: true}]",
            &[],
        ),
    ],
};

fn check(templates: &[(&TemplateText, &Template)]) -> Vec<Finding> {
    let mut owners: BTreeMap<(&str, String), (&str, Option<Json>)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (text, template) in templates {
        for (kind, name, shared) in template.literal_names() {
            match owners.get(&(kind, name.clone())) {
                Some((_, Some(known))) if shared.as_ref().is_some_and(|shared| equal(known, shared)) => {}
                Some((other, _)) if *other != template.name && !template.silences(RULE.id) => {
                    let message = format!("the {kind} {name} is also added by the template {other}");
                    findings.push(Finding::new(&RULE, text.error(message), &template.name));
                }
                Some(_) => {}
                None => drop(owners.insert((kind, name), (&template.name, shared))),
            }
        }
    }
    findings
}
