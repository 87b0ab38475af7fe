//! Random templates and pods against the API server: what we inject into a pod that the server accepts, the server must
//! accept too. The values come from the type table with fixed seeds.

use serde_json::{Map, Value, json};
use sidecar_injector::inject::Engine;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::{Severity, Source};
use sidecar_injector::inject::kube::examples::random::Random;
use sidecar_injector::inject::settings::{EntryPoint, Settings};
use sidecar_injector::inject::template::Template;

use crate::scenario::Scenario;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("random_templates_are_accepted", random_templates_are_accepted)];

/// The number of templates that are tried with a pod each.
const COUNT: u64 = 2_000;

fn random_templates_are_accepted(scenario: &Scenario<'_>) {
    let settings = Settings::default();
    let version = scenario.version();
    let (mut loaded, mut injected, mut wrong) = (0, 0, Vec::new());
    for seed in 0..COUNT {
        let random = &mut Random::new(seed);
        // Most templates with several random values do not load, so the first that does is tried.
        let found = (0..50).find_map(|_| {
            let text = template(random).to_string();
            let source = Source::new("t.yaml", &text);
            let template = Template::load(&source, "t", &settings.keys).ok()?.template;
            let faults = template.faults(&source, Some(version));
            faults.iter().all(|fault| fault.severity != Severity::Error).then(|| (text.clone(), template))
        });
        let Some((text, template)) = found else { continue };
        loaded += 1;
        let pod = pod(random);
        let catalog = Catalog::new([template.into()], std::collections::BTreeMap::new());
        let engine = Engine::new(&catalog, &settings, EntryPoint::Requests);
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "1", "operation": "CREATE", "namespace": scenario.namespace, "object": pod,
                "resource": {"group": "", "version": "v1", "resource": "pods"},
            },
        });
        let review = review.to_string();
        let answer = engine.answer(review.as_bytes()).expect("an answer");
        let Some(patch) = &answer.decision.patch else { continue };
        let mut patched = pod.clone();
        let patch: json_patch::Patch = serde_json::from_slice(patch).expect("a patch");
        json_patch::patch(&mut patched, &patch).expect("the patch applies");
        let Err(error) = scenario.dry_run(&patched) else {
            injected += 1;
            continue;
        };
        if scenario.dry_run(&pod).is_ok() {
            wrong.push(format!("seed {seed}: {error}\n  {text}\n  {pod}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {loaded} templates:\n{}", wrong.len(), wrong.join("\n"));
    assert!(loaded > COUNT / 2 && injected > COUNT / 4, "{loaded} templates load, {injected} are accepted");
    println!("{loaded} random templates load, {injected} pods with them are accepted");
}

/// A template with random containers, volumes and pod-level fields.
fn template(random: &mut Random) -> Value {
    let mut template = json!({"name": "t", "volumes": [{"name": "v", "emptyDir": {}}]});
    let container = |random: &mut Random, name: &str, kind: &str| {
        let mut container = random.object(kind);
        let mounts = container["volumeMounts"].as_array_mut();
        mounts.into_iter().flatten().for_each(|mount| mount["name"] = "v".into());
        container["name"] = name.into();
        container["image"] = "a:1".into();
        if let Value::Object(members) = &mut container {
            members.remove("restartPolicy");
        }
        container
    };
    template["sidecars"] = json!([container(random, "s", "Container")]);
    if random.chance(30) {
        template["mode"] = "container".into();
    }
    if random.chance(30) {
        template["initContainers"] = json!([container(random, "i", "InitContainer")]);
    }
    if random.chance(50) {
        let mut volume = random.object("Volume");
        volume["name"] = "w".into();
        template["volumes"] = json!([{"name": "v", "emptyDir": {}}, volume]);
    }
    if random.chance(40) {
        let mut entry = random.object("AppContainer");
        let mounts = entry["volumeMounts"].as_array_mut();
        mounts.into_iter().flatten().for_each(|mount| mount["name"] = "v".into());
        template["appContainers"] = json!([entry]);
    }
    let fields = ["securityContext", "dnsConfig", "nodeSelector", "tolerations", "hostAliases", "readinessGates"];
    if random.chance(50)
        && let Some(field) = random.pick(&fields)
    {
        template["pod"] = json!({*field: random.field_of_spec(field)});
    }
    template
}

/// A pod that the API server probably accepts, with random pod-level fields.
fn pod(random: &mut Random) -> Value {
    let mut spec = Map::new();
    spec.insert("containers".into(), json!([{"name": "app", "image": "app:1"}]));
    let choices = [
        ("restartPolicy", json!("Never")),
        ("hostNetwork", json!(true)),
        ("hostPID", json!(true)),
        ("hostIPC", json!(true)),
        ("hostUsers", json!(false)),
        ("terminationGracePeriodSeconds", json!(1)),
        ("os", json!({"name": "linux"})),
        ("os", json!({"name": "windows"})),
        ("resources", json!({"requests": {"cpu": "1"}, "limits": {"memory": "64Mi"}})),
        ("resourceClaims", json!([{"name": "x", "resourceClaimName": "c"}])),
        ("volumes", json!([{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}])),
        ("securityContext", json!({"seccompProfile": {"type": "RuntimeDefault"}})),
    ];
    for (field, value) in &choices {
        if random.chance(12) {
            spec.insert((*field).to_owned(), value.clone());
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "app", "annotations": {"sidecar.io/inject": "t"}}, "spec": spec,
    })
}
