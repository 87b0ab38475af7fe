//! The program: parses the arguments, runs one command, and turns its result into an exit code.

use std::process::ExitCode;

use clap::Parser;
use sidecar_injector::commands::{Arguments, Failure};

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Found(problems)) => {
            eprintln!("{}", problems.trim_end());
            ExitCode::from(1)
        }
        Err(Failure::Usage(why)) => {
            eprintln!("error: {why}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
        Err(Failure::Io(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        }
    }
}
