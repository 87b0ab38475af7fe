//! Tests the schema of templates. It accepts every template of the examples and the corpus, and rejects texts that
//! loading rejects.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use sidecar_injector::inject::authoring::schema;
use sidecar_injector::inject::settings::keys::Keys;
use sidecar_injector::manifest::template_files;

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema::template()).expect("a schema")
}

fn document(text: &str) -> Value {
    template_files::manifest("template", 0, text).expect("YAML")
}

#[test]
fn every_template_that_loads_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let validator = validator();
    let mut folders = vec![root.join("examples/templates")];
    folders.extend(
        fs::read_dir(root.join("tests/golden"))
            .expect("the corpus")
            .map(|case| case.expect("a case").path().join("templates")),
    );
    let mut count = 0;
    for file in template_files::read_files(&folders) {
        for text in template_files::found(&file, &Keys::default()).texts {
            let template = document(&text.text);
            let errors: Vec<String> =
                validator.iter_errors(&template).map(|error| format!("{}: {error}", error.instance_path)).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", text.origin);
            count += 1;
        }
    }
    assert!(count > 150, "the corpus is missing");
}

#[test]
fn templates_that_loading_rejects_are_not_valid() {
    let validator = validator();
    for text in [
        "sidecar: []",
        "version: 4.1",
        "name: Upper",
        "mode: sidecar",
        "sidecars: [{image: x}]",
        "sidecars: [{name: a, restartPolicy: Always}]",
        "sidecars: [{name: a, tty: yes please}]",
        "sidecars: [{name: a, ports: [{containerPort: http}]}]",
        "sidecars: [{name: a, position: {beside: b}}]",
        "parameters: {a: {type: text}}",
        "pod: {affinity: {}}",
        "onConflict: {env: Replace}",
        "appContainers: [{select: {in: sidecars}}]",
        "autoInject: {selector: {}}",
        "metadata: {finalizers: []}",
    ] {
        assert!(!validator.is_valid(&document(text)), "{text}");
    }
    for text in ["sidecars: [{name: a, tty: \"${true}\", x-new: 1}]", "{}", "volumes: [{name: a, files: {x: z}}]"] {
        assert!(validator.is_valid(&document(text)), "{text}");
    }
}
