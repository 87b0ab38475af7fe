//! What the next version of Kubernetes changes for pods: the fields of the Pod types, the feature gates, and the
//! functions that validate pods or set defaults in them. Each change is a line of a list that was reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::scenario::Scenario;
use crate::support::kubernetes_source::{self, Declarations, FEATURES};
use crate::support::pod_types::table;

pub(crate) const SCENARIOS: &[crate::Entry] = &[("the_next_version_is_reviewed", the_next_version_is_reviewed)];

/// The version of the table of rules, and the next one, which `tests/full.sh next` uses.
const VERSION: &str = include_str!("../control-plane/VERSION");
const NEXT_VERSION: &str = include_str!("../control-plane/NEXT_VERSION");

/// Begins the lines that are headings.
const HEADING: &str = "## ";

/// Stands behind a line that nobody has reviewed.
const NOT_REVIEWED: &str = "not reviewed";

/// With the next version, fails if the list is not the committed one, or if a line is not reviewed. With another
/// version, only prints the list.
fn the_next_version_is_reviewed(scenario: &Scenario<'_>) {
    let version = scenario.cluster().version().expect("a version").trim_start_matches('v').to_owned();
    let (current, next) = (VERSION.trim(), NEXT_VERSION.trim());
    if version == current {
        println!("skipped: {version} is the version of the table");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let types = std::fs::read_to_string(root.join("src/inject/kube/pod_types.txt")).expect("the table of types");
    let next_types = table(&scenario.cluster().get("/openapi/v3/api/v1").expect("the document"), &version);
    let cited = cited(root);
    let [old, new] = [current, version.as_str()].map(|version| {
        kubernetes_source::declarations(version, cited.keys().map(String::as_str)).expect("the sources of Kubernetes")
    });
    let unknown = cited.iter().filter(|(name, _)| !old.keys().any(|(_, of)| of == *name));
    let unknown: Vec<String> = unknown.map(|(name, by)| format!("{name} ({})", shown(by))).collect();
    assert!(unknown.is_empty(), "Kubernetes {current} does not have: {}", unknown.join(", "));

    let mut lines = vec!["", "## Fields"].into_iter().map(str::to_owned).collect::<Vec<_>>();
    lines.extend(changed_fields(&types, &next_types));
    lines.extend(["", "## Feature gates"].map(str::to_owned));
    lines.extend(changed_gates(&old, &new));
    lines.extend(["", "## Functions"].map(str::to_owned));
    let (functions, diff) = changed_functions(&old, &new, &cited);
    lines.extend(functions);
    let diff_path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kubernetes-{version}.diff"));
    std::fs::write(&diff_path, diff).expect("write the changed functions");

    let path = root.join("tests/apiserver/next_version.txt");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let list = with_notes(&version, &lines, &committed);
    if std::env::var_os("UPDATE_NEXT_VERSION").is_some() {
        std::fs::write(&path, list).expect("write the list");
    } else if version != next {
        println!("{list}");
    } else {
        let help = format!(
            "The changed functions are in {}. UPDATE_NEXT_VERSION=1 tests/full.sh next writes the list again. Then \
             replace \"{NOT_REVIEWED}\" by what the change means for templates.",
            diff_path.display()
        );
        assert!(
            committed == list,
            "tests/apiserver/next_version.txt is stale.\n{help}\n{}",
            difference(&committed, &list)
        );
        let open: Vec<&str> = list.lines().filter(|line| line.ends_with(NOT_REVIEWED)).collect();
        assert!(open.is_empty(), "{} changes are not reviewed.\n{help}\n{}", open.len(), open.join("\n"));
    }
}

/// The list as text: each line with the note that the committed list has for it.
fn with_notes(version: &str, lines: &[String], committed: &str) -> String {
    let notes: BTreeMap<&str, &str> = committed.lines().filter_map(|line| line.split_once(" -- ")).collect();
    let mut text = format!(
        "# What Kubernetes {version} changes for pods, compared with {}.\n\
         # `UPDATE_NEXT_VERSION=1 tests/full.sh next` writes the list again and keeps the notes. Behind `--` stands what\n\
         # the change means for templates. A function has the numbers of its new and removed lines, and the rules that\n\
         # cite it.\n",
        VERSION.trim()
    );
    for line in lines {
        let _ = match notes.get(line.as_str()) {
            _ if line.is_empty() || line.starts_with(HEADING) => writeln!(text, "{line}"),
            note => writeln!(text, "{line} -- {}", note.unwrap_or(&NOT_REVIEWED)),
        };
    }
    text
}

/// The fields that only one of the tables has, or that have another type in the other.
fn changed_fields(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (fields(old), fields(new));
    changes(&old, &new, |field, old, new| match (old, new) {
        (Some(old), Some(new)) => format!("changed {field}: {old} => {new}"),
        (Some(old), None) => format!("removed {field} {old}"),
        (None, new) => format!("new {field} {}", new.map_or("", String::as_str)),
    })
}

/// The fields of a table of types, as `TYPE.FIELD`, with their types.
fn fields(table: &str) -> BTreeMap<String, String> {
    let mut object = "";
    let mut fields = BTreeMap::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("  ").and_then(|field| field.split_once(' ')) {
            Some((field, kind)) => {
                fields.insert(format!("{object}.{field}"), kind.to_owned());
            }
            None => object = line,
        }
    }
    fields
}

/// The feature gates that validation and defaults read, if they or their defaults changed.
fn changed_gates(old: &Declarations, new: &Declarations) -> Vec<String> {
    let gates = |declarations: &Declarations| -> BTreeMap<String, String> {
        let gates = declarations.iter().filter(|((package, _), _)| package == FEATURES);
        gates.map(|((_, name), text)| (name.clone(), default_of(text))).collect()
    };
    changes(&gates(old), &gates(new), |gate, old, new| match (old, new) {
        (Some(old), Some(new)) => format!("changed {gate}: {old} => {new}"),
        (Some(old), None) => format!("removed {gate}: {old}"),
        (None, new) => format!("new {gate}: {}", new.map_or("", String::as_str)),
    })
}

/// The default of a gate in its newest version, such as `on (Beta)`.
fn default_of(declaration: &str) -> String {
    let newest = declaration.rsplit(" Default: ").next().unwrap_or_default();
    let stage = newest.split("PreRelease: featuregate.").nth(1).unwrap_or_default();
    let stage: String = stage.chars().take_while(char::is_ascii_alphanumeric).collect();
    format!("{} ({stage})", if newest.starts_with("true") { "on" } else { "off" })
}

/// The functions, variables and constants that only one version has, or that differ, and the difference as text.
fn changed_functions(
    old: &Declarations,
    new: &Declarations,
    cited: &BTreeMap<String, BTreeSet<String>>,
) -> (Vec<String>, String) {
    let functions = |declarations: &Declarations| -> Declarations {
        let functions = declarations.iter().filter(|((package, _), _)| package != FEATURES);
        functions.map(|(key, text)| (key.clone(), text.clone())).collect()
    };
    let mut texts = String::new();
    let lines = changes(&functions(old), &functions(new), |(package, name), old, new| {
        let what = match (old, new) {
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
            (None, _) => "new",
        };
        let package = package.rsplit_once("/pkg/").map_or(package.as_str(), |(_, inner)| inner);
        let by = cited.get(name).map(|by| format!(" ({})", shown(by))).unwrap_or_default();
        let text = difference(old.map_or("", String::as_str), new.map_or("", String::as_str));
        let count = |sign| text.lines().filter(|line| line.starts_with(sign)).count();
        let line = format!("{what} {package}.{name} +{} -{}{by}", count('+'), count('-'));
        let _ = writeln!(texts, "== {line}\n{text}");
        line
    });
    (lines, texts)
}

/// A line for each key with another value.
fn changes<K: Ord, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    mut line: impl FnMut(&K, Option<&V>, Option<&V>) -> String,
) -> Vec<String> {
    let keys: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    let changed = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    changed.map(|key| line(key, old.get(key), new.get(key))).collect()
}

/// The changed lines with three lines around them.
fn difference(old: &str, new: &str) -> String {
    let diff = similar::TextDiff::from_lines(old, new);
    let hunks: Vec<String> = diff.unified_diff().iter_hunks().map(|hunk| hunk.to_string()).collect();
    hunks.join("")
}

/// The functions of Kubernetes that the rules name as their sources, with the types or files that name them.
fn cited(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut cited: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in sidecar_injector::inject::kube::examples::rows() {
        let is_annotation = row.of.starts_with("annotation ");
        let object = row.of.split('.').next().filter(|_| !is_annotation).unwrap_or(&row.of);
        for source in row.source.split(", ").filter(|source| *source != "OpenAPI") {
            let name = source.split(' ').next().unwrap_or(source);
            cited.entry(name.to_owned()).or_default().insert(object.to_owned());
        }
    }
    for folder in ["src/inject/kube", "src/inject/kube/rules", "src/inject/plan", "src/inject/plan/cross"] {
        for file in std::fs::read_dir(root.join(folder)).expect("a folder of rules") {
            let path = file.expect("a file").path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let short = path.strip_prefix(root.join("src/inject")).unwrap_or(&path).display().to_string();
            for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()) {
                let rest = word.strip_prefix("validate").or_else(|| word.strip_prefix("Validate"));
                if rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_uppercase())) {
                    let by = cited.entry(word.to_owned()).or_default();
                    if !short.starts_with("kube/rules") || by.is_empty() {
                        by.insert(short.clone());
                    }
                }
            }
        }
    }
    cited
}

fn shown(by: &BTreeSet<String>) -> String {
    by.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
