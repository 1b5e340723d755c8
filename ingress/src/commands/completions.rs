//! `ingress completions`: scripts for shells.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// For which shell.
#[derive(Debug, Args)]
pub struct Options {
    /// Your shell. For bash, a line of ~/.bashrc: `source <(ingress completions bash)`.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "ingress", &mut script);
    // A reader who has gone does not want it.
    std::io::stdout().write_all(&script).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
