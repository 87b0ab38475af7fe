//! Finds kube-apiserver, etcd and kube-controller-manager.
//!
//! Searches the folder `KUBEBUILDER_ASSETS` (as envtest creates it), then PATH. Otherwise builds them from Go modules
//! in the cache folder of the user. If `KUBERNETES_VERSION` is set, PATH is not searched. If a binary is missing, the
//! tests fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// The version that is built by default.
const DEFAULT_VERSION: &str = include_str!("../control-plane/VERSION");

/// The binaries of one control plane.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) api_server: PathBuf,
    pub(crate) etcd: PathBuf,
    pub(crate) controller_manager: PathBuf,
}

impl Binaries {
    /// Finds the binaries. Builds missing ones, which takes minutes the first time. Prints the progress on stderr.
    pub(crate) fn find() -> Result<Self, String> {
        let api_server = installed("kube-apiserver");
        let etcd = installed("etcd");
        let controller_manager = installed("kube-controller-manager");
        // A controller manager must not be newer than its API server, so the version of an installed API server is
        // built.
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

/// The version that the user requested.
fn wanted_version() -> Option<String> {
    let version = env::var("KUBERNETES_VERSION").ok()?;
    Some(version.trim().trim_start_matches('v').to_owned()).filter(|version| !version.is_empty())
}

/// Returns the path of an installed binary.
fn installed(name: &str) -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").filter(|_| wanted_version().is_none()).unwrap_or_default();
    let folders = assets.into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// `1.36.3` from `Kubernetes v1.36.3`, without a distributor's suffix.
fn version_of(api_server: &Path) -> Result<String, String> {
    let error_message = |why: String| format!("{} --version: {why}", api_server.display());
    let output =
        Command::new(api_server).arg("--version").output().map_err(|error| error_message(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.trim().rsplit(" v").next().and_then(|version| version.split(['-', '+']).next());
    version
        .filter(|version| version.starts_with("1."))
        .map(ToOwned::to_owned)
        .ok_or_else(|| error_message(format!("unexpected answer {text:?}")))
}

/// Returns the installed binary, or the one in the cache folder. Builds it if necessary.
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
    // The script builds all three binaries, unless the API server is installed.
    build.arg(&folder).arg(version);
    if name == "kube-controller-manager" || name == "etcd" {
        build.arg(name);
    }
    match build.status() {
        Ok(status) if status.success() && binary.is_file() => Ok(binary),
        outcome => Err(format!(
            "no {name}: not in KUBEBUILDER_ASSETS, not on PATH, and building it failed ({outcome:?}).\n\
             Run: {} {} {version}",
            script.display(),
            folder.display()
        )),
    }
}

/// The versions of Helm that are built.
const HELM: [(u32, &str); 2] = [(4, "4.3.1"), (3, "3.22.0")];

/// Locked while Helm is built, because scenarios run in parallel.
static BUILDING: Mutex<()> = Mutex::new(());

/// Returns Helm 4 or 3: the one on PATH, or the one in the cache folder. Builds it from its Go module if necessary,
/// which takes 3 minutes.
pub(crate) fn helm(major: u32) -> Result<PathBuf, String> {
    let wanted = |path: &PathBuf| {
        let output = Command::new(path).args(["version", "--short"]).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with(&format!("v{major}.")))
    };
    if let Some(path) = installed("helm").filter(wanted) {
        return Ok(path);
    }
    let version = HELM.iter().find(|(of, _)| *of == major).map(|(_, version)| *version);
    let version = version.ok_or_else(|| format!("there is no version of helm {major}"))?;
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

/// Builds Helm in a temporary folder and moves it to its path. Another run may build it at the same time.
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

/// The version of cert-manager.
const CERT_MANAGER: &str = "1.21.2";

/// Returns the controllers of cert-manager and a file with its CRDs, from the cache folder. Builds them if necessary,
/// which takes 3 minutes.
pub(crate) fn cert_manager() -> Result<(PathBuf, PathBuf), String> {
    let folder = cache_folder()?.with_file_name("cert-manager").join(CERT_MANAGER);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cert-manager/build.sh");
    match Command::new(&script).arg(&folder).arg(CERT_MANAGER).status() {
        Ok(status) if status.success() => Ok((folder.join("cert-manager"), folder.join("crds.yaml"))),
        outcome => Err(format!("no cert-manager, and building it failed ({outcome:?}); run {}", script.display())),
    }
}

/// `~/.cache/sidecar-injector/kubernetes`, or the same folder in `XDG_CACHE_HOME`.
fn cache_folder() -> Result<PathBuf, String> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = given("XDG_CACHE_HOME").or_else(|| given("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or("neither XDG_CACHE_HOME nor HOME is set: there is no folder for the binaries")?;
    Ok(cache.join("sidecar-injector/kubernetes"))
}
