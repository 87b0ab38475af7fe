//! The source of the API server's rules for pods, from its Go modules: the functions, variables and constants that
//! decide which pods it accepts and which defaults it sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Deserializer, Value};

/// Declarations by package and name.
pub(crate) type Declarations = BTreeMap<(String, String), String>;

/// The package of the feature gates. The text of a gate has its defaults.
pub(crate) const FEATURES: &str = "k8s.io/kubernetes/pkg/features";

/// The functions that the API server calls when a pod is created. The tests add the ones that our rules cite.
const ROOTS: [&str; 4] =
    ["podStrategy.PrepareForCreate", "podStrategy.Validate", "SetObjectDefaults_Pod", "Validate_Pod"];

/// The packages that are read. The general functions that they call in other packages are not compared.
const PACKAGES: [&str; 17] = [
    "k8s.io/kubernetes/pkg/apis/core/validation",
    "k8s.io/kubernetes/pkg/apis/core/v1",
    "k8s.io/kubernetes/pkg/apis/core/v1/helper",
    "k8s.io/kubernetes/pkg/apis/core/v1/validation",
    "k8s.io/kubernetes/pkg/apis/core/helper",
    "k8s.io/kubernetes/pkg/apis/core/pods",
    "k8s.io/kubernetes/pkg/apis/certificates/validation",
    "k8s.io/kubernetes/pkg/api/pod",
    "k8s.io/kubernetes/pkg/registry/core/pod",
    "k8s.io/kubernetes/pkg/fieldpath",
    FEATURES,
    "k8s.io/apimachinery/pkg/util/validation",
    "k8s.io/apimachinery/pkg/api/validation",
    "k8s.io/apimachinery/pkg/api/validation/path",
    "k8s.io/apimachinery/pkg/apis/meta/v1/validation",
    "k8s.io/component-helpers/node/util/sysctl",
    "k8s.io/component-helpers/resource",
];

/// The declarations of a version that decide on pods, without comments. Downloads the modules if necessary.
pub(crate) fn declarations<'a>(version: &str, cited: impl Iterator<Item = &'a str>) -> Result<Declarations, String> {
    let staging = version.strip_prefix("1.").ok_or("not a version of Kubernetes")?;
    let modules = [
        ("k8s.io/kubernetes", format!("v{version}")),
        ("k8s.io/apimachinery", format!("v0.{staging}")),
        ("k8s.io/component-helpers", format!("v0.{staging}")),
    ];
    let mut arguments = Vec::new();
    for (module, version) in &modules {
        arguments.push(format!("{module}={}", folder(&format!("{module}@{version}"))?.display()));
    }
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/declarations.go");
    let mut run = go();
    run.arg("run").arg(program).args(arguments).args(PACKAGES).args(ROOTS).args(cited);
    let output: Value = serde_json::from_str(&stdout(run)?).map_err(|error| error.to_string())?;
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let list = output.as_array().into_iter().flatten();
    Ok(list.map(|of| ((text(of, "package"), text(of, "name")), text(of, "text"))).collect())
}

/// The folder of a module in the cache of Go.
fn folder(module: &str) -> Result<PathBuf, String> {
    let mut download = go();
    download.args(["mod", "download", "-json", module]);
    let answer = stdout(download)?;
    let answer = Deserializer::from_str(&answer).into_iter::<Value>().next();
    let folder = answer.and_then(Result::ok).and_then(|answer| answer["Dir"].as_str().map(PathBuf::from));
    folder.ok_or_else(|| format!("{module} has no folder"))
}

/// Go, outside of any module.
fn go() -> Command {
    let mut go = Command::new("go");
    go.current_dir(std::env::temp_dir()).env("GOWORK", "off");
    go
}

fn stdout(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
