//! Mounts of volumes that the template does not add.

use crate::inject::authoring::lint::linter::{Linter, Rule, RuleCheck};
use crate::inject::authoring::lint::volumes::{is_named_by_expression, literal_name};
use crate::inject::diagnostic::Severity;

pub(super) const RULE: Rule = Rule {
    id: "mount-without-volume",
    severity: Severity::Warning,
    explanation: "A container mounts a volume that the template does not add. Every pod that requests the template \
        must have the volume, or the pod is denied with `MissingVolume`. Add the volume, or state in the template's \
        `description` that pods must provide it.",
    check: RuleCheck::Template(check),
    #[cfg(test)]
    cases: &[
        (
            "sidecars: [{name: a, image: i, volumeMounts: [{name: a-v, mountPath: /v}]}]\n\
             volumes: [{name: a-v, emptyDir: {}}]",
            &[],
        ),
        (
            "sidecars: [{name: a, image: i, volumeMounts: [{name: logs, mountPath: /l}]}]",
            &["the template does not add the volume logs"],
        ),
        // Each volume is reported once.
        (
            "sidecars: [{name: a, image: i, volumeMounts: [{name: l, mountPath: /l}]}]\n\
             appContainers: [{volumeMounts: [{name: l, mountPath: /l}]}]",
            &["the template does not add the volume l"],
        ),
        (
            "parameters: {v: {type: string}}\n\
             sidecars: [{name: a, image: i, volumeMounts: [{name: '${params.v}', mountPath: /l}]}]",
            &[],
        ),
    ],
};

fn check(linter: &mut Linter<'_>) {
    let volumes = linter.volumes();
    if volumes.iter().any(is_named_by_expression) {
        return;
    }
    let mut reported: Vec<&str> = Vec::new();
    for mount in linter.mounts() {
        let Some(name) = literal_name(mount) else { continue };
        if volumes.iter().all(|volume| literal_name(volume) != Some(name)) && !reported.contains(&name) {
            reported.push(name);
            linter.find(mount.span, format!("the template does not add the volume {name}"));
        }
    }
}
