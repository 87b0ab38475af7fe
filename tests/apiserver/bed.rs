//! What all scenarios of one run share: the control plane, the runtime of its client, the folder with
//! the files of all scenarios, and the registry of cluster-scoped names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::claims::Claims;
use crate::support::binaries::Binaries;
use crate::support::control_plane::ControlPlane;

/// One run's surroundings. Fields are in the order in which they must end.
pub(crate) struct Bed {
    pub(crate) control_plane: ControlPlane,
    pub(crate) runtime: Runtime,
    folder: TempDir,
    /// Which scenario holds which cluster-scoped name.
    pub(crate) claims: Arc<Claims>,
}

impl Bed {
    /// Starts a control plane, building one first if there is none.
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
                Err(format!("{why}\nlogs are kept in {}", folder.path().display()))
            }
        }
    }

    /// Where scenarios put their files, each in a folder of its own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of an administrator's kubeconfig.
    pub(crate) fn administrator(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Ends everything. The folder with the logs stays if somebody will want to read them.
    pub(crate) fn stop(mut self, keep_logs: bool) {
        if keep_logs {
            self.folder.disable_cleanup(true);
            eprintln!("logs are kept in {}", self.folder.path().display());
        }
    }
}
