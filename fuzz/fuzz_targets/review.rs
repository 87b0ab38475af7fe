//! The bytes of a review: the engine must not panic, and every patch must apply to the pod in the review.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use sidecar_injector::inject::catalog::Catalog;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::decision::reason::Reason;
use sidecar_injector::inject::template::Template;
use sidecar_injector::inject::{Engine, settings::{EntryPoint, Settings}};

const TEMPLATE: &str = r#"
name: fluent-bit
parameters: {level: {type: string, enum: [info, debug], default: info}, m: {type: map}}
sidecars: [{name: fluent-bit, image: "i:${params.level}", volumeMounts: [{name: v, mountPath: /v}]}]
volumes: [{name: v, emptyDir: {}}]
appContainers: [{env: [{name: A, value: "${label('a', 'b')}"}], appendEnv: [{name: B, value: c}]}]
pod: {terminationGracePeriodSeconds: 60}
onProblem: Skip
"#;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let loaded = Template::load(&Source::new("t", TEMPLATE), "t", &Keys::default()).expect("a template");
    Catalog::new([Arc::new(loaded.template)], BTreeMap::new())
});

fuzz_target!(|body: &[u8]| {
    for entry in [EntryPoint::Requests, EntryPoint::Policy] {
        let settings = Settings::default();
        let Ok(answer) = Engine::new(&CATALOG, &settings, entry).answer(body) else { continue };
        let longest = if answer.decision.reason == Reason::Trace { 17_000 } else { 1_000 };
        assert!(answer.decision.message.len() <= longest);
        let Some(patch) = answer.decision.patch else { continue };
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a patch");
        let review: serde_json::Value = serde_json::from_slice(body).expect("a review that was patched is JSON");
        let mut pod = review["request"]["object"].clone();
        json_patch::patch(&mut pod, &patch).expect("the patch applies");
    }
});
