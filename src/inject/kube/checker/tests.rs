use super::*;
use crate::inject::diagnostic::{Diagnostic, Source};
use crate::inject::document::yaml;

fn check(text: &str) -> (Json, Vec<String>, Vec<String>) {
    let name = if text.contains("name: a") { "" } else { "\nname: a" };
    let source_text = format!("{}{name}\nimage: i\n", text.trim_end());
    let source = Source::new("t", &source_text);
    let node = yaml::parse(&source).expect("YAML");
    let mut checker = Checker::default();
    let json = checker.json(&node, "Container", "c");
    let lines = |list: Vec<LocatedError>| {
        list.into_iter().map(|error| source.diagnostic(error)).map(|error: Diagnostic| error.one_line()).collect()
    };
    (json, lines(checker.errors), lines(checker.warnings))
}

#[test]
fn valid_fields_become_json_in_order() {
    let (json, errors, warnings) = check(
        "name: a\nresources: {requests: {cpu: 0.5, memory: 64Mi, x.y/z: 1e3}, limits: {x.y/z: 1000}}\nports: [{containerPort: 0644}]\nargs: [\"1\"]\ncommand:\n",
    );
    assert_eq!(
        json.to_string(),
        r#"{"name":"a","resources":{"requests":{"cpu":"0.5","memory":"64Mi","x.y/z":"1e3"},"limits":{"x.y/z":"1000"}},"ports":[{"containerPort":420}],"args":["1"],"command":null,"image":"i"}"#
    );
    assert!(errors.is_empty() && warnings.is_empty(), "{errors:?} {warnings:?}");
}

#[test]
fn wrong_types_are_errors_with_a_remedy() {
    for (text, error) in [
        (
            "env: [{name: A, value: 8080}]",
            "t:1:24: c.env[0].value must be a string, not an integer (write \"8080\" in quotes)",
        ),
        (
            "env: [{name: A, value: true}]",
            "t:1:24: c.env[0].value must be a string, not a boolean (write \"true\" in quotes)",
        ),
        ("env: {A: b}", "t:1:6: c.env must be a list, not a map"),
        ("ports: [{containerPort: \"80\"}]", "t:1:25: c.ports[0].containerPort must be a 32-bit integer, not a string"),
        ("ports: [{containerPort: 80.5}]", "t:1:25: c.ports[0].containerPort must be a 32-bit integer, not a number"),
        (
            "ports: [{containerPort: 5000000000}]",
            "t:1:25: c.ports[0].containerPort must be a 32-bit integer, not an integer",
        ),
        ("tty: \"true\"", "t:1:6: c.tty must be a boolean, not a string (write true without quotes)"),
        (
            "resources: {limits: {memory: 64Mx}}",
            "t:1:30: c.resources.limits.memory is not a valid quantity (for example 100m, 0.5, 64Mi or 1G)",
        ),
        ("args: x", "t:1:7: c.args must be a list, not a string"),
        ("securityContext: []", "t:1:18: c.securityContext must be a map, not a list"),
    ] {
        assert_eq!(check(text).1, [error], "{text}");
    }
}

#[test]
fn every_error_is_reported() {
    assert_eq!(check("tty: 1\nstdin: 2\n").1.len(), 2);
}

#[test]
fn unknown_fields_are_accepted_with_a_warning() {
    let (json, errors, warnings) = check("imagePulPolicy: Always\nnewInKubernetes2: {a: [1, {b: \"${x}\"}]}\n");
    assert_eq!(json["newInKubernetes2"].to_string(), r#"{"a":[1,{"b":"${x}"}]}"#);
    assert!(errors.is_empty());
    assert!(warnings[0].contains("did you mean \"imagePullPolicy\"?"), "{warnings:?}");
    assert_eq!(warnings.len(), 2);
}
