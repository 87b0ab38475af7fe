//! Tests of all rules together. The cases of a rule are in its file.

use crate::inject::authoring::lint::*;
use crate::inject::template::pod_security::Profile;

const SOUND: &str = "
parameters: {dir: {type: string, pattern: '^/.*$'}}
sidecars:
- name: a
  image: i:1
  resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 32Mi}}
  livenessProbe: {exec: {command: ['true']}}
  env: [{name: DIR, value: '${params.dir}'}]
  volumeMounts: [{name: a-v, mountPath: /v}]
volumes: [{name: a-v, emptyDir: {}}]
";

fn findings(text: &str) -> Vec<Finding> {
    template(&Source::new("t", text), "a", &Keys::default(), &LintLimits::default()).0
}

fn rules_of(text: &str) -> Vec<&'static str> {
    findings(text).into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_valid_template_has_no_findings() {
    assert_eq!(findings(SOUND), []);
}

#[test]
fn the_level_of_pod_security_is_chosen() {
    let messages = |pod_security| {
        let limits = LintLimits { pod_security, ..LintLimits::default() };
        let (findings, _) = template(&Source::new("t", SOUND), "a", &Keys::default(), &limits);
        findings.into_iter().map(|finding| finding.diagnostic.message).collect::<Vec<_>>()
    };
    assert_eq!(messages(Profile::Baseline), [""; 0]);
    let found = messages(Profile::Restricted);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("namespaces that enforce the level restricted reject its pods: "), "{found:?}");
}

#[test]
fn rules_are_silenced_only_with_a_reason() {
    let without = SOUND.replace("i:1", "i");
    assert_eq!(rules_of(&format!("lint: {{image-tag: pinned by the mirror}}{without}")), [""; 0]);
    assert_eq!(rules_of(&format!("lint: {{image-tag: ''}}{without}")), ["invalid", "image-tag"]);
    assert_eq!(rules_of(&format!("lint: {{image-tags: x}}{without}")), ["invalid", "image-tag"]);
}

#[test]
fn findings_come_in_the_order_of_the_text() {
    let text = "volumes: [{name: data, emptyDir: {}, nw: 1}]\nsidecars:\n- name: x\n  image: i\n";
    let found = findings(text);
    let places: Vec<(usize, usize)> = found.iter().map(|f| (f.diagnostic.line, f.diagnostic.column)).collect();
    assert!(places.is_sorted() && places.len() >= 5, "{found:?}");
}

#[test]
fn a_finding_is_as_severe_as_its_rule() {
    for rule in RULES {
        let finding = Finding::new(rule, Diagnostic::of_document("t", "m"), "a");
        assert_eq!((finding.rule, finding.diagnostic.severity), (rule.id, rule.severity));
    }
}
