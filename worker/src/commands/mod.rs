//! The command line: one file per subcommand, each with `Options` and `run`.

pub mod run;
pub mod migrate;
pub mod replay;
pub mod dead_letters;
pub mod healthcheck;
pub mod config_check;
pub mod terminal;
pub mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// LD Connect's worker: turns webhooks waiting in JetStream into MongoDB documents and tells LD Eval.
#[derive(Debug, Parser)]
#[command(version, name = "worker")]
pub struct Command {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Work until stopped: consume, store, notify.
    Run(Box<run::Options>),
    /// Bring what the Python service stored into the collections of this one.
    Migrate(Box<migrate::Options>),
    /// Process again what the event stream still holds: after a lost database, or a mended bug.
    Replay(Box<replay::Options>),
    /// Look at what could not be processed, send it again, throw it away.
    DeadLetters(Box<dead_letters::Options>),
    /// Ask a running worker's /healthz; exit 0 when it is well, 1 when not.
    Healthcheck(healthcheck::Options),
    /// Look at the settings.
    #[command(subcommand)]
    Config(config_check::Config),
}

impl Command {
    /// Runs the chosen subcommand.
    pub async fn run(self) -> ExitCode {
        match self.command {
            Sub::Run(options) => run::run(*options).await,
            Sub::Migrate(options) => migrate::run(*options).await,
            Sub::Replay(options) => replay::run(*options).await,
            Sub::DeadLetters(options) => dead_letters::run(*options).await,
            Sub::Healthcheck(options) => healthcheck::run(options).await,
            Sub::Config(config) => config_check::run(config),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        <super::Command as clap::CommandFactory>::command().debug_assert();
    }
}
