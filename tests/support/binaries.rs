//! Where kube-apiserver, etcd and kube-controller-manager come from.
//!
//! First the folder `KUBEBUILDER_ASSETS` (as envtest sets it up), then PATH, then a build of our own
//! from Go modules in the user's cache folder. `KUBERNETES_VERSION` asks for one version: PATH, whose
//! version nobody chose, is then left out. Nothing is ever skipped silently.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// The version that is built when nobody says otherwise.
const DEFAULT_VERSION: &str = include_str!("../control-plane/VERSION");

/// The binaries of one control plane.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) api_server: PathBuf,
    pub(crate) etcd: PathBuf,
    pub(crate) controller_manager: PathBuf,
}

impl Binaries {
    /// Finds them, or builds what is missing (minutes, the first time; progress goes to stderr).
    pub(crate) fn find() -> Result<Self, String> {
        let api_server = installed("kube-apiserver");
        let etcd = installed("etcd");
        let controller_manager = installed("kube-controller-manager");
        // A controller manager must not be newer than its API server, so what is built follows an
        // installed API server.
        let version = match &api_server {
            Some(path) => version_of(path)?,
            None => wanted_version().unwrap_or_else(|| DEFAULT_VERSION.trim().to_owned()),
        };
        Ok(Self {
            api_server: or_built(api_server, "kube-apiserver", &version)?,
            etcd: or_built(etcd, "etcd", &version)?,
            controller_manager: or_built(controller_manager, "kube-controller-manager", &version)?,
        })
    }
}

/// The version the user asked for.
fn wanted_version() -> Option<String> {
    let version = env::var("KUBERNETES_VERSION").ok()?;
    Some(version.trim().trim_start_matches('v').to_owned()).filter(|version| !version.is_empty())
}

/// The binary as the user has it.
fn installed(name: &str) -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").filter(|_| wanted_version().is_none()).unwrap_or_default();
    let folders = assets.into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// `1.36.3` from `Kubernetes v1.36.3`, without a distributor's suffix.
fn version_of(api_server: &Path) -> Result<String, String> {
    let complain = |why: String| format!("{} --version: {why}", api_server.display());
    let output = Command::new(api_server).arg("--version").output().map_err(|error| complain(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.trim().rsplit(" v").next().and_then(|version| version.split(['-', '+']).next());
    version
        .filter(|version| version.starts_with("1."))
        .map(ToOwned::to_owned)
        .ok_or_else(|| complain(format!("unexpected answer {text:?}")))
}

/// The installed binary, or the one in our cache, built now if need be.
fn or_built(installed: Option<PathBuf>, name: &str, version: &str) -> Result<PathBuf, String> {
    if let Some(path) = installed {
        return Ok(path);
    }
    let folder = cache_folder()?.join(version);
    let binary = folder.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/build.sh");
    let mut build = Command::new(&script);
    // All three of a version belong together, unless the API server is somebody else's.
    build.arg(&folder).arg(version);
    if name == "kube-controller-manager" || name == "etcd" {
        build.arg(name);
    }
    match build.status() {
        Ok(status) if status.success() && binary.is_file() => Ok(binary),
        outcome => Err(format!(
            "no {name}: not in KUBEBUILDER_ASSETS, not on PATH, and building it did not work ({outcome:?}).\n\
             Run: {} {} {version}",
            script.display(),
            folder.display()
        )),
    }
}

/// Helm's versions, where they are not installed.
const HELM: [(u32, &str); 2] = [(4, "4.3.1"), (3, "3.22.0")];

/// Held while Helm is built: scenarios that run side by side need it at the same moment.
static BUILDING: Mutex<()> = Mutex::new(());

/// Helm 4 or 3: the one on PATH, or one from its Go module in our cache, built now if need be (3 minutes, the first time).
pub(crate) fn helm(major: u32) -> Result<PathBuf, String> {
    let wanted = |path: &PathBuf| {
        let output = Command::new(path).args(["version", "--short"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with(&format!("v{major}.")))
    };
    if let Some(path) = installed("helm").filter(wanted) {
        return Ok(path);
    }
    let version = HELM.iter().find(|(of, _)| *of == major).map(|(_, version)| *version);
    let version = version.ok_or_else(|| format!("no helm {major} is known"))?;
    let folder = cache_folder()?.with_file_name("helm").join(version);
    let binary = folder.join("helm");
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if binary.is_file() {
        return Ok(binary);
    }
    eprintln!("building helm {version} (about 3 minutes on two cores)");
    build_helm(&format!("helm.sh/helm/v{major}/cmd/helm@v{version}"), &folder, &binary)
        .map_err(|why| format!("no helm {major} on PATH, and building it with Go did not work ({why})"))?;
    Ok(binary)
}

/// Builds Helm beside its place and moves it there whole: another run may be waiting for it, or building it too.
fn build_helm(module: &str, folder: &Path, binary: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let beside = tempfile::Builder::new().prefix("build.").tempdir_in(folder).map_err(|error| error.to_string())?;
    let mut build = Command::new("go");
    build.args(["install", "-trimpath", "-ldflags", "-s -w", module]);
    build.env("GOBIN", beside.path()).env("CGO_ENABLED", "0").current_dir(env::temp_dir());
    match build.status() {
        Ok(status) if status.success() => {
            fs::rename(beside.path().join("helm"), binary).map_err(|error| error.to_string())
        }
        outcome => Err(format!("{outcome:?}")),
    }
}

/// cert-manager's version.
const CERT_MANAGER: &str = "1.21.2";

/// The controllers of cert-manager, and a file with its CRDs, from our cache, built now if need be (3 minutes, the first time).
pub(crate) fn cert_manager() -> Result<(PathBuf, PathBuf), String> {
    let folder = cache_folder()?.with_file_name("cert-manager").join(CERT_MANAGER);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cert-manager/build.sh");
    match Command::new(&script).arg(&folder).arg(CERT_MANAGER).status() {
        Ok(status) if status.success() => Ok((folder.join("cert-manager"), folder.join("crds.yaml"))),
        outcome => {
            Err(format!("no cert-manager, and building it did not work ({outcome:?}); run {}", script.display()))
        }
    }
}

/// `~/.cache/sidecar-injector/kubernetes`, or where `XDG_CACHE_HOME` says.
fn cache_folder() -> Result<PathBuf, String> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set: nowhere to build a control plane")?;
    Ok(cache.join("sidecar-injector/kubernetes"))
}
