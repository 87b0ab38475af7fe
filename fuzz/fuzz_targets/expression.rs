//! A CEL expression in a template: compiling and evaluating it must not panic, overflow the stack or take long.
#![no_main]

#[path = "common.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::template::Template;

fuzz_target!(|expression: &str| {
    let template = json!({
        "parameters": {"p": {"type": "string", "default": "x"}, "m": {"type": "map", "default": {"a": "b"}}},
        "sidecars": [{"name": "a", "image": format!("${{{expression}}}"), "args": [format!("x${{{expression}}}")]}],
    });
    if let Ok(loaded) = Template::load(&Source::new("fuzz", &template.to_string()), "fuzz", &Keys::default()) {
        common::inject(loaded.template);
    }
});
