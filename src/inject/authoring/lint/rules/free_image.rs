//! Images that the author of a pod can choose freely, directly or through variables.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::diagnostic::Severity;
use crate::inject::expr::Reads;

pub(super) const RULE: Rule = Rule {
    id: "free-image",
    severity: Severity::Error,
    explanation: "A string parameter without a pattern or an enum, or a label or annotation of the pod, sets an image. \
        Anyone who can create pods can then choose what runs under the template's name. Use a parameter with a pattern \
        or an enum.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            "parameters: {tag: {type: string, enum: ['1', '2']}}\n\
             sidecars: [{name: a, image: 'i:${params.tag}'}]",
            &[],
        ),
        (
            "parameters: {image: {type: string}}\n\
             sidecars: [{name: a, image: '${params.image}'}]",
            &["the parameter image, which has no pattern or enum, sets the image"],
        ),
        (
            "parameters: {image: {type: string}}\n\
             variables: [{name: v, expression: params.image}]\n\
             sidecars: [{name: a, image: '${variables.v}'}]",
            &["the parameter image, which has no pattern or enum, sets the image"],
        ),
        (
            r#"sidecars: [{name: a, image: "${annotation('img', 'x:1')}"}]"#,
            &["a label or annotation of the pod sets the image"],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    for container in linter.containers() {
        let Some(image) = container.text("image").and_then(|image| linter.compiled(image)) else { continue };
        let mut reads = Reads::default();
        image.expressions().for_each(|expression| reads.merge(&expression.reads));
        for (name, expression) in linter.template.variables().iter().rev() {
            if reads.variables.contains(name) {
                reads.merge(&expression.reads);
            }
        }
        let span = container.span_of("image");
        if reads.reads_metadata() {
            linter.find(span, "a label or annotation of the pod sets the image");
        }
        let free = |name: &&String| linter.template.parameters.iter().any(|p| p.name == **name && p.is_free());
        if let Some(name) = reads.parameters.iter().find(free) {
            linter.find(span, format!("the parameter {name}, which has no pattern or enum, sets the image"));
        }
    }
}
