//! The command line: one file per subcommand, each with `Options` and `run`.

pub mod run;
pub mod replay;
pub mod dead_letters;
pub mod remote;
pub mod backfill;
pub mod ours;
pub mod redeliver;
pub mod hooks;
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
    /// Process again what the event stream still holds: after a lost database, or a mended bug.
    Replay(Box<replay::Options>),
    /// Look at what could not be processed, send it again, throw it away.
    DeadLetters(Box<dead_letters::Options>),
    /// Bring documents up to what GitHub and Taiga say now: after an outage, or for a team that comes late.
    Backfill(Box<backfill::Options>),
    /// Ask GitHub or Taiga to send again what never reached us.
    Redeliver(Box<redeliver::Options>),
    /// See, make, mend and remove our hooks at GitHub and Taiga.
    Hooks(Box<hooks::Options>),
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
            Sub::Replay(options) => replay::run(*options).await,
            Sub::DeadLetters(options) => dead_letters::run(*options).await,
            Sub::Backfill(options) => backfill::run(*options).await,
            Sub::Redeliver(options) => redeliver::run(*options).await,
            Sub::Hooks(options) => hooks::run(*options).await,
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
