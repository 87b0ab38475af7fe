//! The ways in which a command fails, and with them the exit codes of the program.

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// Invalid arguments: exit code 2.
    Usage(String),
    /// Problems in the input or the installation, ready to print: exit code 1.
    Found(String),
    /// An error with files or the cluster: exit code 3.
    Io(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Io(error)
    }
}
