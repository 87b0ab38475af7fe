use super::*;

fn rules_of(text: &str) -> Vec<&'static str> {
    let limits = Limits { max_sidecars: 2, budget: BTreeMap::from([("cpu".to_owned(), 100_000_000)]) };
    let (findings, _) = template(&Source::new("t", text), "a", &Keys::default(), &limits);
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
    rules.dedup();
    rules
}

const SOUND: &str = "resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 32Mi}}, livenessProbe: {exec: {command: [\"true\"]}}";

fn sidecar(more: &str) -> String {
    format!("sidecars:\n- {{name: a, image: 'i:1', {SOUND}{more}}}\n")
}

#[test]
fn a_sound_template_has_no_findings() {
    let text = format!(
        "parameters: {{dir: {{type: string, pattern: '^/.*$'}}}}\n{}volumes: [{{name: a-v, emptyDir: {{}}}}]\n",
        sidecar(", env: [{name: DIR, value: '${params.dir}'}], volumeMounts: [{name: a-v, mountPath: /v}]")
    );
    assert_eq!(rules_of(&text), [""; 0]);
}

/// One text for each rule about single templates; a rule without one fails.
#[test]
fn each_rule_finds_what_it_is_about() {
    let cases = [
        ("budget", sidecar("").replace("cpu: 10m", "cpu: 200m")),
        ("duplicate-env", sidecar(", env: [{name: A, value: b}, {name: A, value: c}]")),
        (
            "free-image",
            format!("parameters: {{image: {{type: string}}}}\n{}", sidecar("").replace("'i:1'", "'${params.image}'")),
        ),
        ("image-tag", sidecar("").replace("'i:1'", "reg.example:5000/i")),
        (
            "init-like-sidecar",
            "initContainers:\n- {name: a, image: 'i:1', ports: [{containerPort: 1}], resources: {requests: {cpu: 1m, memory: 1Mi}, limits: {memory: 1Mi}}}\n".to_owned(),
        ),
        ("invalid", "sidecar: []\n".to_owned()),
        (
            "max-sidecars",
            format!(
                "sidecars:\n- {{name: a, image: 'i:1', {SOUND}}}\n- {{name: b, image: 'i:1', {SOUND}}}\n- {{name: c, image: 'i:1', {SOUND}}}\n"
            ),
        ),
        ("mount-without-volume", sidecar(", volumeMounts: [{name: logs, mountPath: /l}]")),
        ("no-probe", sidecar("").replace("livenessProbe: {exec: {command: [\"true\"]}}", "tty: true")),
        ("no-resources", sidecar("").replace("limits: {memory: 32Mi}", "limits: {}")),
        (
            "port-clash",
            format!(
                "sidecars:\n- {{name: a, image: 'i:1', {SOUND}, ports: [{{containerPort: 1}}]}}\n- {{name: b, image: 'i:1', {SOUND}, ports: [{{containerPort: 1}}]}}\n"
            ),
        ),
        ("pre-stop-grace", sidecar(", lifecycle: {preStop: {exec: {command: [sh, -c, 'sleep 60']}}}")),
        ("probe-host", sidecar(", readinessProbe: {httpGet: {host: 127.0.0.1, port: 1}}")),
        (
            "shell-expression",
            format!("parameters: {{x: {{type: string}}}}\n{}", sidecar(", command: [/bin/sh, -c, 'echo ${params.x}']")),
        ),
        ("startup-waits", sidecar(", startupProbe: {exec: {command: [\"true\"]}}")),
        (
            "unanchored-pattern",
            format!("parameters: {{x: {{type: string, pattern: 'a'}}}}\n{}", sidecar(", args: ['${params.x}']")),
        ),
        ("unguarded-access", sidecar(", args: ['${object.metadata.labels.app}']")),
        ("unknown-field", sidecar(", imagePulPolicy: Always")),
        ("unused-parameter", format!("parameters: {{x: {{type: string}}}}\n{}", sidecar(""))),
        ("unused-volume", format!("{}volumes: [{{name: a-v, emptyDir: {{}}}}]\n", sidecar(""))),
        (
            "volume-name",
            format!(
                "{}volumes: [{{name: data, emptyDir: {{}}}}]\n",
                sidecar(", volumeMounts: [{name: data, mountPath: /v}]")
            ),
        ),
    ];
    for (rule, text) in &cases {
        assert_eq!(rules_of(text), [*rule], "{text}");
    }
    let elsewhere = ["duplicate-name", "no-template", "wrong-place"];
    for rule in &RULES {
        assert!(cases.iter().any(|(id, _)| *id == rule.id) || elsewhere.contains(&rule.id), "{}", rule.id);
    }
    assert!(RULES.windows(2).all(|pair| pair[0].id < pair[1].id), "sorted");
}

#[test]
fn quoted_expressions_and_guarded_accesses_are_fine() {
    let text = format!(
        "parameters: {{x: {{type: string}}}}\n{}",
        sidecar(
            ", command: [sh, -c, 'echo $${HOME} ${shellQuote(params.x)}'], args: [\"${has(object.spec.hostNetwork) ? 'h' : 'p'}\", \"${object.spec.containers[0].name}\", \"${label('a', 'b')}\"]"
        )
    );
    assert_eq!(rules_of(&text), [""; 0]);
}

#[test]
fn rules_are_silenced_with_a_reason_only() {
    let without = sidecar("").replace("'i:1'", "i");
    assert_eq!(rules_of(&format!("lint: {{image-tag: pinned by the mirror}}\n{without}")), [""; 0]);
    assert_eq!(rules_of(&format!("lint: {{image-tag: ''}}\n{without}")), ["image-tag", "invalid"]);
    assert_eq!(rules_of(&format!("lint: {{image-tags: x}}\n{without}")), ["image-tag", "invalid"]);
}

#[test]
fn names_that_two_templates_add_are_found() {
    let load = |text: &str, name: &str| {
        Template::load(&Source::new("t", text), name, &Keys::default()).expect("sound").template
    };
    let (a, b) = (load("volumes: [{name: v, emptyDir: {}}]", "a"), load("volumes: [{name: v, emptyDir: {}}]", "b"));
    let shared = load("volumes: [{name: v, emptyDir: {}, shared: true}]", "c");
    let found = across(&[("a.yaml".to_owned(), &a), ("b.yaml".to_owned(), &b), ("c.yaml".to_owned(), &shared)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].diagnostic.one_line(), "b.yaml: the volume v is added by the template a too");
}
