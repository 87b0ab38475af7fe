//! Tests the chart with a real API server. The API server accepts all objects. The permissions of the chart are
//! sufficient for the webhook, its certificate is trusted, and the API server calls it through the Service. Upgrades do
//! not change what the webhook wrote, and an uninstall deletes everything.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Entry;
use crate::objects::names;
use crate::release::{HOOKS, Release, documents, helm, helm_4, try_helm};
use crate::scenario::Scenario;
use crate::support::binaries;
use crate::support::wait;

pub(crate) const SCENARIOS: &[Entry] = &[
    ("the_chart_installs_upgrades_and_uninstalls", |scenario| life_cycle(scenario, binaries::helm(4))),
    ("manifests_are_what_the_chart_renders_and_are_accepted", manifests),
    ("everything_that_the_chart_renders_is_accepted", everything),
    ("values_are_linted_and_checked", values),
    ("odd_values_are_accepted", odd),
];

/// Scenarios that take longer, for `make e2e-full`.
pub(crate) const FULL: &[Entry] =
    &[("the_chart_works_with_helm_3", |scenario| life_cycle(scenario, binaries::helm(3)))];

fn life_cycle(scenario: &Scenario<'_>, helm: Result<PathBuf, String>) {
    let template =
        "sidecars:\n- {name: fluent-bit, image: \"f:1\", args: [\"${values.REGION}\", \"{{ not rendered }}\"]}\n";
    let values = json!({"templates": {"fluent-bit": template}, "values": {"REGION": "north"}, "webhook": {"failurePolicy": "Fail"}});
    let release = Release::prepare(scenario, helm.expect("helm"), values);
    let notes = release.apply("install", &[]);
    assert!(notes.contains("sidecar.io/inject: fluent-bit"), "{notes}");

    let webhook = release.start();
    release.route(&webhook);
    let found = release.injected("installed");
    assert_eq!(found["spec"]["initContainers"][0]["args"], json!(["north", "{{ not rendered }}"]));
    assert!(names(&release.create("silent", None).expect("the webhook is not called"), "initContainers").is_empty());
    let bad = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "labels": {"sidecar.io/template": "true"}}, "data": {"bad.yaml": "sidecar: []"}});
    let maps = scenario.path("/api/v1", "configmaps");
    wait::until("invalid templates to be denied", || {
        match scenario.cluster().create(&format!("{maps}?dryRun=All"), &bad) {
            Err(error) if error.message.contains("did you mean \"sidecars\"?") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    check_doctor(&release);

    // Helm does not change what the webhook wrote.
    let bundle = release.bundles();
    assert!(bundle.iter().all(|bundle| !bundle.is_empty()));
    release.apply("upgrade", &[]);
    assert_eq!(release.bundles(), bundle, "an upgrade without a change changes nothing");
    release.injected("upgraded");
    release.apply("upgrade", &["--set", "policy.enabled=true"]);
    wait::until("the new webhook to be trusted", || {
        let bundles = release.bundles();
        if bundles.len() == 2 && bundles[0] == bundles[1] { Ok(()) } else { Err(format!("{bundles:?}")) }
    });
    release.injected("with policies");
    release.run(&["rollback", release.name, "1"]);
    wait::until("the policy webhook to be deleted", || match release.bundles().len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
    release.injected("rolled back");

    drop(webhook);
    let (code, output) = release.doctor(&["--canary", "-n", &release.apps]);
    assert!(
        code == Some(1) && output.contains("FAILED   canary") && output.contains("failed calling webhook"),
        "{output}"
    );
    release.run(&["uninstall", release.name]);
    is_gone(&release);
    let (code, output) = release.doctor(&[]);
    let name = &release.full_name;
    assert!(code == Some(1) && output.contains(&format!("there is no webhook configuration {name}")), "{output}");

    // The next release adopts the objects that were kept.
    release.apply("install", &["--set", "keepTemplates=true"]);
    release.run(&["uninstall", release.name]);
    let kept = scenario.path("/api/v1", &format!("configmaps/{name}-template-fluent-bit"));
    scenario.cluster().get(&kept).expect("kept");
    release.apply("install", &[]);
    release.run(&["uninstall", release.name]);
    is_gone(&release);
}

/// `doctor` finds no problem in the installation, and reports why a pod would not be injected.
fn check_doctor(release: &Release<'_>) {
    let (code, output) = release.doctor(&["--canary", "-n", &release.apps]);
    println!("{output}");
    assert_eq!(code, Some(0), "{output}");
    for line in
        ["ok       webhook    inject.sidecar.io in", "ok       trust", "ok       templates  1 in", "ok       canary"]
    {
        assert!(output.contains(line), "{line}: {output}");
    }
    assert!(output.contains("warning  service") && output.contains("1 of 1 endpoints ready"), "{output}");
    let (code, output) = release.doctor(&["--canary", "-n", &release.apps, "--template", "fluent-bti"]);
    assert!(code == Some(1) && output.contains("Did you mean \"fluent-bit\"?"), "{output}");
    let (code, output) = release.doctor(&["--canary", "-n", "kube-system"]);
    assert!(code == Some(1) && output.contains("namespaceSelector of the webhook matches kube-system"), "{output}");
}

/// Checks that no object of the release is left.
fn is_gone(release: &Release<'_>) {
    let (scenario, name) = (release.scenario, &release.full_name);
    for path in [
        format!("{HOOKS}/mutatingwebhookconfigurations/{name}"),
        format!("{HOOKS}/validatingwebhookconfigurations/{name}"),
        format!("{HOOKS}/validatingadmissionpolicies/{name}-misplaced-annotation.sidecar.io"),
        format!("{HOOKS}/validatingadmissionpolicybindings/{name}-misplaced-annotation.sidecar.io"),
        scenario.path("/apis/apps/v1", &format!("deployments/{name}")),
        scenario.path("/api/v1", &format!("secrets/{name}-tls")),
        scenario.path("/api/v1", &format!("configmaps/{name}-template-fluent-bit")),
        format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/{}:{name}", scenario.namespace),
    ] {
        assert_eq!(scenario.cluster().get(&path).expect_err(&path).code, 404, "{path}");
    }
}

/// Renders the chart for a release with the values of `ci/NAME-values.yaml`.
fn render(scenario: &Scenario<'_>, release: &str, name: &str, more: &[&str]) -> String {
    let values = format!("charts/sidecar-injector/ci/{name}-values.yaml");
    let first =
        ["template", release, "charts/sidecar-injector", "--namespace", "sidecar-injector", "--values", &values];
    helm_4(scenario, &[&first[..], more].concat())
}

/// Checks that the API server accepts every object, with strict field validation. Returns the number of objects. Kinds
/// of cert-manager and Prometheus are left out, because they are not installed. A dry run of a name that exists fails,
/// so the scenario claims the names first.
fn is_accepted(scenario: &Scenario<'_>, name: &str, rendered: &str) -> usize {
    let others = ["cert-manager.io", "monitoring.coreos.com"];
    let mut known = documents(rendered);
    known.retain(|(path, _)| !others.iter().any(|other| path.contains(other)));
    scenario.claim_all(&known);
    known
        .into_iter()
        .map(|(path, mut object)| {
            if path.contains("{namespace}") {
                object["metadata"]["namespace"] = scenario.namespace.as_str().into();
            }
            let path = path.replace("{namespace}", &scenario.namespace) + "?dryRun=All&fieldValidation=Strict";
            // A pod needs its service account, which was created only as a dry run.
            let created =
                if object["kind"] == "Pod" { Ok(Value::Null) } else { scenario.cluster().create(&path, &object) };
            assert!(created.is_ok(), "{name} {path}: {created:?}");
        })
        .count()
}

/// The API server accepts objects that are rendered from unusual, but valid values.
fn odd(scenario: &Scenario<'_>) {
    // Release names: one with the maximum length, one with dots, and one of digits only.
    let own = scenario.namespace.as_str();
    let (long, dots) = (format!("{own:r<53}"), own.replace('-', "."));
    let template = |release: &str, sets: &[&str]| {
        let arguments = ["template", release, "charts/sidecar-injector", "--namespace", "123", "--no-hooks"];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set-json", set]).collect();
        helm_4(scenario, &[&arguments[..], &sets].concat())
    };
    for (release, sets) in [
        (long.as_str(), &["monitoring={\"serviceMonitor\":{\"enabled\":true}}"][..]),
        (dots.as_str(), &[]),
        (
            own,
            &["templates=null", "values=null", "webhook.excludedNamespaces=null", "settings.requestAnnotations=null"],
        ),
        (
            "007",
            &["commonAnnotations=null", "webhook.annotations=null", "service.annotations=null", "updateStrategy=null"],
        ),
        (own, &["webhook.excludedNamespaces=[\"123\",\"true\"]"]),
        (own, &["updateStrategy={\"type\":\"Recreate\"}"]),
        (own, &["podSecurityContext={\"runAsUser\":null,\"runAsGroup\":null}", "replicaCount=0"]),
        (own, &["settings.annotationPrefix=\"123\"", "admissionPolicies.guardTemplateLabel=true"]),
        (own, &["values={\"123\":\"x\",\"true\":\"y: z\"}"]),
        (own, &["tls.lifetime=\"1h30m\"", "service.ipFamilyPolicy=\"PreferDualStack\""]),
    ] {
        assert!(is_accepted(scenario, &format!("{release} {sets:?}"), &template(release, sets)) >= 10, "{sets:?}");
    }
    files_are_templates(scenario);
}

/// Template files in a copy of the chart are not rendered. Values take precedence over them.
fn files_are_templates(scenario: &Scenario<'_>) {
    let copy = scenario.folder.join("copy");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/sidecar-injector");
    for name in
        ["Chart.yaml", "values.yaml", "values.schema.json", "templates/_helpers.tpl", "templates/templates.yaml"]
    {
        fs::create_dir_all(copy.join(name).parent().expect("a folder")).unwrap();
        fs::copy(source.join(name), copy.join(name)).expect("copy the chart");
    }
    fs::create_dir_all(copy.join("sidecars")).unwrap();
    fs::write(copy.join("sidecars/one.yaml"), "sidecars: [{name: one, image: \"{{ as it is }}\"}]\n").unwrap();
    fs::write(copy.join("sidecars/two.yaml"), "of the file\n").unwrap();
    let text = scenario.folder.join("text");
    fs::write(&text, "of the value, {{ as it is }}\n").unwrap();
    let set = format!("templates.two={}", text.display());
    let arguments = ["template", "r", copy.to_str().unwrap(), "--namespace", "sidecar-injector", "--set-file", &set];
    let rendered = helm_4(scenario, &arguments);
    let data: Vec<Value> = documents(&rendered).into_iter().map(|(_, object)| object["data"].clone()).collect();
    let one = json!({"one.yaml": "sidecars: [{name: one, image: \"{{ as it is }}\"}]\n"});
    assert_eq!(data, [one, json!({"two.yaml": "of the value, {{ as it is }}\n"})]);
}

/// `manifests/` is current, and the API server accepts all of its objects. Their names are fixed, so no other scenario
/// may create them.
fn manifests(scenario: &Scenario<'_>) {
    let render = |name: &str| render(scenario, "sidecar-injector", name, &["--no-hooks"]);
    for name in ["base", "cert-manager", "policy", "ha"] {
        let rendered = render(name);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name).join("sidecar-injector.yaml");
        let known = fs::read_to_string(&file).expect("a file of manifests/");
        assert!(rendered == known, "run make manifests to update {}", file.display());
        assert!(is_accepted(scenario, name, &known) >= 10, "{name}");
        assert!(rendered == render(name), "rendering again gives the same text");
        // Only with the policy webhook does the other webhook skip namespaces.
        let has_selector = |operator: &str| {
            rendered.contains(&format!("{{key: sidecar.io/injection, operator: {operator}, values: [enabled]}}"))
        };
        assert_eq!((has_selector("NotIn"), has_selector("In")), (name == "policy", name == "policy"), "{name}");
    }
}

/// The API server accepts every object that the chart can render. Templates in the values are not rendered.
fn everything(scenario: &Scenario<'_>) {
    // The values contain the names of the objects, so no other scenario may create them.
    let rendered = render(scenario, &scenario.namespace, "everything", &[]);
    assert!(is_accepted(scenario, "everything", &rendered) >= 25);
    assert!(
        rendered.contains(r#"args: [\"${values.REGION}\", \"{{ .Release.Name }}\"]"#),
        "templates are not rendered"
    );
    for kind in ["PodMonitor", "ServiceMonitor", "PrometheusRule", "NetworkPolicy", "ValidatingAdmissionPolicy"] {
        assert!(rendered.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    let existing = render(scenario, &scenario.namespace, "existing-secret", &["--no-hooks"]);
    is_accepted_without_bundles(scenario, &existing);
    // A CA bundle is rendered only if the values contain one.
    assert_eq!((rendered.matches("caBundle:").count(), existing.matches("caBundle:").count()), (0, 2));
}

/// All example values pass `helm lint`. Helm rejects invalid values with an error that contains their name.
fn values(scenario: &Scenario<'_>) {
    let binary = binaries::helm(4).expect("helm");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/sidecar-injector/ci");
    let mut count = 0;
    for file in fs::read_dir(folder).expect("example values") {
        let file = file.expect("a file").path();
        helm(scenario, &binary, &["lint", "--strict", "charts/sidecar-injector", "--values", file.to_str().unwrap()]);
        count += 1;
    }
    assert!(count >= 6, "{count}");
    for (value, part) in [
        ("replicaCount=two", "replicaCount"),
        ("webhook.failurePolicy=Maybe", "failurePolicy"),
        ("webhook.timeoutSeconds=31", "timeoutSeconds"),
        ("tls.mode=magic", "mode"),
        ("image.digest=latest", "digest"),
        ("templates.Fluent_Bit=x", "Fluent_Bit"),
        ("settings.templateProfile=everything", "templateProfile"),
        ("admissionPolicies.requiredTemplates[0].nome=x", "requiredTemplates"),
        ("polici.enabled=true", "polici"),
        ("commonLabels.app\\.kubernetes\\.io/name=x", "app.kubernetes.io"),
        ("settings.requestAnnotations[0]=it's", "requestAnnotations"),
        ("settings=null", "settings"),
        ("values.MAX=1000000", "MAX"),
        ("templates.none=x", "none"),
        ("tls.lifetime=", "lifetime"),
        ("fullnameOverride=Foo_Bar", "fullnameOverride"),
        ("tls.mode=existingSecret", "tls.existingSecret must name a Secret"),
    ] {
        let outcome = try_helm(scenario, &binary, &["template", "r", "charts/sidecar-injector", "--set", value]);
        let why = outcome.expect_err(value);
        assert!(why.contains(part), "{value}: {why}");
    }
}

/// Checks that the API server accepts the objects, except those with a CA bundle: the bundle in the example is not
/// valid.
fn is_accepted_without_bundles(scenario: &Scenario<'_>, rendered: &str) {
    let others: Vec<&str> = rendered.split("\n---\n").filter(|text| !text.contains("caBundle:")).collect();
    assert!(is_accepted(scenario, "existing-secret", &others.join("\n---\n")) >= 8);
}
