//! Runs `sidecar-injector serve` as a child process on free ports. Its addresses are in the file of
//! `--write-addresses`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::Process;
use super::{http, wait};

/// A ready webhook. It is killed when it is dropped.
pub(crate) struct Webhook {
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    /// The authority (PEM) for the `caBundle`.
    pub(crate) authority: String,
}

/// The source of the templates.
#[derive(Debug)]
pub(crate) enum Source {
    /// `--templates`: a folder or a file.
    Files(PathBuf),
    /// `--namespace`: the labelled `ConfigMap`s in the namespace.
    Cluster { kubeconfig: PathBuf, namespace: String },
}

impl Webhook {
    /// Starts the webhook and waits until it is ready. Its files (log, certificate, addresses) are in `folder`, and
    /// their names start with `name`.
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

    /// Starts the webhook with a certificate for the loopback address, and with the arguments and environment variables
    /// of `configure`.
    pub(crate) fn start_self_signed(folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Self {
        let authority = folder.join(format!("{name}.ca.crt"));
        let mut webhook = Self::start_with(folder, name, |command| {
            command.args(["--tls-self-signed", "127.0.0.1", "--tls-write-ca"]).arg(&authority);
            configure(command);
        });
        webhook.authority = fs::read_to_string(authority).expect("--tls-write-ca wrote its file before it was ready");
        webhook
    }

    /// Starts the webhook with the arguments and environment variables of `configure`, and waits until it is ready. The
    /// caller sets the certificate.
    pub(crate) fn start_with(folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Self {
        Self::start_on("127.0.0.1:0", folder, name, configure)
    }

    /// Starts the webhook on another address.
    pub(crate) fn start_on(listen: &str, folder: &Path, name: &str, configure: impl FnOnce(&mut Command)) -> Self {
        let addresses = folder.join(format!("{name}.addresses.json"));
        // An earlier process with this name may have written the file.
        let _ = fs::remove_file(&addresses);
        let log = folder.join(format!("{name}.log"));
        let mut process = Process::spawn(Path::new(env!("CARGO_BIN_EXE_sidecar-injector")), &log, |command| {
            clean_environment(command);
            // On a busy machine, a request can take long. Tests of deadlines set the flag.
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

    /// The address of the TLS port.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until the process has ended. Returns the exit status.
    pub(crate) fn ended(&mut self) -> std::process::ExitStatus {
        wait::until("the webhook to end", || self.process.exited().ok_or_else(|| "still running".to_owned())).0
    }

    /// The status and the text of the readiness page; `None` if the port is closed.
    pub(crate) fn readiness(&self) -> Option<(u16, String)> {
        http::get(self.admin, "/readyz").ok()
    }

    /// The base URL of the TLS port.
    pub(crate) fn base_url(&self) -> String {
        format!("https://{}", self.listen)
    }

    /// The URL of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base_url())
    }

    /// The URL for reviews.
    pub(crate) fn url(&self) -> String {
        format!("{}/mutate", self.base_url())
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// The status and the text of the metrics page.
    pub(crate) fn metrics(&self) -> (u16, String) {
        http::get(self.admin, "/metrics").expect("read /metrics")
    }

    /// Sets the log level. Returns the status and the text of the answer.
    pub(crate) fn set_log_level(&self, level: &str) -> (u16, String) {
        http::send(self.admin, "PUT", "/log-level", level).expect("an answer")
    }

    /// The number of answered reviews whose metric line contains `labels`, for example `reason="NotRequested"`. An
    /// empty string counts all.
    pub(crate) fn answered(&self, labels: &str) -> u64 {
        let (_, page) = self.metrics();
        let lines = page.lines().filter(|line| line.starts_with("sidecar_injector_admission_requests_total"));
        let counts = lines.filter(|line| line.contains(labels)).filter_map(|line| line.rsplit(' ').next());
        counts.filter_map(|count| count.parse::<u64>().ok()).sum()
    }
}

/// Returns the addresses if they are known and `/readyz` returns 200.
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

/// Removes the variables of the user from the environment of the webhook.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let variable = name.to_string_lossy();
        if variable.starts_with("SIDECAR_INJECTOR_") || variable == "KUBECONFIG" || variable == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
}
