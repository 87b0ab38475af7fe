//! The command line: one file per subcommand. Data goes to stdout, everything else to stderr.

use clap::{Parser, Subcommand};

mod common;
mod doctor;
mod failure;
mod inject;
mod lint;
mod serve;
mod why;

pub use failure::Failure;

/// Adds sidecars to Kubernetes pods.
#[derive(Debug, Parser)]
#[command(name = "sidecar-injector", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add sidecars to manifests, as the webhook would
    Inject(Box<inject::InjectArgs>),
    /// Look whether the webhook in a cluster works, and where it does not
    Doctor(Box<doctor::DoctorArgs>),
    /// Check templates, and manifests that ask for them
    Lint(Box<lint::LintArgs>),
    /// Print the JSON Schema of templates, for editors
    Schema,
    /// Tell what is decided on the pods of manifests, and on what evidence
    Why(Box<why::WhyArgs>),
    /// Run the webhook
    Serve(Box<serve::ServeArgs>),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`]; wrong usage ends the program with exit code 2 before.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Inject(args) => inject::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Lint(args) => lint::run(&args),
            Command::Why(args) => why::run(&args),
            Command::Schema => print_schema(),
            Command::Serve(args) => serve::run(*args),
        }
    }
}

fn print_schema() -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(&crate::inject::authoring::schema::template()).map_err(anyhow::Error::from)?;
    println!("{text}");
    Ok(())
}
