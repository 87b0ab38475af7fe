//! Volumes that no container in the template mounts.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::authoring::lint::volumes::{is_named_by_expression, is_shared, literal_name};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "unused-volume",
    severity: Severity::Warning,
    explanation: "No container in the template mounts the volume. Mount it or remove it.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            "sidecars: [{name: a, image: i, volumeMounts: [{name: a-v, mountPath: /v}]}]\n\
             volumes: [{name: a-v, emptyDir: {}}]",
            &[],
        ),
        ("volumes: [{name: a-v, emptyDir: {}}]", &["no container in the template mounts the volume a-v"]),
        ("volumes: [{name: a-v, emptyDir: {}, shared: true}]", &[]),
        (
            "appContainers: [{volumeMounts: [{name: a-v, mountPath: /v}]}]\n\
             volumes: [{name: a-v, emptyDir: {}}]",
            &[],
        ),
        (
            "parameters: {v: {type: string}}\n\
             sidecars: [{name: a, image: i, volumeMounts: [{name: '${params.v}', mountPath: /v}]}]\n\
             volumes: [{name: a-v, emptyDir: {}}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let mounts = linter.mounts();
    if mounts.iter().any(|mount| is_named_by_expression(mount)) {
        return;
    }
    for volume in linter.volumes() {
        let Some(name) = literal_name(volume).filter(|_| !is_shared(volume)) else { continue };
        if mounts.iter().all(|mount| literal_name(mount) != Some(name)) {
            linter.find(volume.span, format!("no container in the template mounts the volume {name}"));
        }
    }
}
