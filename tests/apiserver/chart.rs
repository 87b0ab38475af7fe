//! The chart on a real API server: what it renders is accepted, its rights are enough for our real process, which gets its
//! certificate trusted and is called through the Service; upgrades take nothing back, and nothing is left behind.

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
    ("the_chart_installs_upgrades_and_uninstalls", |scenario| life(scenario, binaries::helm(4))),
    ("manifests_are_what_the_chart_renders_and_are_accepted", manifests),
    ("everything_that_the_chart_can_make_is_accepted", everything),
    ("values_are_linted_and_checked", values),
    ("odd_values_are_accepted", odd),
];

/// What takes longer, for `make e2e-full`.
pub(crate) const FULL: &[Entry] = &[("the_chart_lives_with_helm_3_too", |scenario| life(scenario, binaries::helm(3)))];

fn life(scenario: &Scenario<'_>, helm: Result<PathBuf, String>) {
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
    assert!(names(&release.create("silent", None).expect("not asked about"), "initContainers").is_empty());
    let bad = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad", "labels": {"sidecar.io/template": "true"}}, "data": {"bad.yaml": "sidecar: []"}});
    let maps = scenario.path("/api/v1", "configmaps");
    wait::until("broken templates to be refused", || {
        match scenario.cluster().create(&format!("{maps}?dryRun=All"), &bad) {
            Err(refusal) if refusal.message.contains("did you mean \"sidecars\"?") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    look(&release);

    // What the webhook wrote is not Helm's to take back.
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
    wait::until("the policy webhook to go", || match release.bundles().len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
    release.injected("rolled back");

    drop(webhook);
    let (code, told) = release.doctor(&["--canary", "-n", &release.apps]);
    assert!(code == Some(1) && told.contains("FAILED   canary") && told.contains("failed calling webhook"), "{told}");
    release.run(&["uninstall", release.name]);
    is_gone(&release);
    let (code, told) = release.doctor(&[]);
    let name = &release.full_name;
    assert!(code == Some(1) && told.contains(&format!("there is no webhook configuration {name}")), "{told}");

    // What is kept is taken over by the next release.
    release.apply("install", &["--set", "keepTemplates=true"]);
    release.run(&["uninstall", release.name]);
    let kept = scenario.path("/api/v1", &format!("configmaps/{name}-template-fluent-bit"));
    scenario.cluster().get(&kept).expect("kept");
    release.apply("install", &[]);
    release.run(&["uninstall", release.name]);
    is_gone(&release);
}

/// `doctor` finds all well, and says why a pod that asks would not get what it asks for.
fn look(release: &Release<'_>) {
    let (code, told) = release.doctor(&["--canary", "-n", &release.apps]);
    println!("{told}");
    assert_eq!(code, Some(0), "{told}");
    for line in
        ["ok       webhook    inject.sidecar.io in", "ok       trust", "ok       templates  1 in", "ok       canary"]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(told.contains("warning  service") && told.contains("1 of 1 endpoints ready"), "{told}");
    let (code, told) = release.doctor(&["--canary", "-n", &release.apps, "--template", "fluent-bti"]);
    assert!(code == Some(1) && told.contains("Did you mean \"fluent-bit\"?"), "{told}");
    let (code, told) = release.doctor(&["--canary", "-n", "kube-system"]);
    assert!(code == Some(1) && told.contains("namespaceSelector of the webhook matches kube-system"), "{told}");
}

/// Nothing of the release is left.
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

/// What the chart renders for a release with the values of `ci/NAME-values.yaml`.
fn render(scenario: &Scenario<'_>, release: &str, name: &str, more: &[&str]) -> String {
    let values = format!("charts/sidecar-injector/ci/{name}-values.yaml");
    let first =
        ["template", release, "charts/sidecar-injector", "--namespace", "sidecar-injector", "--values", &values];
    helm_4(scenario, &[&first[..], more].concat())
}

/// The API server takes every object, strictly. Kinds of others (cert-manager, Prometheus) are not installed here. A dry run
/// of a name that exists fails, so the scenario claims the names first.
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
            // The Deployment's account is a dry run, too.
            let created =
                if object["kind"] == "Pod" { Ok(Value::Null) } else { scenario.cluster().create(&path, &object) };
            assert!(created.is_ok(), "{name} {path}: {created:?}");
        })
        .count()
}

/// Values that are odd and right are accepted by the API server, too.
fn odd(scenario: &Scenario<'_>) {
    // Releases of the longest name, with dots, and of digits only.
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

/// Files of a copy of the chart become templates as they are, and values count more.
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
    let held: Vec<Value> = documents(&rendered).into_iter().map(|(_, object)| object["data"].clone()).collect();
    let one = json!({"one.yaml": "sidecars: [{name: one, image: \"{{ as it is }}\"}]\n"});
    assert_eq!(held, [one, json!({"two.yaml": "of the value, {{ as it is }}\n"})]);
}

/// `manifests/` is current, and the API server takes every object of it. Its names are fixed: no other scenario may create
/// them.
fn manifests(scenario: &Scenario<'_>) {
    let render = |name: &str| render(scenario, "sidecar-injector", name, &["--no-hooks"]);
    for name in ["base", "cert-manager", "policy", "ha"] {
        let rendered = render(name);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name).join("sidecar-injector.yaml");
        let known = fs::read_to_string(&file).expect("a file of manifests/");
        assert!(rendered == known, "make manifests writes {} anew", file.display());
        assert!(is_accepted(scenario, name, &known) >= 10, "{name}");
        assert!(rendered == render(name), "two renders are equal");
        // Only a policy webhook takes namespaces away from the other one.
        let asked = |operator: &str| {
            rendered.contains(&format!("{{key: sidecar.io/injection, operator: {operator}, values: [enabled]}}"))
        };
        assert_eq!((asked("NotIn"), asked("In")), (name == "policy", name == "policy"), "{name}");
    }
}

/// Every object that values can bring about is accepted, and what the values say stands in it as they say it.
fn everything(scenario: &Scenario<'_>) {
    // The values name the objects: no other scenario may create these.
    let rendered = render(scenario, &scenario.namespace, "everything", &[]);
    assert!(is_accepted(scenario, "everything", &rendered) >= 25);
    assert!(
        rendered.contains(r#"args: [\"${values.REGION}\", \"{{ .Release.Name }}\"]"#),
        "templates are taken as they are"
    );
    for kind in ["PodMonitor", "ServiceMonitor", "PrometheusRule", "NetworkPolicy", "ValidatingAdmissionPolicy"] {
        assert!(rendered.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    let existing = render(scenario, &scenario.namespace, "existing-secret", &["--no-hooks"]);
    is_accepted_but_for_its_bundle(scenario, &existing);
    // Only a bundle that somebody gave is rendered.
    assert_eq!((rendered.matches("caBundle:").count(), existing.matches("caBundle:").count()), (0, 2));
}

/// All example values pass Helm's own lint; what is wrong is refused with the value's name.
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
    for (wrong, told) in [
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
        let refused = try_helm(scenario, &binary, &["template", "r", "charts/sidecar-injector", "--set", wrong]);
        let why = refused.expect_err(wrong);
        assert!(why.contains(told), "{wrong}: {why}");
    }
}

/// The example's authority is none, which the API server says.
fn is_accepted_but_for_its_bundle(scenario: &Scenario<'_>, rendered: &str) {
    let others: Vec<&str> = rendered.split("\n---\n").filter(|text| !text.contains("caBundle:")).collect();
    assert!(is_accepted(scenario, "existing-secret", &others.join("\n---\n")) >= 8);
}
