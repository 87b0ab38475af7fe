//! The annotations of a pod: request, status and parameters. For any text, the patch applies and removes nothing, and a
//! second round adds nothing.
#![no_main]

#[expect(dead_code, reason = "the targets that make a template use the rest")]
#[path = "common.rs"]
mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::template::Template;

const TEMPLATES: [&str; 3] = [
    r#"
name: a
parameters:
  text: {type: string}
  level: {type: string, enum: [info, debug]}
  many: {type: list}
  map: {type: map, of: integer}
  size: {type: quantity, maximum: 1Gi}
  wait: {type: duration}
  ratio: {type: number}
sidecars:
- name: a
  image: "i:1"
  args: ["${params.text}", "${params.many.join(',')}", "${json(params.map)}", "${shellQuote(params.text)}"]
  env: [{name: L, value: "x${params.level}"}, {name: R, value: "${params.ratio}"}, {name: W, value: "${params.wait}"}]
  resources: {limits: {memory: "${params.size}"}}
volumes: [{name: a-files, files: {f: "${params.text}"}}]
appContainers: [{appendEnv: [{name: J, value: "-a"}]}]
onProblem: Skip
"#,
    r#"
name: b
required: true
sidecars: [{name: b, image: "i:1"}]
appContainers: [{env: [{name: B, value: b}], appendEnv: [{name: J, value: "-b"}], volumeMounts: [{name: b-v, mountPath: /b}]}]
volumes: [{name: b-v, emptyDir: {}}]
metadata: {labels: {b: "1"}}
pod: {terminationGracePeriodSeconds: 60, tolerations: [{key: b, operator: Exists}]}
"#,
    "name: c\nversion: \"1\"\nmode: container\nonProblem: Skip\nsidecars: [{name: c, image: \"i:1\", ports: [{containerPort: 80}]}]\n",
];

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let load = |text: &&str| {
        let loaded = Template::load(&Source::new("t", text), "t", &Keys::default()).expect("a template");
        Arc::new(loaded.template)
    };
    Catalog::new(TEMPLATES.iter().map(load), BTreeMap::new())
});

// The input is lines: the request, the status, and then pairs of a key and a value.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (request, status) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut annotations = json!({"sidecar.io/inject": request});
    if !status.is_empty() {
        annotations["sidecar.io/status"] = status.into();
    }
    while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
        if key != "sidecar.io/inject" && key != "sidecar.io/status" {
            annotations[key] = value.into();
        }
    }
    let mut pod = json!({
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": "i", "env": [{"name": "J", "value": "own"}]}]},
    });
    let before = pod.clone();
    let Some(patch) = common::patch_of(&pod, &CATALOG) else { return };
    json_patch::patch(&mut pod, &patch).expect("the patch applies");
    for (key, value) in before["metadata"]["annotations"].as_object().expect("a map") {
        assert!(key == "sidecar.io/status" || pod["metadata"]["annotations"][key] == *value, "{key} is not what it was");
    }
    let again = common::patch_of(&pod, &CATALOG);
    assert!(again.is_none(), "a second round adds {}", serde_json::to_string(&again).unwrap_or_default());
});
