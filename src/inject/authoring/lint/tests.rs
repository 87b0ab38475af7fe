use crate::inject::authoring::lint::*;

fn rules_of(text: &str) -> Vec<&'static str> {
    let limits =
        Limits { max_sidecars: 2, budget: BTreeMap::from([("cpu".to_owned(), 100_000_000)]), ..Limits::default() };
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
        ("pod-security", sidecar(", securityContext: {privileged: true}")),
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
        // A probe of the node is beyond the level baseline as well.
        let found = rules_of(text);
        let others = found.iter().filter(|found| **found != "pod-security" || *rule == **found);
        assert_eq!(others.collect::<Vec<_>>(), [rule], "{text}");
    }
    let elsewhere = ["duplicate-name", "no-parameter", "no-template", "wrong-place"];
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

/// What an expression in a field comes to: the rule that finds it, or none.
#[test]
fn what_expressions_may_become_counts() {
    let parameters = "parameters: {cpu: {type: quantity, maximum: 1}, few: {type: quantity, enum: [10m, 20m]}, free: {type: quantity}, image: {type: string}, x: {type: string}}\nlint: {unused-parameter: a test}\n";
    let cpu = |request: &str| sidecar("").replace("cpu: 10m", &format!("cpu: \"{request}\""));
    let exec = "{exec: {command: [sh, -c, \"echo ${params.x}\"]}}";
    let script = |text: &str| sidecar(&format!(", command: [sh, -c, \"{text}\"]"));
    for (text, expected) in [
        (cpu("${params.cpu}"), &["budget"][..]),
        (cpu("${params.few}"), &[]),
        (cpu("${params.free}"), &["budget"]),
        (cpu("${params.x == 'a' ? '20m' : '200m'}"), &["budget"]),
        (cpu("${params.x == 'a' ? '20m' : '50m'}"), &[]),
        (sidecar(&format!(", readinessProbe: {exec}")), &["shell-expression"]),
        (sidecar(&format!(", lifecycle: {{preStop: {exec}}}")), &["shell-expression"]),
        (script("echo ${shellQuote(params.x)}"), &[]),
        (script("echo ${shellQuote(params.x) + params.x}"), &["shell-expression"]),
        (script("echo 'it is ${shellQuote(params.x)}'"), &["shell-expression"]),
        (script("echo 'it is '${shellQuote(params.x)}"), &[]),
        (sidecar(", if: object.spec.hostNetwork"), &["unguarded-access"]),
        (sidecar(", if: has(object.spec.hostNetwork) && object.spec.hostNetwork"), &[]),
        (sidecar(", if: \"has(object.spec.os.name)\""), &["unguarded-access"]),
        (
            sidecar(
                ", if: \"has(object.metadata.labels) && 'a' in object.metadata.labels && object.metadata.labels.a == 'b'\"",
            ),
            &[],
        ),
        (
            format!("variables: [{{name: v, expression: object.spec.hostNetwork}}]\n{}", sidecar("")),
            &["unguarded-access"],
        ),
        (
            format!(
                "variables: [{{name: v, expression: params.image}}]\n{}",
                sidecar("").replace("'i:1'", "\"${variables.v}\"")
            ),
            &["free-image"],
        ),
        (sidecar(", securityContext: {capabilities: {add: [\"${params.x}\"]}}"), &[]),
    ] {
        assert_eq!(rules_of(&format!("{parameters}{text}")), expected, "{text}");
    }
}

#[test]
fn the_level_of_pod_security_is_chosen() {
    let text = sidecar("");
    let rules = |pod_security| {
        let limits = Limits { pod_security, ..Limits::default() };
        let (findings, _) = template(&Source::new("t", &text), "a", &Keys::default(), &limits);
        findings.iter().map(|finding| finding.diagnostic.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(rules(Profile::Baseline), [""; 0]);
    let found = rules(Profile::Restricted);
    let expected = "namespaces that enforce the level restricted refuse its pods: the container a does not set allowPrivilegeEscalation: false";
    assert_eq!(found, [expected]);
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
    let silent = load("lint: {duplicate-name: never together}\nvolumes: [{name: v, emptyDir: {}}]", "d");
    let shared = load("volumes: [{name: v, emptyDir: {}, shared: true}]", "c");
    let found = across(&[
        ("a.yaml".to_owned(), &a),
        ("b.yaml".to_owned(), &b),
        ("c.yaml".to_owned(), &shared),
        ("d.yaml".to_owned(), &silent),
    ]);
    let messages: Vec<String> = found.iter().map(|finding| finding.diagnostic.one_line()).collect();
    let expected =
        ["b.yaml: the volume v is added by the template a too", "c.yaml: the volume v is added by the template a too"];
    assert_eq!(messages, expected, "one that shares and one that does not cannot be had together");
    let other = load("volumes: [{name: v, emptyDir: {medium: \"\"}, shared: true}]", "e");
    assert_eq!(across(&[("c.yaml".to_owned(), &shared), ("e.yaml".to_owned(), &other)]), []);
}

/// Counterexamples that somebody found.
#[test]
fn findings_that_were_missed_or_wrong() {
    let parameters = "parameters: {m: {type: integer, maximum: 4096}, q: {type: quantity, maximum: 4Gi}, size: {type: string}, v: {type: string}}\nlint: {unused-parameter: a test}\n";
    let memory = |request: &str| sidecar("").replace("memory: 32Mi", &format!("memory: \"{request}\""));
    let script = |flags: &str, text: &str| sidecar(&format!(", command: [{flags}, \"{text}\"]"));
    let hook = |action: &str| sidecar(&format!(", lifecycle: {{preStop: {action}}}"));
    let exec = |command: &str| hook(&format!("{{exec: {{command: [{command}]}}}}"));
    let port = |more: &str| format!("- {{name: p, image: 'i:1', {SOUND}, ports: [{{containerPort: 80}}]{more}}}\n");
    let apps = |text: &str| format!("appContainers:\n- {text}\n");
    for (text, expected) in [
        // Accesses.
        (
            sidecar(", args: ['${has(object.metadata.labels) ? object.metadata.labels.app : \"none\"}']"),
            &["unguarded-access"][..],
        ),
        (sidecar(", args: ['${string(object.spec.containers[0].livenessProbe.httpGet.path)}']"), &["unguarded-access"]),
        (apps("{if: container.livenessProbe.httpGet.port == 80, env: [{name: A, value: b}]}"), &["unguarded-access"]),
        (apps("{if: container.name == 'x', env: [{name: A, value: b}, {name: A, value: c}]}"), &["duplicate-env"]),
        (format!("description: \"Reads ${{object.metadata.labels.app}}\"\n{}", sidecar("")), &[]),
        (sidecar(", if: has(object.spec.hostNetwork), args: ['${string(object.spec.hostNetwork)}']"), &[]),
        // Shells.
        (script("bash, --norc, -c", "echo ${params.v}"), &["shell-expression"]),
        (script("ksh, -c", "echo ${params.v}"), &["shell-expression"]),
        (script("sh, -c", "echo \\\\${shellQuote(params.v)}"), &["shell-expression"]),
        (script("sh, -c", "# it's\\necho ${shellQuote(params.v)}"), &[]),
        // Budgets.
        (format!("sidecars:\n{}{}", port(", if: 'true'"), port(", if: 'false'")), &[]),
        (memory("${params.m}Mi"), &["budget"]),
        (memory("${params.size == 'l' ? params.q : '64Mi'}"), &["budget"]),
        (format!("variables: [{{name: r, expression: \"'64Mi'\"}}]\n{}", memory("${variables.r}")), &[]),
        // Hooks.
        (exec("/bin/sleep, '60'"), &["pre-stop-grace"]),
        (exec("sh, -c, 'sleep 60; kill 1'"), &["pre-stop-grace"]),
        (exec("sleep, 1m"), &["pre-stop-grace"]),
        (exec("sh, -c, 'sleep 5 && sleep 40'"), &["pre-stop-grace"]),
        (exec("sleep, '5'"), &[]),
        (sidecar(", position: {after: app}, startupProbe: {exec: {command: [\"true\"]}}"), &[]),
        (
            format!("position: last\n{}", sidecar(", position: first, startupProbe: {exec: {command: [\"true\"]}}")),
            &["startup-waits"],
        ),
        // Ports, names, images, levels.
        (
            format!(
                "sidecars:\n{}- {{name: q, image: 'i:1', {SOUND}, ports: [{{containerPort: 81, hostPort: 8080}}, {{containerPort: 82}}]}}\n- {{name: r, image: 'i:1', {SOUND}, ports: [{{containerPort: 83, hostPort: 8080}}]}}\n",
                ""
            ),
            &["port-clash", "pod-security"],
        ),
        (
            format!(
                "{}volumes: [{{name: a-v, emptyDir: {{}}}}]\n",
                sidecar(", volumeMounts: [{name: '${params.v}', mountPath: /v}]")
            ),
            &[],
        ),
        (sidecar("").replace("'i:1'", "\"${annotation('img', 'x:1')}\""), &["free-image"]),
        (sidecar("").replace("'i:1'", "\"${values.registry}/untagged\""), &["image-tag"]),
        (
            format!(
                "metadata: {{annotations: {{container.apparmor.security.beta.kubernetes.io/s: unconfined}}}}\n{}",
                sidecar("")
            ),
            &["pod-security"],
        ),
        (sidecar(", readinessProbe: {httpGet: {host: '', port: 1}}"), &[]),
        (format!("lint: {{invalid: x}}\n{}", sidecar("")), &["invalid"]),
    ] {
        let text = if text.starts_with("lint") { text } else { format!("{parameters}{text}") };
        let limits = Limits {
            budget: BTreeMap::from([("memory".to_owned(), 128 * (1 << 20) * 1_000_000_000)]),
            ..Limits::default()
        };
        let (findings, _) = template(&Source::new("t", &text), "a", &Keys::default(), &limits);
        let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule).collect();
        rules.dedup();
        assert_eq!(rules, expected, "{text}\n{findings:?}");
    }
}
