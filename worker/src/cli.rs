//! The command line: a list of subcommands, each with a module in `worker_admin::commands`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use worker_admin::commands::{
    backfill, completions, config_check, dead_letters, doctor, events, forget, healthcheck, hooks, migrate, reconcile,
    redeliver, replay, secrets, send_test, team_links,
};
use worker_admin::terminal::exit;
use worker_reconcile::config::RunArgs;

use crate::run;

/// LD Connect's worker: turns webhooks waiting in JetStream into MongoDB documents and notifies LD Eval.
///
/// Without a command it is `worker run`, whose --help lists the settings.
#[derive(Debug, Parser)]
#[command(version = shared::version::version(), name = "worker", after_help = exit::HELP)]
pub struct Command {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Process events until stopped: consume, store, notify; also without a command.
    Run(Box<RunArgs>),
    /// Copy what the Python service stored into our collections.
    Migrate(Box<migrate::Options>),
    /// Process again what the event stream still holds: after a lost database, or a fixed bug.
    Replay(Box<replay::Options>),
    /// List what could not be processed, redrive it, remove it.
    DeadLetters(Box<dead_letters::Options>),
    /// Remove chosen events, such as forged ones, and what they wrote.
    Events(Box<events::Options>),
    /// Remove a project's data, or a person from a project.
    Forget(Box<forget::Options>),
    /// Check everything a person would check by hand; exit code 0 when all is well, 1 when not.
    Doctor(Box<doctor::Options>),
    /// Reconcile one project with a place at GitHub or Taiga: for a team that comes late.
    Backfill(Box<backfill::Options>),
    /// Make documents show what GitHub and Taiga show, of one team or of all; `worker run` does it every night.
    Reconcile(Box<reconcile::Options>),
    /// Ask GitHub or Taiga to redeliver what never reached us.
    Redeliver(Box<redeliver::Options>),
    /// List, create, fix and remove our hooks at GitHub and Taiga.
    Hooks(Box<hooks::Options>),
    /// Print a team's keys and payload URLs, to paste into its hooks and its sheet.
    Secrets(Box<secrets::Options>),
    /// Print the links to teams' check pages, also as CSV and QR codes.
    TeamLinks(Box<team_links::Options>),
    /// Send a test delivery as a team's sender would, follow it to LD Eval, and take it away again.
    SendTest(Box<send_test::Options>),
    /// Ask a running worker's /healthz; exit 0 when it is well, 1 when not.
    Healthcheck(healthcheck::Options),
    /// Check the settings.
    #[command(subcommand)]
    Config(config_check::ConfigCommand),
    /// Print a script that completes this command line; `--help` says where it goes.
    Completions(completions::Options),
}

impl Command {
    /// Runs the chosen subcommand.
    pub async fn run(self) -> ExitCode {
        match self.command {
            Sub::Run(options) => run::run(*options).await,
            Sub::Migrate(options) => migrate::run(*options).await,
            Sub::Replay(options) => replay::run(*options).await,
            Sub::DeadLetters(options) => dead_letters::run(*options).await,
            Sub::Events(options) => events::run(*options).await,
            Sub::Forget(options) => forget::run(*options).await,
            Sub::Doctor(options) => doctor::run(*options).await,
            Sub::Backfill(options) => backfill::run(*options).await,
            Sub::Reconcile(options) => reconcile::run(*options).await,
            Sub::Redeliver(options) => redeliver::run(*options).await,
            Sub::Hooks(options) => hooks::run(*options).await,
            Sub::Secrets(options) => secrets::run(*options).await,
            Sub::TeamLinks(options) => team_links::run(*options).await,
            Sub::SendTest(options) => send_test::run(*options).await,
            Sub::Healthcheck(options) => healthcheck::run(options).await,
            Sub::Config(config) => config_check::run(config).await,
            Sub::Completions(options) => completions::run::<Self>("worker", &options),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_argument_is_explained_and_a_commands_own_stand_first() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{path} does not explain {}", arg.get_id());
                // A heading of the help holds for everything declared behind it.
                let own = ["prj", "output", "dry_run", "yes"].contains(&arg.get_id().as_str());
                assert!(
                    !own || arg.get_help_heading().is_none(),
                    "{path}: declare {} before what is flattened",
                    arg.get_id()
                );
            }
            command.get_subcommands().for_each(|sub| walk(sub, &path));
        }
        walk(&<super::Command as clap::CommandFactory>::command(), "");
    }

    #[test]
    fn the_command_line_is_consistent() {
        <super::Command as clap::CommandFactory>::command().debug_assert();
    }
}
