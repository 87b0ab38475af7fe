//! The order of the modules, as src/lib.rs documents it: a module imports only modules of later rows.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The rows of the table in src/lib.rs.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("src/lib.rs");
    let table = text.split("```").nth(1).expect("a table").trim_start_matches("text");
    let rows = table.lines().map(|line| line.trim_start_matches("//!").trim()).filter(|line| !line.is_empty());
    rows.map(|row| row.split(", ").map(str::to_owned).collect()).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_import_only_later_rows() {
    let rows = rows();
    let row_of = |module: &str| rows.iter().position(|row| row.iter().any(|name| name == module));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut paths, mut wrong) = (Vec::new(), Vec::new());
    files(&source, &mut paths);
    for path in paths {
        let inner = path.strip_prefix(&source).expect("inside").with_extension("");
        let module = inner.iter().next().expect("a name").to_str().expect("text");
        let Some(own) = row_of(module) else {
            assert_eq!(module, "lib", "src/lib.rs does not list {module}");
            continue;
        };
        let text = fs::read_to_string(&path).expect("a file");
        for import in text.split("crate::").skip(1) {
            let name: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name != module && row_of(&name).is_some_and(|row| row <= own) {
                wrong.push(format!("{} imports {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
