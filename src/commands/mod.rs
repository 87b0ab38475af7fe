//! The command line: the arguments of the program, and one module per subcommand.
//!
//! Data goes to stdout, everything else to stderr. Commands connect the other modules; they do not decide on pods
//! themselves.

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
    /// Check that the webhook works in a cluster, and report what is wrong
    Doctor(Box<doctor::DoctorArgs>),
    /// Check templates, and manifests that request them
    Lint(Box<lint::LintArgs>),
    /// Print the JSON Schema of templates, for editors
    Schema,
    /// Print the decision for each pod in manifests, and every check behind it
    Why(Box<why::WhyArgs>),
    /// Run the webhook
    Serve(Box<serve::ServeArgs>),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// See [`Failure`]. Arguments that do not parse have already ended the program with exit code 2.
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

/// Prints the JSON Schema of templates.
fn print_schema() -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(&crate::inject::authoring::schema::template()).map_err(anyhow::Error::from)?;
    println!("{text}");
    Ok(())
}
