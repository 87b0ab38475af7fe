//! The resources that all scenarios of a run share: the control plane, the runtime of its client, the folder with the
//! files of all scenarios, and the claims of cluster-scoped names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::claims::Claims;
use crate::support::binaries::Binaries;
use crate::support::control_plane::ControlPlane;

/// The shared resources of a run. The order of the fields is the order in which they must be dropped.
pub(crate) struct Bed {
    pub(crate) control_plane: ControlPlane,
    pub(crate) runtime: Runtime,
    folder: TempDir,
    /// The cluster-scoped names that scenarios have claimed.
    pub(crate) claims: Arc<Claims>,
}

impl Bed {
    /// Starts a control plane. Builds its binaries if they are not installed.
    pub(crate) fn start() -> Result<Self, String> {
        let binaries = Binaries::find()?;
        let start = Instant::now();
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let folder = tempfile::Builder::new().prefix("sidecar-injector-apiserver-").tempdir();
        let mut folder = folder.map_err(|error| error.to_string())?;
        match ControlPlane::start(&binaries, folder.path(), runtime.handle()) {
            Ok(control_plane) => {
                let version = control_plane.cluster.version().unwrap_or_default();
                eprintln!(
                    "Kubernetes {version} ready after {:.1} s ({})",
                    start.elapsed().as_secs_f32(),
                    binaries.api_server.display()
                );
                Ok(Self { control_plane, runtime, folder, claims: Arc::default() })
            }
            Err(why) => {
                folder.disable_cleanup(true);
                Err(format!("{why}\nthe logs are in {}", folder.path().display()))
            }
        }
    }

    /// The folder of the run. Each scenario has its own folder in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of the kubeconfig of an administrator.
    pub(crate) fn administrator(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Stops the control plane. Keeps the folder if `keep_logs` is true.
    pub(crate) fn stop(mut self, keep_logs: bool) {
        if keep_logs {
            self.folder.disable_cleanup(true);
            eprintln!("the logs are in {}", self.folder.path().display());
        }
    }
}
