//! Tests the command line: the output on stdout and stderr, and the exit codes 0 (success), 1 (problems found or pods
//! denied), 2 (usage) and 3 (files).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(feature = "cluster")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const TEMPLATE: &str = "sidecars: [{name: helper, image: 'helper:1'}]\n";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    sidecar.io/inject: helper\nspec:\n  containers:\n  - name: app\n    image: app:1\n";
const CONFIG_MAP: &str = "# not ours\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k:   'v'}\n";

struct CommandOutput {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Creates a folder with the template `helper` in `templates/` and with `files`.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("templates")).unwrap();
    for (name, text) in [("templates/helper.yaml", TEMPLATE)].iter().chain(files) {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn run(folder: &Path, arguments: &[&str], stdin: &str) -> CommandOutput {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sidecar-injector"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("SIDECAR_INJECTOR_TEMPLATES")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    // A command that rejects its arguments does not read stdin.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    CommandOutput { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn inject(folder: &TempDir, arguments: &[&str], stdin: &str) -> CommandOutput {
    run(folder.path(), &[&["inject", "--templates", "templates"], arguments].concat(), stdin)
}

#[test]
fn several_files_and_stdin_are_written_as_one_stream() {
    let folder = folder(&[("plain.yaml", CONFIG_MAP)]);
    let output = inject(&folder, &["-f", "plain.yaml", "-f", "-"], POD);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    let (first, second) = output.stdout.split_once("---\n").expect("two documents");
    assert_eq!(first, CONFIG_MAP, "an unchanged document comes out byte for byte");
    assert!(second.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n"), "{second}");
    assert!(second.contains("restartPolicy: Always"), "{second}");
}

#[test]
fn json_and_patch_are_output_formats() {
    let folder = folder(&[("plain.yaml", CONFIG_MAP), ("asks.yaml", POD)]);
    let one = inject(&folder, &["-f", "asks.yaml", "-o", "json"], "");
    let pod: Value = serde_json::from_str(&one.stdout).expect("JSON");
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "helper");
    let both = inject(&folder, &["-f", "asks.yaml", "-f", "plain.yaml", "-o", "json"], "");
    let list: Value = serde_json::from_str(&both.stdout).expect("JSON");
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&Value::from("List"), 2));
    let patches = inject(&folder, &["-f", "plain.yaml", "-f", "asks.yaml", "-o", "patch"], "");
    let line: Value = serde_json::from_str(patches.stdout.trim_end()).expect("one line: one changed document");
    assert_eq!(line["name"], "a");
    assert!(line["patch"].as_array().unwrap().iter().all(|operation| operation["op"] == "add"));
}

#[test]
fn no_output_if_any_pod_is_denied_and_every_problem_is_reported() {
    let folder = folder(&[("asks.yaml", POD)]);
    let wrong = format!("{CONFIG_MAP}---\n{}---\n{}", POD.replace("helper", "helpre"), POD.replace("helper", "a,,b"));
    let output = inject(&folder, &["-f", "asks.yaml", "-f", "-"], &wrong);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", output.stderr);
    assert!(lines[0].starts_with("error: stdin: pod/a: sidecar.io/inject requests \"helpre\""), "{}", lines[0]);
    assert!(lines[0].contains("Did you mean \"helper\"?") && lines[0].ends_with("[UnknownTemplate]"), "{}", lines[0]);
    assert!(lines[1].ends_with("[InvalidRequest]"), "{}", lines[1]);
}

#[test]
fn invalid_yaml_and_invalid_templates_are_reported_with_their_position() {
    let folder = folder(&[("templates/broken.yaml", "name: broken\nsidecar: []\n")]);
    let output = inject(&folder, &["-f", "-"], POD);
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
    assert!(
        output.stderr.contains("templates/broken.yaml:2:1") && output.stderr.contains("^^^^^^^"),
        "{}",
        output.stderr
    );
    fs::remove_file(folder.path().join("templates/broken.yaml")).unwrap();
    let output = inject(&folder, &["-f", "-"], "kind: Pod\nkind: Job\n");
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
    assert!(output.stderr.contains("stdin:2:1"), "{}", output.stderr);
}

#[test]
fn usage_errors_and_missing_files_have_their_own_exit_codes() {
    let folder = folder(&[]);
    for arguments in [&["inject"][..], &["inject", "-f", "x", "--bogus"], &["bogus"], &["serve"]] {
        let output = run(folder.path(), arguments, "");
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(output.stderr.contains("--help"), "{}", output.stderr);
    }
    let output = inject(&folder, &["-f", "none.yaml"], "");
    assert_eq!((output.code, output.stdout.as_str()), (Some(3), ""));
    assert!(output.stderr.contains("none.yaml"), "{}", output.stderr);
    let output = run(folder.path(), &["inject", "-f", "-", "--templates", "nowhere"], POD);
    assert_eq!((output.code, output.stdout.as_str()), (Some(3), ""));
    assert_eq!(output.stderr, "error: nowhere: no such file or folder\n");
}

#[test]
fn denied_pods_and_missing_files_are_both_reported_and_folders_are_read() {
    let folder = folder(&[
        ("asks.yaml", POD),
        (
            "wrong.json",
            r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"w","annotations":{"sidecar.io/inject":"x"}},"spec":{"containers":[]}}"#,
        ),
    ]);
    let output = inject(&folder, &["-f", "wrong.json", "-f", "none.yaml"], "");
    assert_eq!((output.code, output.stdout.as_str()), (Some(3), ""));
    assert!(output.stderr.contains("pod/w") && output.stderr.contains("none.yaml"), "{}", output.stderr);
    let output = inject(&folder, &["-f", "."], "");
    assert_eq!(output.code, Some(1), "the folder's JSON file is read as well");
    fs::remove_file(folder.path().join("wrong.json")).unwrap();
    assert_eq!(inject(&folder, &["-f", "."], "").stdout, inject(&folder, &["-f", "asks.yaml"], "").stdout);
}

#[test]
fn documents_on_the_line_of_their_separator_and_strings_that_begin_with_a_tab() {
    let folder = folder(&[]);
    let pod = r#"--- {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"sidecar.io/inject": "helper"}}, "spec": {"containers": [{"name": "app", "image": "app:1", "args": ["\ta\nb", "1e3"], "ports": [{"containerPort": 30.0}]}]}}"#;
    let output = inject(&folder, &["-f", "-"], pod);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.contains("name: helper"), "{}", output.stdout);
    assert!(
        output.stdout.contains(r#"- "\ta\nb""#),
        "a block that begins with a tab is unreadable to kubectl: {}",
        output.stdout
    );
}

#[test]
fn positions_in_config_maps_are_positions_in_the_file() {
    let template = "kind: ConfigMap # note\napiVersion: v1\nmetadata: {name: t, labels: {sidecar.io/template: 'true'}}\ndata:\n  README.md: read me\n  a.yaml: |\n\n\n    sidecars:\n    - name: x\n      image: i\n      imag: i\n      tty: 1\n  b.yaml: \"name: b\\ndescription: |\\n  foo\\nbad: 1\\n\"\n";
    let folder = folder(&[("templates/cm.yaml", template)]);
    let output = inject(&folder, &["-f", "-"], POD);
    assert_eq!(output.code, Some(1));
    for line in
        ["templates/cm.yaml:13:12", "templates/cm.yaml ConfigMap t key b.yaml:4:1", "key README.md does not end in"]
    {
        assert!(output.stderr.contains(line), "{line}: {}", output.stderr);
    }
}

#[test]
fn lint_shows_findings_with_their_rule_and_fails_on_errors() {
    let folder = folder(&[
        (
            "templates/x.yaml",
            "sidecars:\n- name: x\n  image: nginx\n  command: [sh, -c, 'echo ${request.namespace}']\n",
        ),
        ("misplaced.yaml", &POD.replace("annotations", "labels")),
        ("slip.yaml", &POD.replace("sidecar.io/inject", "sidecars.io/inject")),
        ("unknown.yaml", &POD.replace("helper", "helpr")),
    ]);
    let lint = |more: &[&str]| run(folder.path(), &[&["lint", "--templates", "templates"], more].concat(), "");
    let output = lint(&[]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(
        output.stdout.contains("error[shell-expression]: ") && output.stdout.contains("--> templates/x.yaml:4:21"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("warning[image-tag]: "), "{}", output.stdout);
    let findings: Value = serde_json::from_str(&lint(&["-o", "json"]).stdout).expect("JSON");
    assert!(findings.as_array().unwrap().iter().any(|finding| finding["rule"] == "no-probe" && finding["line"] == 2));
    let sarif: Value = serde_json::from_str(&lint(&["-o", "sarif"]).stdout).expect("JSON");
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), findings.as_array().unwrap().len());
    fs::remove_file(folder.path().join("templates/x.yaml")).unwrap();
    assert_eq!(lint(&[]).code, Some(0), "warnings alone are no failure");
    assert_eq!(lint(&["--fail-on", "warning"]).code, Some(1));
    assert_eq!(lint(&["--budget", "cpu=x"]).code, Some(2));
    assert!(lint(&["-f", "misplaced.yaml"]).stdout.contains("sidecar.io/inject is a label and has no effect"));
    assert!(lint(&["-f", "slip.yaml"]).stdout.contains("did you mean sidecar.io/inject?"));
    let output = lint(&["-f", "unknown.yaml"]);
    assert!(
        output.code == Some(1) && output.stdout.contains("there is no template helpr; did you mean helper?"),
        "{}",
        output.stdout
    );
    let parameter = POD.replace(
        "inject: helper",
        "inject: helper\n    helper.sidecar.io/sise: large\n    helpr.sidecar.io/size: large",
    );
    fs::write(folder.path().join("parameter.yaml"), parameter).unwrap();
    let output = lint(&["-f", "parameter.yaml"]);
    assert_eq!(output.code, Some(1));
    for part in [
        "helper.sidecar.io/sise is \"large\": the template has no such parameter",
        "helpr.sidecar.io/size is for a template that is not requested; did you mean helper?",
    ] {
        assert!(output.stdout.contains(part), "{}", output.stdout);
    }
    assert!(output.stderr.contains("(1 baseline)"), "{}", output.stderr);
    let output = run(folder.path(), &["lint", "--explain"], "");
    assert!(output.code == Some(0) && output.stdout.contains("volume-name (warning)\n"), "{}", output.stdout);
}

#[test]
fn lint_explains_wrong_flags_of_the_dry_run() {
    let folder = folder(&[]);
    for (flags, code, why) in [
        (&["--dry-run=none"][..], 0, "templates: 1"),
        (&["--dry-run"], 2, "[possible values: none, server]"),
        (&["--namespace=shop"], 2, "--dry-run <WHERE>"),
        (&["--dry-run=server", "--namespace=a/b"], 2, "--namespace a/b: this is not a valid name of a namespace"),
        (&["--dry-run=server", "--values=none.yaml"], 3, "none.yaml: no such file or folder"),
    ] {
        let output = run(folder.path(), &[&["lint", "--templates", "templates"], flags].concat(), "");
        assert_eq!(output.code, Some(code), "{flags:?}");
        assert!(output.stderr.contains(why), "{}", output.stderr);
    }
}

#[test]
fn lint_says_which_version_serves_and_fails_on_a_version_that_is_there_twice() {
    let version = |version: &str| format!("name: helper\nversion: \"{version}\"\n{TEMPLATE}");
    let map = |namespace: &str| {
        let template = version("2.0.0").replace('\n', "\n    ");
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: t, namespace: {namespace}, labels: {{sidecar.io/template: 'true'}}}}\ndata:\n  helper.yaml: |\n    {template}\n"
        )
    };
    let folder = folder(&[("templates/helper.yaml", &version("1.9.0")), ("templates/rc.yaml", &version("2.0.0-rc1"))]);
    let write = |name: &str, text: &str| fs::write(folder.path().join("templates").join(name), text).unwrap();
    let lint = |more: &[&str]| run(folder.path(), &[&["lint", "--templates", "templates"], more].concat(), "");
    let note = |output: &CommandOutput| output.stderr.lines().next().unwrap_or_default().to_owned();
    let output = lint(&[]);
    assert_eq!(output.code, Some(0), "{}", output.stdout);
    assert_eq!(note(&output), "note: helper without a version means 1.9.0; other versions: 2.0.0-rc1");
    let again = lint(&["--templates", "templates/rc.yaml"]);
    assert_eq!((again.code, &again.stdout), (Some(0), &output.stdout), "a file that is named twice is read once");

    // ConfigMaps of different namespaces can define the same version.
    write("maps.yaml", &[map("shop"), map("search")].join("---\n"));
    let output = lint(&[]);
    assert_eq!(output.code, Some(0), "{}", output.stdout);
    assert_eq!(note(&output), "note: helper without a version means 2.0.0; other versions: 2.0.0-rc1, 1.9.0");
    write("maps.yaml", &[map("shop"), map("shop")].join("---\n"));
    let output = lint(&[]);
    let error = "error[duplicate-version]: helper@2.0.0 is already defined by templates/maps.yaml:6\n  --> templates/maps.yaml:16:5\n";
    assert!(output.code == Some(1) && output.stdout.contains(error), "{}", output.stdout);

    write("maps.yaml", &version("1.9.0"));
    let findings: Value = serde_json::from_str(&lint(&["-o", "json"]).stdout).expect("JSON");
    let errors = findings.as_array().unwrap().iter().filter(|finding| finding["severity"] == "error");
    let errors: Vec<_> = errors.map(|it| ["rule", "template", "origin"].map(|key| it[key].as_str().unwrap())).collect();
    assert_eq!(errors, [["duplicate-version", "helper", "templates/maps.yaml"]]);
    let output = inject(&folder, &["-f", "-"], POD);
    let error = "helper@1.9.0 is already defined by templates/helper.yaml, which serves";
    assert!(output.code == Some(1) && output.stderr.contains(error), "{}", output.stderr);

    fs::remove_file(folder.path().join("templates/maps.yaml")).unwrap();
    write("helper.yaml", "name: other\n");
    let note = note(&lint(&[]));
    assert_eq!(note, "note: helper has only pre-releases; pods must request a version: helper@2.0.0-rc1");
}

#[test]
fn expressions_see_the_defaults_of_the_api_server() {
    let template = "sidecars:\n- name: x\n  image: x:1\n  env:\n  - {name: P, value: \"${object.spec.restartPolicy} ${object.metadata.namespace} ${object.spec.serviceAccountName}\"}\n";
    let files = "volumes:\n- name: f-v\n  files:\n    cm.yaml: |\n      kind: ConfigMap\n";
    let folder = folder(&[("templates/x.yaml", template), ("templates/f.yaml", files)]);
    let output = inject(&folder, &["-f", "-", "-n", "shop"], &POD.replace("helper", "x, f"));
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.contains("value: Always shop default"), "{}", output.stdout);
    assert!(
        !output.stdout.contains("restartPolicy: Always\n  serviceAccountName"),
        "the document has no defaults in it"
    );
}

/// Annotations in places where they have no effect, or with values that are not valid.
#[test]
fn lint_reports_problems_in_manifests() {
    let folder = folder(&[
        (
            "templates/p.yaml",
            "parameters: {m: {type: map}, l: {type: string, enum: [a]}}\nsidecars: [{name: x, image: 'i:1', args: ['${json(params.m)}', '${params.l}']}]\n",
        ),
        ("templates/f.yaml", "volumes: [{name: f-v, files: {a: b}}]\n"),
    ]);
    let pod = |annotations: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, annotations: {{{annotations}}}}}\nspec: {{containers: [{{name: app, image: 'a:1'}}]}}\n"
        )
    };
    let workload = |metadata: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a, {metadata}}}\nspec: {{template: {{metadata: {{}}, spec: {{containers: [{{name: app, image: 'a:1'}}]}}}}}}\n"
        )
    };
    for (manifest, part) in [
        (pod("sidecar.io/inject: p, p.sidecar.io/m: x"), "it is a map"),
        (pod("sidecar.io/inject: p, p.sidecar.io/l.k: x"), "l is not a map"),
        (pod("sidecar.io/inject: p, p.sidecar.io/l: b"), "it must be one of a"),
        (pod("sidecar.io/inject: true"), "expected a string"),
        (pod("sidecar.io/inject: p, sidecar.io/statsu: x"), "did you mean sidecar.io/status?"),
        (workload("labels: {sidecar.io/inject: p}"), "is a label of the workload"),
        (workload("annotations: {p.sidecar.io/l: a}"), "p.sidecar.io/l has no effect there"),
        (pod("sidecar.io/inject: f, f.files.sidecar.io/f-v.a: b, my.app.sidecar.io/foo: x"), ""),
    ] {
        fs::write(folder.path().join("manifest.yaml"), &manifest).unwrap();
        let output = run(folder.path(), &["lint", "--templates", "templates", "-f", "manifest.yaml", "-o", "json"], "");
        let findings: Value = serde_json::from_str(&output.stdout).expect("JSON");
        let ours: Vec<&Value> = findings.as_array().unwrap().iter().filter(|f| f["template"] == "").collect();
        let is_reported = ours.iter().any(|finding| finding["message"].as_str().unwrap().contains(part));
        assert!(if part.is_empty() { ours.is_empty() } else { is_reported }, "{manifest}\n{}", output.stdout);
    }
}

#[test]
fn pull_secrets_in_a_manifest_cause_a_warning() {
    let folder = folder(&[("templates/p.yaml", "imagePullSecrets: [{name: registry}]\n")]);
    let asks = POD.replace("helper", "p");
    let output = inject(&folder, &["-f", "-"], &asks);
    assert!(
        output.stdout.contains("name: registry") && output.stderr.contains("the ServiceAccount's imagePullSecrets"),
        "{}",
        output.stderr
    );
    let has = asks.replace("spec:\n", "spec:\n  imagePullSecrets: [{name: own}]\n");
    assert_eq!(inject(&folder, &["-f", "-"], &has).stderr, "");
}

#[test]
fn a_second_run_changes_nothing() {
    let folder = folder(&[]);
    let once = inject(&folder, &["-f", "-"], POD).stdout;
    let twice = inject(&folder, &["-f", "-"], &once);
    assert_eq!((twice.code, twice.stdout), (Some(0), once));
}

#[test]
fn why_prints_every_row_and_fails_if_a_pod_is_denied() {
    let folder = folder(&[("templates/other.yaml", "sidecars: [{name: app, image: 'i:1'}]\n")]);
    let why = |manifest: &str| run(folder.path(), &["why", "--templates", "templates", "-f", "-"], manifest);
    let output = why(POD);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for line in [
        "stdin: pod/a",
        "  MirrorPod          no   annotation kubernetes.io/config.mirror: absent",
        "  InvalidRequest     no   sidecar.io/inject is \"helper\"",
        "template helper (the pod requests it)",
        "  Conflict           no",
        "  Injected           yes  init containers helper",
        "=> Injected [Injected]",
    ] {
        assert!(output.stdout.lines().any(|found| found == line), "{line}\n{}", output.stdout);
    }
    let output = why(&POD.replace("helper", "other, helper"));
    assert_eq!((output.code, output.stderr.as_str()), (Some(1), "pods denied: 1\n"));
    for part in [
        "  Conflict           yes  it adds a container \"app\"",
        "  Injected           no   another template denies the pod; this one would add init containers helper",
    ] {
        assert!(output.stdout.contains(part), "{}", output.stdout);
    }
    let output = why(CONFIG_MAP);
    assert!(output.code == Some(1) && output.stderr.contains("contains no pods"), "{}", output.stderr);
}

/// The reason of such a problem is one of the pod, not of a template.
#[test]
fn why_shows_a_container_whose_lists_cannot_be_read() {
    let folder = folder(&[("templates/env.yaml", "appContainers: [{env: [{name: A, value: b}]}]\n")]);
    let manifest = POD.replace("helper", "env").replace("    image: app:1\n", "    image: app:1\n    env: 5\n");
    let output = run(folder.path(), &["why", "--templates", "templates", "-f", "-"], &manifest);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let row = output.stdout.lines().find(|line| line.contains("env of the container \"app\"")).expect(&output.stdout);
    assert!(row.trim_start().starts_with("InvalidPod         yes"), "{row}");
}

#[test]
fn the_version_of_the_cluster_decides_what_is_an_error_and_what_expressions_read() {
    let template = "volumes:\n- {name: v, emptyDir: {}}\nsidecars: [{name: a, image: 'a:1', env: [{name: X, valueFrom: {fileKeyRef: {volumeName: v, path: x, key: X}}}]}]\n";
    let folder = folder(&[("new.yaml", template)]);
    let lint = |version: &[&str]| run(folder.path(), &[&["lint", "--templates", "new.yaml"], version].concat(), "");
    let known = lint(&["--kubernetes", "1.34"]);
    assert_eq!(known.code, Some(1), "{}", known.stdout);
    assert!(
        known.stdout.contains("fileKeyRef needs Kubernetes 1.35 or later, and the cluster has 1.34"),
        "{}",
        known.stdout
    );
    assert!(lint(&[]).stdout.contains("warning[needs-version]"), "{}", lint(&[]).stdout);
    assert!(!lint(&["--kubernetes", "v1.35.2"]).stdout.contains("needs Kubernetes"));
    let wrong = lint(&["--kubernetes", "new"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("write the version of Kubernetes as 1.MINOR, such as 1.34"), "{}", wrong.stderr);

    let chooses = "sidecars: [{name: helper, image: \"helper:${cluster.minor >= 35 ? 'new' : 'old'}\"}]\n";
    fs::write(folder.path().join("templates/helper.yaml"), chooses).unwrap();
    for (version, image) in [("1.34", "helper:old"), ("1.36", "helper:new")] {
        let output = inject(&folder, &["--kubernetes", version, "-f", "-"], POD);
        assert!(output.stdout.contains(image), "{}{}", output.stdout, output.stderr);
    }
    let unknown = inject(&folder, &["-f", "-"], POD);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("cluster.minor"), "{}", unknown.stderr);
}

#[test]
fn a_condition_decides_whether_a_value_that_the_cluster_rejects_is_a_problem() {
    let folder = folder(&[]);
    let template = |condition: &str| {
        format!(
            "parameters: {{models: {{type: boolean, default: false}}}}\nsidecars: [{{name: helper, image: 'helper:1', env: [{{name: M, value: '${{params.models}}'}}]}}]\nvolumes: [{{name: v, emptyDir: {{}}}}]\ninitContainers:\n- {{if: '{condition}', name: reads, image: 'r:1', env: [{{name: X, valueFrom: {{fileKeyRef: {{volumeName: v, path: x, key: X}}}}}}]}}\n"
        )
    };
    let with = |condition: &str, version: &str| {
        fs::write(folder.path().join("templates/helper.yaml"), template(condition)).unwrap();
        let lint = run(folder.path(), &["lint", "--templates", "templates", "--kubernetes", version], "");
        let outcome = inject(&folder, &["--kubernetes", version, "-f", "-"], POD);
        (lint.code, lint.stdout.contains("needs-version"), outcome.code, outcome.stderr)
    };
    let fine = (Some(0), false, Some(0), String::new());
    assert_eq!(with("cluster.minor >= 35", "1.34"), fine);
    assert_eq!(with("cluster.minor >= 35", "1.35"), fine);
    let (lint, warns, code, stderr) = with("params.models", "1.34");
    assert_eq!((lint, warns, code), (Some(0), true, Some(0)), "{stderr}");
    let (lint, warns, code, stderr) = with("!params.models", "1.34");
    assert_eq!((lint, warns, code), (Some(0), true, Some(1)));
    assert!(stderr.contains("fileKeyRef needs Kubernetes 1.35 or later, and the cluster has 1.34"), "{stderr}");
}
