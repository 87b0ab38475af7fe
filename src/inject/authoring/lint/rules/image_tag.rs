//! Images without a fixed version.

use crate::inject::authoring::lint::Linter;
use crate::inject::authoring::lint::nodes::text;
use crate::inject::authoring::lint::rules::{Rule, RuleCheck};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "image-tag",
    severity: Severity::Warning,
    explanation: "An image without a tag, or with :latest, is another one on every node and after every restart. Name \
        a version, or better a digest.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: 'i:1'}]", &[]),
        ("sidecars: [{name: a, image: 'i@sha256:0123'}]", &[]),
        (
            "sidecars: [{name: a, image: 'reg.example:5000/i'}]",
            &["reg.example:5000/i is another image from day to day"],
        ),
        ("sidecars: [{name: a, image: 'i:latest'}]", &["i:latest is another image from day to day"]),
        ("initContainers: [{name: a, image: i}]", &["i is another image from day to day"]),
        ("sidecars: [{name: a, image: '${values.image}'}]", &[]),
        (
            "sidecars: [{name: a, image: '${values.registry}/untagged'}]",
            &["${values.registry}/untagged is another image from day to day"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers() {
        let Some(image) = text(container, "image") else { continue };
        let last = image.rsplit(['/', '}']).next().unwrap_or(image);
        // What an expression gives may have a tag.
        if image.ends_with('}') || last.contains("${") {
            continue;
        }
        let tag = last.split_once(':').map(|(_, tag)| tag);
        if !image.contains('@') && matches!(tag, None | Some("latest" | "")) {
            linter.find(container.span_of("image"), format!("{image} is another image from day to day"));
        }
    }
}
