//! Our own binary as a child process: `sidecar-injector serve` on free ports with a certificate of
//! its own making, reached by what it writes to its `--write-addresses` file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::Process;
use super::{http, wait};

/// A ready webhook; killed when dropped.
pub(crate) struct Webhook {
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    /// PEM for the `caBundle`.
    pub(crate) authority: String,
}

/// Where its templates come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// `--templates`: a folder or file.
    Files(PathBuf),
    /// `--namespace`: labelled `ConfigMap`s there.
    Cluster { kubeconfig: PathBuf, namespace: String },
}

impl Webhook {
    /// Starts it with its files (log, certificate, addresses) in `folder`, under `name`, and waits
    /// until it is ready.
    pub(crate) fn start(source: &Source, folder: &Path, name: &str) -> Self {
        Self::start_self_signed(folder, name, |command| {
            command.args(["--shutdown-delay", "0"]);
            match source {
                Source::Files(templates) => command.arg("--templates").arg(templates),
                Source::Cluster { kubeconfig, namespace } => {
                    command.env("KUBECONFIG", kubeconfig).args(["--namespace", namespace])
                }
            };
        })
    }

    /// The same with the arguments and environment that `configure` sets, beside ports, log and a certificate for the
    /// loopback address.
    pub(crate) fn start_self_signed(folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Self {
        let authority = folder.join(format!("{name}.ca.crt"));
        let mut webhook = Self::start_with(folder, name, |command| {
            command.args(["--tls-self-signed", "127.0.0.1", "--tls-write-ca"]).arg(&authority);
            configure(command);
        });
        webhook.authority = fs::read_to_string(authority).expect("--tls-write-ca wrote its file before it was ready");
        webhook
    }

    /// Starts it with the arguments and environment that `configure` sets, beside ports and log, and
    /// waits until it is ready. Its certificate is the caller's business.
    pub(crate) fn start_with(folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Self {
        Self::start_on("127.0.0.1:0", folder, name, configure)
    }

    /// The same on an address of the caller's choice.
    pub(crate) fn start_on(listen: &str, folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Self {
        let addresses = folder.join(format!("{name}.addresses.json"));
        // An earlier process of this name has left its own.
        let _ = fs::remove_file(&addresses);
        let log = folder.join(format!("{name}.log"));
        let mut process = Process::spawn(Path::new(env!("CARGO_BIN_EXE_sidecar-injector")), &log, |command| {
            clean_environment(command);
            // On a busy machine a request may take long. A test about deadlines gives the flag.
            command.env("SIDECAR_INJECTOR_REQUEST_TIMEOUT", "60");
            command.arg("serve").args(["--listen", listen, "--admin-listen", "127.0.0.1:0"]);
            command.arg("--write-addresses").arg(&addresses);
            configure(command);
        })
        .expect("start sidecar-injector");
        let ((listen, admin), _) = wait::until("the webhook to be ready", || {
            let ready = ready(&addresses);
            match process.exited() {
                Some(status) => panic!("sidecar-injector serve ended with {status}; {}", process.last_lines()),
                None => ready.map_err(|seen| format!("{seen}; {}", process.last_lines())),
            }
        });
        Self { process, listen, admin, authority: String::new() }
    }

    /// The address of its TLS port.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has ended; how.
    pub(crate) fn ended(&mut self) -> std::process::ExitStatus {
        wait::until("the webhook to end", || self.process.exited().ok_or_else(|| "still running".to_owned())).0
    }

    /// Status of its readiness page, or none where nobody listens any more.
    pub(crate) fn readiness(&self) -> Option<(u16, String)> {
        http::get(self.admin, "/readyz").ok()
    }

    /// The base address of its TLS port.
    pub(crate) fn base_url(&self) -> String {
        format!("https://{}", self.listen)
    }

    /// Another of its paths.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base_url())
    }

    /// Where the API server posts reviews.
    pub(crate) fn url(&self) -> String {
        format!("{}/mutate", self.base_url())
    }

    /// All it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// Status and text of its metrics page.
    pub(crate) fn metrics(&self) -> (u16, String) {
        http::get(self.admin, "/metrics").expect("read /metrics")
    }

    /// Sets the level of its log; status and text of the answer.
    pub(crate) fn set_log_level(&self, level: &str) -> (u16, String) {
        http::send(self.admin, "PUT", "/log-level", level).expect("an answer")
    }

    /// How many reviews it has answered, of those whose metric line contains `labels`
    /// (`reason="NotRequested"`, or nothing for all).
    pub(crate) fn answered(&self, labels: &str) -> u64 {
        let (_, page) = self.metrics();
        let lines = page.lines().filter(|line| line.starts_with("sidecar_injector_admission_requests_total"));
        let counts = lines.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next());
        counts.filter_map(|count| count.parse::<u64>().ok()).sum()
    }
}

/// The addresses once they are known and `/readyz` says yes.
fn ready(addresses: &Path) -> Result<(SocketAddr, SocketAddr), String> {
    let text = fs::read_to_string(addresses).map_err(|error| format!("{}: {error}", addresses.display()))?;
    let document: Value = serde_json::from_str(&text).map_err(|error| format!("{text:?}: {error}"))?;
    let address = |key: &str| {
        let value = document[key].as_str().and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("no address {key:?} in {text}"))
    };
    let (listen, admin) = (address("listen")?, address("admin")?);
    match http::get(admin, "/readyz") {
        Ok((200, _)) => Ok((listen, admin)),
        other => Err(format!("/readyz: {other:?}")),
    }
}

/// Settings of whoever runs the tests must not reach the binary under test.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let theirs = name.to_string_lossy();
        if theirs.starts_with("SIDECAR_INJECTOR_") || theirs == "KUBECONFIG" || theirs == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
}
