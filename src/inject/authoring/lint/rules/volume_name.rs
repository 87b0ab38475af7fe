//! Vocabulary of volumes that can conflict with the volumes of applications.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::authoring::lint::volumes::{is_shared, literal_name};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "volume-name",
    severity: Severity::Warning,
    explanation: "The name of a volume that only this template uses does not begin with the template's name. \
        Applications also use short names such as `data` or `config`, and the volumes then conflict. Begin the name \
        with the template's name.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        ("volumes: [{name: a-data, emptyDir: {}}]", &[]),
        ("volumes: [{name: data, emptyDir: {}}]", &["the name of the volume data does not begin with a"]),
        ("volumes: [{name: data, emptyDir: {}, shared: true}]", &[]),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let template = linter.template.name.as_str();
    for volume in linter.volumes() {
        let Some(name) = literal_name(volume).filter(|_| !is_shared(volume)) else { continue };
        if !name.starts_with(template) {
            let message = format!("the name of the volume {name} does not begin with {template}");
            linter.find(volume.span_of("name"), message);
        }
    }
}
