//! A child process that cannot be left behind: its output goes to a log file, it is killed by its
//! own pid when dropped, and by the kernel when the test process itself is killed.

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
    /// Starts `program`; `configure` adds arguments and environment. Both output streams are
    /// appended to `log`.
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

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, as the kubelet does.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "send SIGTERM");
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has printed so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for error messages.
    pub(crate) fn last_lines(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        format!("{}:\n{}", self.log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that the kernel kills when the thread that started it ends, where `setpriv` exists
/// (Linux). Without it a test run that is itself killed leaves its children behind; an ordinary end,
/// also a failing one, never does.
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

/// A loopback port that was free a moment ago. Another process may take it before it is used, so
/// the caller must be ready to try another one.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A loopback address that refuses connections. It is bound and nothing listens, so no other process gets the port
/// while this lives.
#[derive(Debug)]
pub(crate) struct RefusingAddress {
    socket: TcpSocket,
}

impl RefusingAddress {
    /// Holds this address, or a free port for port 0.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Connections that a listener had there count for a minute after its end.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// Listens there. Needs a runtime around it.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(1024)
    }

    /// The address.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
