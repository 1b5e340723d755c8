//! The command line.

pub mod run;
pub mod healthcheck;
pub mod config_check;
pub mod completions;

use clap::{Parser, Subcommand};

use crate::config::Settings;

/// Receives the webhooks of GitHub, Taiga and Google Sheets and queues them in JetStream.
#[derive(Debug, Parser)]
#[command(name = "ingress", version = shared::version::version(), args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `run` when none is given.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of `run`, when no command is given.
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receives webhooks until SIGTERM or SIGINT.
    Run(Box<Settings>),
    /// Asks a running ingress whether it is alive; exit code 0 or 1.
    Healthcheck(healthcheck::Options),
    /// Checks the settings.
    #[command(subcommand)]
    Config(config_check::Config),
    /// Prints a script that completes this command line.
    Completions(completions::Options),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_with_or_without_run() {
        let plain = Cli::try_parse_from(["ingress", "--bind-addr", "127.0.0.1:0"]).unwrap();
        assert!(plain.command.is_none() && plain.settings.bind_addr.port() == 0);
        let run = Cli::try_parse_from(["ingress", "run", "--bind-addr", "127.0.0.1:0"]).unwrap();
        assert!(matches!(run.command, Some(Command::Run(settings)) if settings.bind_addr.port() == 0));
        assert!(Cli::try_parse_from(["ingress", "config", "check"]).is_ok());
        assert!(Cli::try_parse_from(["ingress", "--bind-addr", "127.0.0.1:0", "run"]).is_err());
    }
}
