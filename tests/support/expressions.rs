//! The table of expressions with the verdicts of the API server, `tests/expressions.txt`, and the pod and the variables
//! that the expressions read.

use std::path::PathBuf;

use serde_json::{Value, json};

/// The variables that the expressions can read, as pairs of a name and an expression.
pub(crate) const VARIABLES: [(&str, &str); 6] =
    [("text", "'a-b'"), ("n", "3"), ("on", "true"), ("ratio", "1.5"), ("names", "['b', 'a']"), ("extra", "{'a': '1'}")];

/// An expression with the verdicts of the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) expression: String,
    /// Why the API server does not store a policy with it.
    pub(crate) rejected: Option<String>,
    /// Why the expression does not fit the types of a pod, from `status.typeChecking`.
    pub(crate) mistyped: Option<String>,
    /// The result as text.
    pub(crate) result: Option<String>,
    /// Why the evaluation failed.
    pub(crate) error: Option<String>,
    /// Why the injector decides otherwise.
    pub(crate) differs: Option<String>,
}

impl Row {
    /// The verdicts with their names in the table.
    fn verdicts(&mut self) -> [(&'static str, &mut Option<String>); 5] {
        [
            ("rejected", &mut self.rejected),
            ("mistyped", &mut self.mistyped),
            ("result", &mut self.result),
            ("error", &mut self.error),
            ("differs", &mut self.differs),
        ]
    }
}

/// A line of the table: a comment, or a row.
pub(crate) enum Entry {
    Comment(String),
    Row(Row),
}

/// The path of the table.
pub(crate) fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/expressions.txt")
}

/// Reads the table.
pub(crate) fn read() -> Vec<Entry> {
    let text = std::fs::read_to_string(path()).expect("tests/expressions.txt");
    let mut entries = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("  "), entries.last_mut()) {
            (Some(verdict), Some(Entry::Row(row))) => {
                let (name, text) = verdict.split_once(' ').expect("a verdict and its text");
                let mut verdicts = row.verdicts();
                let (_, verdict) = verdicts.iter_mut().find(|(known, _)| *known == name).expect(name);
                **verdict = Some(text.to_owned());
            }
            _ if line.starts_with('#') => entries.push(Entry::Comment(line.to_owned())),
            _ => entries.push(Entry::Row(Row { expression: line.to_owned(), ..Row::default() })),
        }
    }
    entries
}

/// The rows of the table.
pub(crate) fn rows() -> Vec<Row> {
    let row = |entry| match entry {
        Entry::Row(row) => Some(row),
        Entry::Comment(_) => None,
    };
    read().into_iter().filter_map(row).collect()
}

/// The text of the table.
pub(crate) fn text(entries: Vec<Entry>) -> String {
    let mut lines = Vec::new();
    for entry in entries {
        match entry {
            Entry::Comment(line) => lines.push(line),
            Entry::Row(mut row) => {
                lines.push(row.expression.clone());
                let verdicts = row.verdicts();
                lines.extend(verdicts.iter().filter_map(|(name, text)| Some(format!("  {name} {}", text.as_ref()?))));
            }
        }
    }
    lines.join("\n") + "\n"
}

/// The pod that the expressions read. It sets all fields that the API server would set to a default.
pub(crate) fn pod(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": namespace,
            "labels": {"app": "web", "app.kubernetes.io/name": "shop"},
            "annotations": {"example.com/log": "true"},
        },
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "nodeSelector": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
            "securityContext": {"runAsNonRoot": true},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "containers": [{
                "name": "app",
                "image": "web:1.2",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "env": [{"name": "A", "value": "x"}, {"name": "B", "value": "y"}],
                "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "1", "memory": "512Mi"}},
            }],
        },
    })
}
