//! `ingress completions`: scripts for shells.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct Options {
    /// Your shell. For bash, a line of ~/.bashrc: `source <(ingress completions bash)`.
    #[arg(value_enum)]
    shell: Shell,
}

#[must_use]
pub fn run(options: &Options, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "ingress", &mut script);
    // The reader may have closed the pipe.
    std::io::stdout().write_all(&script).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
