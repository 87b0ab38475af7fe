//! Tests of the sources.

use std::path::Path;

use super::*;
use crate::inject::template::reference::TemplateRef;

fn config_map(name: &str) -> HolderId {
    HolderId::ConfigMap { namespace: "ns".to_owned(), name: name.to_owned() }
}

fn holder(name: &str, created: &str) -> Holder {
    Holder { created: created.to_owned(), id: config_map(name) }
}

fn text(key: &str, image: &str) -> TemplateText {
    let text = format!("sidecars: [{{name: x, image: {image}}}]\n");
    let origin = format!("key {key}.yaml");
    TemplateText { key: format!("{key}.yaml"), origin, default_name: key.to_owned(), text, ..TemplateText::default() }
}

fn found(texts: Vec<TemplateText>) -> FoundDocuments {
    FoundDocuments { texts, ..FoundDocuments::default() }
}

fn image(sources: &Sources, name: &str) -> Option<String> {
    let published = sources.catalog();
    let template = published.catalog.get(TemplateRef { name, version: None }).ok()?;
    Some(template.constant()?.init_containers[0].value["image"].as_str()?.to_owned())
}

#[test]
fn an_invalid_document_keeps_its_last_valid_template_and_affects_no_other() {
    let mut sources = Sources::default();
    let one = holder("one", "2026");
    sources.set(&one, found(vec![text("a", "i:1"), text("b", "i:1")]));
    let broken = TemplateText { text: "sidecars: [".to_owned(), ..text("a", "") };
    sources.set(&one, found(vec![broken.clone(), text("b", "i:2")]));
    assert_eq!(image(&sources, "a").as_deref(), Some("i:1"));
    assert_eq!(image(&sources, "b").as_deref(), Some("i:2"));
    let published = sources.catalog();
    assert_eq!(published.errors.len(), 1);
    assert_eq!(published.valid.get("a"), Some(&false));
    // A good definition elsewhere beats the last good one.
    sources.set(&holder("two", "2027"), found(vec![text("a", "i:9")]));
    assert_eq!(image(&sources, "a").as_deref(), Some("i:9"));
    sources.remove(&config_map("two"));
    assert_eq!(image(&sources, "a").as_deref(), Some("i:1"));
    // Fixed, then deleted.
    sources.set(&one, found(vec![text("a", "i:3")]));
    assert_eq!(image(&sources, "a").as_deref(), Some("i:3"));
    assert_eq!(image(&sources, "b"), None);
    sources.remove(&config_map("one"));
    assert_eq!(image(&sources, "a"), None);
}

#[test]
fn deletions_take_effect_if_other_keys_are_not_read() {
    let mut sources = Sources::default();
    let one = holder("one", "2026");
    let remark = || vec![Diagnostic::of_document("README.md", "is not read")];
    sources.set(&one, FoundDocuments { warnings: remark(), ..found(vec![text("a", "i:1"), text("b", "i:1")]) });
    sources.set(&one, FoundDocuments { warnings: remark(), ..found(vec![text("a", "i:2")]) });
    assert_eq!((image(&sources, "a").as_deref(), image(&sources, "b")), (Some("i:2"), None));
    assert!(sources.catalog().errors.is_empty());
}

#[test]
fn a_file_that_is_incomplete_or_unreadable_keeps_its_documents() {
    let mut sources = Sources::default();
    let file = Holder::file(Path::new("all.yaml"));
    let whole = || found(vec![text("a", "i:1"), text("b", "i:1")]);
    sources.set(&file, whole());
    let empty = TemplateText { key: String::new(), text: String::new(), ..text("all", "") };
    sources.set(&file, found(vec![empty]));
    assert_eq!((image(&sources, "a").as_deref(), image(&sources, "b").as_deref()), (Some("i:1"), Some("i:1")));
    sources.set(&file, FoundDocuments { incomplete: true, ..FoundDocuments::default() });
    assert_eq!(image(&sources, "b").as_deref(), Some("i:1"));
    sources.set(&file, whole());
    sources.set(&file, found(vec![text("a", "i:2")]));
    assert_eq!((image(&sources, "a").as_deref(), image(&sources, "b")), (Some("i:2"), None));
    assert_eq!(sources.take_failed(), ["all"]);
}

#[test]
fn an_invalid_document_that_was_never_valid_is_reported() {
    let mut sources = Sources::default();
    let broken = TemplateText { text: "sidecar: []".to_owned(), ..text("a", "") };
    sources.set(&holder("one", "2026"), found(vec![broken]));
    let published = sources.catalog();
    let Err(crate::inject::catalog::NotFound::Name { broken: Some(why) }) =
        published.catalog.get(TemplateRef { name: "a", version: None })
    else {
        panic!("unknown")
    };
    assert_eq!(why, "key a.yaml:1:1: unknown key \"sidecar\" (did you mean \"sidecars\"?)");
}

#[test]
fn the_older_of_two_equal_definitions_serves_and_the_other_is_an_error() {
    let mut sources = Sources::default();
    sources.set(&holder("a-younger", "2027"), found(vec![text("a", "i:2")]));
    sources.set(&holder("z-older", "2026"), found(vec![text("a", "i:1")]));
    assert_eq!(image(&sources, "a").as_deref(), Some("i:1"));
    let published = sources.catalog();
    let line = published.errors[0].diagnostic.one_line();
    assert_eq!(line, "key a.yaml: a is already defined by key a.yaml, which serves");
    assert_eq!(published.valid, BTreeMap::from([("a".to_owned(), false)]), "the newest text is not in use");
}

/// The text of a version of the template `logs`.
fn logs(key: &str, fields: &str) -> TemplateText {
    TemplateText { text: format!("{{name: logs, {fields}}}"), ..text(key, "") }
}

/// The template that a request for `logs` without a version gets.
fn serving(sources: &Sources) -> Option<String> {
    let catalog = sources.catalog().catalog;
    catalog.get(TemplateRef { name: "logs", version: None }).ok().map(Template::display)
}

#[test]
fn the_older_of_two_defaults_serves_and_the_other_is_an_error() {
    let mut sources = Sources::default();
    sources.set(&holder("a-younger", "2027"), found(vec![logs("two", "version: '2', default: true")]));
    sources
        .set(&holder("b-without", "2025"), found(vec![logs("none", "description: x"), logs("nine", "version: '9'")]));
    assert_eq!(serving(&sources).as_deref(), Some("logs@2"));
    assert!(sources.catalog().errors.is_empty());
    sources.set(&holder("z-older", "2026"), found(vec![logs("one", "version: '1', default: true")]));
    assert_eq!(serving(&sources).as_deref(), Some("logs@1"));
    let published = sources.catalog();
    let errors: Vec<_> = published.errors.iter().map(|error| (&error.holder, error.diagnostic.one_line())).collect();
    let message = "key two.yaml: logs@2 sets default: true, and so does logs@1 of key one.yaml, which serves";
    assert_eq!(errors, [(&config_map("a-younger"), message.to_owned())]);
    assert_eq!(published.valid, BTreeMap::from([("logs".to_owned(), true)]), "both texts are in use");
    // An invalid change of the older one does not move requests to the younger one.
    sources.set(&holder("z-older", "2026"), found(vec![logs("one", "sidecar: []")]));
    assert_eq!(serving(&sources).as_deref(), Some("logs@1"));
    sources.remove(&config_map("z-older"));
    assert_eq!(serving(&sources).as_deref(), Some("logs@2"));
}

#[test]
fn errors_name_the_line_of_a_document_within_a_file() {
    let mut sources = Sources::default();
    let documents =
        [("a", 4), ("b", 20)].map(|(key, lines_before)| TemplateText { lines_before, ..logs(key, "version: '1'") });
    sources.set(&Holder::file(Path::new("all.yaml")), found(documents.to_vec()));
    let error = sources.catalog().errors[0].diagnostic.one_line();
    assert_eq!(error, "key b.yaml:21:1: logs@1 is already defined by key a.yaml:5, which serves");
}

#[test]
fn a_value_that_the_version_of_the_cluster_rejects_is_an_error_until_the_cluster_is_upgraded() {
    let text = |operator: &str| TemplateText {
        text: format!(
            "sidecars: [{{name: a, image: i, env: [{{name: X, valueFrom: {{fileKeyRef: {{volumeName: v, path: a, key: K{operator}}}}}}}]}}]"
        ),
        ..text("a", "")
    };
    let mut sources = Sources::default();
    sources.set(&holder("one", "2026"), found(vec![text("1")]));
    let state = |sources: &Sources| {
        let published = sources.catalog();
        (published.errors.len(), published.warnings.len(), published.catalog.has("a"))
    };
    assert_eq!(state(&sources), (0, 1, true), "an unknown version is a warning");
    sources.set_cluster(Some(ClusterVersion { minor: 35 }));
    assert_eq!(state(&sources), (0, 0, true));
    let mut old = Sources::with_rules(
        SourceRules { cluster: Some(ClusterVersion { minor: 34 }), ..SourceRules::default() },
        Keys::default(),
    );
    old.set(&holder("one", "2026"), found(vec![text("1")]));
    let published = old.catalog();
    let lines: Vec<_> = published.errors.iter().map(|error| error.diagnostic.one_line()).collect();
    let line = "key a.yaml:1:72: sidecars[0].env[0].valueFrom.fileKeyRef needs Kubernetes 1.35 or later, and the cluster has 1.34 (the API \
        server rejects pods with it, unless its feature gate EnvFiles is on)";
    assert_eq!(lines, [line]);
    assert!(!published.catalog.has("a"));
    old.set_cluster(Some(ClusterVersion { minor: 36 }));
    assert_eq!(state(&old), (0, 0, true));
}
