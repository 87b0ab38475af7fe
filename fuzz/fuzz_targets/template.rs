//! The text of a template: loading and lint must not panic. The patch of a template that loads must apply, and a second
//! round must add nothing.
#![no_main]

#[path = "common.rs"]
mod common;

use libfuzzer_sys::fuzz_target;
use sidecar_injector::inject::diagnostic::Source;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::inject::authoring::lint;
use sidecar_injector::inject::authoring::lint::LintLimits;

fuzz_target!(|text: &str| {
    let (findings, template) = lint::template(&Source::new("fuzz", text), "fuzz", &Keys::default(), &LintLimits::default());
    for finding in &findings {
        let _ = finding.diagnostic.to_string();
    }
    if let Some(template) = template {
        common::inject(template);
    }
});
