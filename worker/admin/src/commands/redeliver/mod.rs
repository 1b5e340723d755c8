//! `worker redeliver`: asks the providers to redeliver what never reached us.
//!
//! GitHub keeps the deliveries of a hook for three days, Taiga the last ten. A delivery that got a 2xx once is left
//! alone. Of the others each is requested once, oldest first. A redelivery that had arrived after all is a duplicate.
//! Where the provider does not remember enough, it says so: reconciliation reads the rest.

mod github;
mod report;
mod taiga;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::terminal::{Exit, finish};

/// Whose deliveries.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Deliveries of the hooks of an organisation and its repositories; GitHub keeps three days.
    #[command(after_help = github::EXAMPLES)]
    Github(Box<github::Options>),
    /// Deliveries of a Taiga project's webhooks; Taiga keeps the last ten of each.
    #[command(after_help = taiga::EXAMPLES)]
    Taiga(Box<taiga::Options>),
}

pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let ended = match &options.from {
            From::Github(options) => github::run(options).await,
            From::Taiga(options) => taiga::run(options).await,
        };
        ended.map_err(|error| error.going_on("what was requested is sent; the same command requests the rest"))?;
        Ok(Exit::Done)
    })
    .await
}
