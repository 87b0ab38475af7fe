//! Starts etcd, kube-apiserver and kube-controller-manager as child processes, on free ports. All their files are in
//! one folder. They end when the [`ControlPlane`] is dropped.
//!
//! There is no kubelet and no scheduler: pods are admitted and stored, and stay pending. The controller manager creates
//! default service accounts, and the pods of Deployments and Jobs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::binaries::Binaries;
use super::cluster::Cluster;
use super::credentials::{Credentials, random_token};
use super::process::{Process, free_port};
use super::{http, wait};

/// The number of attempts to start a server. Another process can take its port before it starts.
const ATTEMPTS: usize = 5;

/// A running control plane. The order of the fields is the order in which they must be dropped.
pub(crate) struct ControlPlane {
    _controller_manager: Process,
    _api_server: Process,
    _etcd: Process,
    pub(crate) cluster: Cluster,
    /// A kubeconfig of an administrator.
    pub(crate) kubeconfig: Kubeconfig,
}

/// The address of the API server and the credentials of a user.
#[derive(Debug, Clone)]
pub(crate) struct Kubeconfig {
    server: String,
    authority: PathBuf,
    token: String,
}

impl Kubeconfig {
    /// The same server with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Returns a document that kubectl and client libraries can read.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.server, "certificate-authority": self.authority}}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        })
    }
}

impl ControlPlane {
    /// Starts all three in `folder` and waits until the API server is ready.
    pub(crate) fn start(binaries: &Binaries, folder: &Path, runtime: &Handle) -> Result<Self, String> {
        let (mut etcd, etcd_address) = start_etcd(&binaries.etcd, folder)?;
        let identity = Identity::write(folder)?;
        let (api_server, kubeconfig) =
            start_api_server(&binaries.api_server, folder, &etcd_address, &identity, runtime)?;
        let document = kubeconfig.to_json().to_string();
        let file = folder.join("kubeconfig");
        fs::write(&file, &document).map_err(|error| error.to_string())?;
        let controller_manager = start_controller_manager(&binaries.controller_manager, folder, &file, &identity)?;
        if etcd.exited().is_some() {
            return Err(format!("etcd has ended; {}", etcd.last_lines()));
        }
        let cluster = Cluster::connect(runtime.clone(), &document)?;
        Ok(Self { _controller_manager: controller_manager, _api_server: api_server, _etcd: etcd, cluster, kubeconfig })
    }
}

/// The keys, certificates and tokens: files in the folder, and the token of the administrator.
struct Identity {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// Signs the tokens of service accounts.
    service_account_key: PathBuf,
    /// Verifies them; the API server does not read it out of a PKCS #8 private key.
    service_account_public_key: PathBuf,
    tokens: PathBuf,
    token: String,
}

impl Identity {
    fn write(folder: &Path) -> Result<Self, String> {
        let credentials = Credentials::for_loopback().map_err(|error| error.to_string())?;
        let service_account_key = KeyPair::generate().map_err(|error| error.to_string())?;
        let token = random_token().map_err(|error| error.to_string())?;
        let file = |name: &str, content: &str| {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(path)
        };
        Ok(Self {
            authority: file("authority.crt", &credentials.authority)?,
            certificate: file("apiserver.crt", &credentials.certificate)?,
            key: file("apiserver.key", &credentials.key.serialize_pem())?,
            service_account_key: file("service-accounts.key", &service_account_key.serialize_pem())?,
            service_account_public_key: file("service-accounts.pub", &service_account_key.public_key_pem())?,
            tokens: file("tokens.csv", &format!("{token},admin,admin,\"system:masters\"\n"))?,
            token,
        })
    }
}

fn start_etcd(binary: &Path, folder: &Path) -> Result<(Process, String), String> {
    for attempt in 1..=ATTEMPTS {
        let (port, peer_port) = two_free_ports()?;
        let address = format!("http://127.0.0.1:{port}");
        let process = spawn(binary, folder, "etcd", |command| {
            command
                .arg("--data-dir")
                .arg(folder.join(format!("etcd-{attempt}")))
                .args(["--listen-client-urls", &address, "--advertise-client-urls", &address])
                .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer_port}")])
                // The data is not needed after the run, so it need not be safe on disk.
                .args(["--unsafe-no-fsync", "--log-level", "warn"]);
        })?;
        let health = SocketAddr::from(([127, 0, 0, 1], port));
        let ready = || match http::get(health, "/health") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        if let Some(process) = started(process, "etcd", ready)? {
            return Ok((process, address));
        }
    }
    Err(format!("etcd found no free port in {ATTEMPTS} attempts; see {}", folder.display()))
}

fn start_api_server(
    binary: &Path,
    folder: &Path,
    etcd: &str,
    identity: &Identity,
    runtime: &Handle,
) -> Result<(Process, Kubeconfig), String> {
    for _ in 0..ATTEMPTS {
        let port = free_port().map_err(|error| error.to_string())?;
        let process = spawn(binary, folder, "kube-apiserver", |command| {
            command
                .args(["--bind-address=127.0.0.1", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none"])
                // Services need no kube-proxy.
                .arg("--enable-aggregator-routing=true")
                .args([
                    "--service-cluster-ip-range=10.0.0.0/24",
                    "--allow-privileged=true",
                    "--service-account-issuer=https://kubernetes.default.svc",
                ])
                .arg(format!("--etcd-servers={etcd}"))
                .arg(format!("--secure-port={port}"))
                .arg(format!("--cert-dir={}", folder.display()))
                .arg(format!("--tls-cert-file={}", identity.certificate.display()))
                .arg(format!("--tls-private-key-file={}", identity.key.display()))
                .arg(format!("--service-account-key-file={}", identity.service_account_public_key.display()))
                .arg(format!("--service-account-signing-key-file={}", identity.service_account_key.display()))
                .arg(format!("--token-auth-file={}", identity.tokens.display()));
        })?;
        let kubeconfig = Kubeconfig {
            server: format!("https://127.0.0.1:{port}"),
            authority: identity.authority.clone(),
            token: identity.token.clone(),
        };
        let cluster = Cluster::connect(runtime.clone(), &kubeconfig.to_json().to_string())?;
        if let Some(process) = started(process, "kube-apiserver", || cluster.ready())? {
            return Ok((process, kubeconfig));
        }
    }
    Err(format!("kube-apiserver found no free port in {ATTEMPTS} attempts; see {}", folder.display()))
}

fn start_controller_manager(
    binary: &Path,
    folder: &Path,
    kubeconfig: &Path,
    identity: &Identity,
) -> Result<Process, String> {
    spawn(binary, folder, "kube-controller-manager", |command| {
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--service-account-private-key-file={}", identity.service_account_key.display()))
            .arg(format!("--cert-dir={}", folder.display()))
            // Each controller uses its own account, as in a real cluster. There is no serving port.
            .args(["--use-service-account-credentials=true", "--leader-elect=false", "--secure-port=0"]);
    })
}

fn spawn(binary: &Path, folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Result<Process, String> {
    Process::spawn(binary, &folder.join(format!("{name}.log")), configure).map_err(|error| error.to_string())
}

/// Waits until a server is ready. Returns `None` if it ended because its port was in use.
fn started(
    mut process: Process,
    name: &str,
    ready: impl Fn() -> Result<(), String>,
) -> Result<Option<Process>, String> {
    let start = Instant::now();
    loop {
        let answer = ready();
        if let Some(status) = process.exited() {
            let log = process.last_lines();
            let port_taken = log.contains("address already in use");
            return if port_taken { Ok(None) } else { Err(format!("{name} ended with {status}; {log}")) };
        }
        match answer {
            Ok(()) => return Ok(Some(process)),
            Err(seen) if start.elapsed() > wait::BOUND => {
                return Err(format!("{name} is not ready: {seen}; {}", process.last_lines()));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn two_free_ports() -> Result<(u16, u16), String> {
    loop {
        let first = free_port().map_err(|error| error.to_string())?;
        let second = free_port().map_err(|error| error.to_string())?;
        if first != second {
            return Ok((first, second));
        }
    }
}
