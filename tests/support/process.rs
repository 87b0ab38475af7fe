//! A child process. Its output goes to a log file. It is killed when it is dropped. The kernel kills it if the test
//! process is killed.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use tokio::net::{TcpListener, TcpSocket};

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`. `configure` adds arguments and environment variables. Stdout and stderr are appended to `log`.
    pub(crate) fn spawn(program: &Path, log: &Path, configure: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = supervised(program);
        configure(&mut command);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display())))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The exit status, if the process has ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGTERM, as kubelet does.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "send SIGTERM");
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The output so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of the log, for error messages.
    pub(crate) fn last_lines(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        format!("{}:\n{}", self.log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates a command that the kernel kills when the thread that started it ends. This needs `setpriv` (Linux). Without
/// `setpriv`, child processes continue if the test process is killed. They still end if it ends normally or a test
/// fails.
fn supervised(program: &Path) -> Command {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    let death_signal = ["--pdeathsig", "KILL"];
    let available = *AVAILABLE.get_or_init(|| {
        let trial = Command::new("setpriv").args(death_signal).arg("true").stderr(Stdio::null()).status();
        trial.is_ok_and(|status| status.success())
    });
    if !available {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(death_signal).arg(program);
    command
}

/// Returns a free loopback port. Another process can take it before it is used, so the caller must be able to try
/// another one.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A loopback address that refuses connections. The port is bound without a listener, so no other process can use it.
#[derive(Debug)]
pub(crate) struct RefusingAddress {
    socket: TcpSocket,
}

impl RefusingAddress {
    /// Binds the address; for port 0, a free port.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Closed connections of an earlier listener keep the port in use for a minute.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// Starts to listen. Must be called in a tokio runtime.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(1024)
    }

    /// The address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
