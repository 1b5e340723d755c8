//! `worker events`: takes chosen events out of the stream.

mod remove;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::terminal::{CommandError, Exit, Interrupt, finish, init_logs};

/// What to do with events.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Remove chosen events from LD_EVENTS and LD_DEAD, and the documents that they wrote or changed. Then
    /// `worker replay` rebuilds those documents from the events that are left.
    #[command(after_help = remove::EXAMPLES)]
    Remove(Box<remove::Options>),
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    let Action::Remove(options) = options.action;
    init_logs(&options.logs);
    finish(async move {
        let interrupt = Interrupt::listen();
        let go_on = "what was removed stays removed; run the same command again for the rest, then `worker replay`";
        remove::run(&options, &interrupt).await.map_err(|error: CommandError| error.going_on(go_on))?;
        Ok(Exit::Done)
    })
    .await
}
