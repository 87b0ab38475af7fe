//! Images without a fixed version.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::kube::names::image_tag;

pub(super) const RULE: Rule = Rule {
    id: "image-tag",
    severity: Severity::Warning,
    explanation: "An image has no tag, or has the tag `latest`. The image can differ between nodes and change at every \
        restart. Use a version tag or, better, a digest.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("sidecars: [{name: a, image: 'i:1'}]", &[]),
        ("sidecars: [{name: a, image: 'i@sha256:0123'}]", &[]),
        (
            "sidecars: [{name: a, image: 'reg.example:5000/i'}]",
            &["reg.example:5000/i has no tag, so the image can change at any time"],
        ),
        (
            "sidecars: [{name: a, image: 'i:latest'}]",
            &["i:latest has the tag latest, so the image can change at any time"],
        ),
        ("initContainers: [{name: a, image: i}]", &["i has no tag, so the image can change at any time"]),
        ("sidecars: [{name: a, image: '${values.image}'}]", &[]),
        (
            "sidecars: [{name: a, image: '${values.registry}/untagged'}]",
            &["${values.registry}/untagged has no tag, so the image can change at any time"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers() {
        let Some(image) = container.text("image") else { continue };
        let last = image.rsplit(['/', '}']).next().unwrap_or(image);
        // The result of an expression may have a tag.
        if image.contains('@') || image.ends_with('}') || last.contains("${") {
            continue;
        }
        let problem = match image_tag(last) {
            None | Some("") => "no tag",
            Some("latest") => "the tag latest",
            Some(_) => continue,
        };
        let message = format!("{image} has {problem}, so the image can change at any time");
        linter.find(container.span_of("image"), message);
    }
}
