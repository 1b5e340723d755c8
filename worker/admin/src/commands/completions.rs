//! `worker completions`: scripts for shells.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::terminal::Exit;

/// For which shell.
#[derive(Debug, Args)]
pub struct Options {
    /// Your shell. For bash, a line of ~/.bashrc: `source <(worker completions bash)`.
    #[arg(value_enum)]
    shell: Shell,
}

#[must_use]
pub fn run<C: CommandFactory>(name: &str, options: &Options) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut C::command(), name, &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => Exit::Done.into(),
        // The reader closed the pipe: nothing to report.
        Err(_) => Exit::Failed.into(),
    }
}
