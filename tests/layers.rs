//! The order of the modules. A module imports only modules of later rows of the tables in `src/lib.rs` (the crate) and
//! `docs/architecture.md` (the core), and no file imports itself through other files. The core does not use what is
//! outside it: no clock, no environment, no async runtime, no Kubernetes client, no files.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names that the core must not contain.
const FORBIDDEN: [&str; 9] =
    ["tokio::", "kube::", "axum::", "hyper::", "k8s_openapi::", "Instant", "SystemTime", "std::env", "std::fs"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A source file without its tests.
struct SourceFile {
    /// The path of its module in the crate; empty for `src/lib.rs`.
    module: Vec<String>,
    text: String,
}

impl SourceFile {
    fn path(&self) -> String {
        self.module.join("::")
    }
}

/// All source files of the library.
fn sources() -> Vec<SourceFile> {
    let source_folder = root().join("src");
    let (mut folders, mut sources) = (vec![source_folder.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            if path.is_dir() {
                folders.push(path);
            } else if is_source && !path.ends_with("tests.rs") && !path.ends_with("main.rs") {
                sources.push(source(&source_folder, &path));
            }
        }
    }
    assert!(sources.len() > 100, "source files are missing");
    sources
}

/// The source files of the core.
fn core() -> Vec<SourceFile> {
    sources().into_iter().filter(|source| source.module.first().is_some_and(|first| first == "inject")).collect()
}

fn source(folder: &Path, path: &Path) -> SourceFile {
    let text = fs::read_to_string(path).expect("a source file");
    let text = text.split("#[cfg(test)]\nmod tests").next().expect("a part").to_owned();
    let inside = path.strip_prefix(folder).expect("in the folder").with_extension("");
    let mut module: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    module.pop_if(|last| last == "mod" || last == "lib");
    SourceFile { module, text }
}

/// The code of a line, without comments.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The paths that the `use` declarations import, one for each item of a group.
fn declared(source: &SourceFile) -> Vec<String> {
    let code: String = source.text.lines().map(|line| code(line).to_owned() + "\n").collect();
    let mut paths = Vec::new();
    for declaration in code.split("use ").skip(1) {
        let declaration: String =
            declaration.split(';').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &declaration, &mut paths);
    }
    paths
}

/// The paths in the crate that a file imports or writes out.
fn imports(source: &SourceFile) -> Vec<Vec<String>> {
    let written = source.text.lines().flat_map(|line| code(line).split("crate::").skip(1)).map(|path| {
        let path: String = path.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
        format!("crate::{}", path.trim_end_matches(':'))
    });
    let paths = declared(source).into_iter().chain(written);
    paths.filter_map(|path| absolute(&path, &source.module)).collect()
}

fn expand(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((before, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return paths.push(format!("{prefix}{path}").trim_end_matches("::self").to_owned());
    };
    let group = group.strip_suffix('}').unwrap_or(group);
    let (mut depth, mut from) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&format!("{prefix}{before}"), &group[from..at], paths);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !group[from..].trim().is_empty() {
        expand(&format!("{prefix}{before}"), &group[from..], paths);
    }
}

/// The path in the crate; `None` for a path in another crate.
fn absolute(path: &str, module: &[String]) -> Option<Vec<String>> {
    let steps: Vec<&str> = path.split("::").collect();
    let supers = steps.iter().take_while(|step| **step == "super").count();
    let rest = |steps: &[&str]| steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    match *steps.first()? {
        "super" if supers <= module.len() => {
            Some([module[..module.len() - supers].to_vec(), rest(&steps[supers..])].concat())
        }
        "self" => Some([module.to_vec(), rest(&steps[1..])].concat()),
        "crate" => Some(rest(&steps[1..])),
        _ => None,
    }
}

/// The rows of the table in `src/lib.rs`.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let table = text.split("```").nth(1).expect("a table").trim_start_matches("text");
    let rows = table.lines().map(|line| line.trim_start_matches("//!").trim()).filter(|line| !line.is_empty());
    rows.map(|row| row.split(", ").map(str::to_owned).collect()).collect()
}

/// The modules of the core from the lowest to the highest, from the table in the documentation.
fn layers() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md");
    let (_, section) = page.split_once("## The layers of the core").expect("the section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|row| row.split('`').next());
    let mut layers: Vec<String> = rows.map(str::to_owned).collect();
    layers.reverse();
    layers
}

#[test]
fn modules_import_only_later_rows() {
    let rows = rows();
    let row_of = |module: &str| rows.iter().position(|row| row.iter().any(|name| name == module));
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = source.module.first() else { continue };
        let own_row = row_of(own).unwrap_or_else(|| panic!("src/lib.rs does not list {own}"));
        for path in imports(&source) {
            let Some(target) = path.first() else { continue };
            if target != own && row_of(target).is_some_and(|row| row <= own_row) {
                wrong.push(format!("{} imports {target}", source.path()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports of modules in earlier rows:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_imports_downwards_only() {
    let layers = layers();
    let rank = |name: &str| layers.iter().position(|layer| layer == name);
    let mut wrong = Vec::new();
    for source in core() {
        let own = source.module.get(1).map_or("mod", String::as_str);
        let own_rank = rank(own).unwrap_or_else(|| panic!("docs/architecture.md does not list {own}"));
        for path in imports(&source) {
            let first = path.get(1).map_or("mod", String::as_str);
            // Names that are not a module are items of `inject` itself.
            let target = rank(first).or(rank("mod")).expect("listed");
            if target > own_rank {
                wrong.push(format!("{} imports {}", source.path(), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports of higher layers:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_imports_itself_through_other_files() {
    let sources = sources();
    let modules: BTreeSet<&[String]> = sources.iter().map(|source| source.module.as_slice()).collect();
    let mut uses: BTreeMap<&[String], BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in &sources {
        let targets = imports(source).into_iter().filter_map(|mut path| {
            // The path of an item becomes the path of its module.
            while !modules.contains(path.as_slice()) {
                path.pop()?;
            }
            Some(path)
        });
        uses.insert(&source.module, targets.filter(|target| *target != source.module).collect());
    }
    let mut wrong = Vec::new();
    for module in &modules {
        let (mut seen, mut next) = (BTreeSet::new(), uses[module].clone());
        while let Some(target) = next.pop_first() {
            if seen.insert(target.clone()) {
                next.extend(uses[target.as_slice()].iter().cloned());
            }
        }
        if seen.contains(*module) {
            wrong.push(module.join("::"));
        }
    }
    assert!(wrong.is_empty(), "files that import themselves through other files: {wrong:?}");
}

#[test]
fn the_core_does_not_contain_forbidden_names() {
    let mut wrong = Vec::new();
    for source in core() {
        // The core has a module of that name, and the CEL library has kube in its name.
        let lines = source.text.lines().map(|line| code(line).replace("inject::kube::", "").replace("kube_cel::", ""));
        let declared =
            declared(&source).into_iter().filter(|path| !path.contains("::inject::kube")).map(|path| path + "::");
        for text in lines.chain(declared.filter(|path| !path.starts_with("kube_cel"))) {
            for name in FORBIDDEN.iter().filter(|name| text.contains(**name)) {
                wrong.push(format!("{}: {name} in {}", source.path(), text.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "the core must not name these:\n{}", wrong.join("\n"));
}
