//! `worker redeliver`: asks the providers to send again what never reached us.
//!
//! GitHub keeps the deliveries of a hook for three days, Taiga the last ten. What was answered with a 2xx once is
//! left alone; of the rest each is asked for once, oldest first. What had arrived after all is recognised.

mod github;
mod taiga;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use shared::ids::Project;
use shared::source::Source;

use super::ours::{UrlArgs, is_ours, looks_ours};
use super::remote::{Halt, RemoteArgs};
use super::terminal::{Exit, Output, Progress, counted, finish, say};

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

/// What both have.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    url: UrlArgs,
    /// With whose token or account; without it the default one, or the only one there is.
    #[arg(long)]
    prj: Option<Project>,
    /// Say what would be asked for and ask for nothing.
    #[arg(long)]
    dry_run: bool,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    remote: RemoteArgs,
}

impl Common {
    fn is_ours(&self, source: Source, address: &str) -> bool {
        self.url.public_url.as_ref().map_or_else(|| looks_ours(source, address), |base| is_ours(base, address))
    }

    /// Progress over the deliveries of a hook that are asked for.
    fn asking(&self, hook: &str, lost: usize) -> Progress {
        Progress::new(format!("{}: asked for", hook.trim_start_matches('/')), "deliveries", lost as u64)
    }

    fn head(&self) {
        if self.output == Output::Table {
            let asked = if self.dry_run { "would ask again" } else { "asked again" };
            say(format_args!("{:<50}  {:>6}  {:>9}  {asked:>15}  {:>7}", "hook", "sent", "delivered", "refused"));
        }
    }

    fn line(&self, hook: &str, tally: &Tally) {
        let Tally { sent, delivered, asked, refused } = tally;
        match self.output {
            Output::Table => say(format_args!("{hook:<50}  {sent:>6}  {delivered:>9}  {asked:>15}  {refused:>7}")),
            Output::Json => say(json!({
                "hook": hook, "sent": sent, "delivered": delivered, "asked_again": asked, "refused": refused,
                "dry_run": self.dry_run,
            })),
        }
    }
}

/// What became of a hook's deliveries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Different ones; a delivery and its redeliveries are one.
    sent: usize,
    /// Answered with a 2xx at least once.
    delivered: usize,
    /// Asked for again now.
    asked: usize,
    /// The provider does not send these again.
    refused: usize,
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let ended = match &options.from {
            From::Github(options) => github::run(options).await,
            From::Taiga(options) => taiga::run(options).await,
        };
        let again = "what was asked for is sent; the same command asks for the rest";
        match ended {
            Ok(0) => Ok(Exit::Done),
            Ok(refused) => Err(format!(
                "not sent again: {}; read above of which hook, and whether it was deleted or is too old",
                counted(refused as u64, "delivery", "deliveries")
            )),
            Err(halt) => Halt::end(halt, again),
        }
    })
    .await
}
