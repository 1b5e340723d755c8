//! `worker events`: what came and what became of it, and taking chosen events out of the stream.

mod chosen;
mod line;
mod list;
mod remove;
mod show;
mod tail;

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
    /// List the newest deliveries, accepted and refused, and what became of each.
    #[command(after_help = list::EXAMPLES)]
    List(Box<list::Options>),
    /// Show one delivery: its headers, the documents that it concerns, its notifications, its dead letter.
    #[command(after_help = show::EXAMPLES)]
    Show(Box<show::Options>),
    /// Follow deliveries as they come: one line each, once it is known what became of it.
    #[command(after_help = tail::EXAMPLES)]
    Tail(Box<tail::Options>),
    /// Remove chosen events from LD_EVENTS and LD_DEAD, and the documents that they wrote or changed. Then
    /// `worker replay` rebuilds those documents from the events that are left.
    #[command(after_help = remove::EXAMPLES)]
    Remove(Box<remove::Options>),
}

pub async fn run(options: Options) -> ExitCode {
    match options.action {
        Action::List(options) => finish(async move { list::run(*options).await.map(|()| Exit::Done) }).await,
        Action::Show(options) => finish(async move { show::run(*options).await.map(|()| Exit::Done) }).await,
        Action::Tail(options) => finish(async move { tail::run(*options).await.map(|()| Exit::Done) }).await,
        Action::Remove(options) => {
            init_logs(&options.logs);
            finish(async move {
                let interrupt = Interrupt::listen();
                let go_on =
                    "what was removed stays removed; run the same command again for the rest, then `worker replay`";
                remove::run(&options, &interrupt).await.map_err(|error: CommandError| error.going_on(go_on))?;
                Ok(Exit::Done)
            })
            .await
        }
    }
}
