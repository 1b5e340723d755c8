//! `worker redeliver`: asks the providers to redeliver what never reached us.
//!
//! GitHub keeps the deliveries of a hook for three days, Taiga the last ten. A delivery that got a 2xx once is left
//! alone. Of the others each is requested once, oldest first. A redelivery that had arrived after all is a duplicate.

mod github;
mod taiga;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use shared::ids::Project;
use shared::source::Source;

use crate::args::hook_url::{PublicUrlArgs, is_ours, looks_ours};
use crate::clients::ClientArgs;
use crate::terminal::{Column, CommandError, Exit, Output, Progress, Table, Tally, finish, print_json};

/// How often the request for one redelivery is sent, before it counts as failed.
const ATTEMPTS: u32 = 3;

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
struct RedeliverArgs {
    #[command(flatten)]
    url: PublicUrlArgs,
    /// With whose token or account; without it the default one, or the only one there is.
    #[arg(long)]
    prj: Option<Project>,
    /// Print what would be requested and request nothing.
    #[arg(long)]
    dry_run: bool,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    clients: ClientArgs,
}

impl RedeliverArgs {
    fn is_ours(&self, source: Source, address: &str) -> bool {
        self.url.public_url.as_ref().map_or_else(|| looks_ours(source, address), |base| is_ours(base, address))
    }

    /// Progress over the deliveries of a hook that are requested.
    fn requesting(&self, hook: &str, lost: usize) -> Progress {
        Progress::new(format!("{}: requested", hook.trim_start_matches('/')), "deliveries", lost as u64)
    }
}

/// What became of a hook's deliveries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Different ones; a delivery and its redeliveries are one.
    sent: usize,
    /// Answered with a 2xx at least once.
    delivered: usize,
    /// Requested again now.
    asked: usize,
    /// The provider did not redeliver these.
    failed: usize,
}

/// What was done, hook by hook.
struct Report<'a> {
    args: &'a RedeliverArgs,
    table: Table,
    hooks: usize,
    /// Deliveries that were requested.
    tally: Tally,
    /// Lists of hooks and deliveries that were read.
    reads: Tally,
}

impl<'a> Report<'a> {
    fn new(args: &'a RedeliverArgs) -> Self {
        let asked = if args.dry_run { "would ask again" } else { "asked again" };
        let numbers = ["sent", "delivered", asked, "failed"].map(Column::Right);
        let columns: Vec<Column> = std::iter::once(Column::Left("hook")).chain(numbers).collect();
        Self {
            args,
            table: Table::new(&columns),
            hooks: 0,
            tally: Tally::of("delivery", "deliveries"),
            reads: Tally::of("list", "lists"),
        }
    }

    fn hook(&mut self, hook: &str, counts: &Counts) {
        let Counts { sent, delivered, asked, failed } = counts;
        self.hooks += 1;
        match self.args.output {
            Output::Table => self.table.row(&[&hook, sent, delivered, asked, failed]),
            Output::Json => print_json(&json!({
                "hook": hook, "sent": sent, "delivered": delivered, "asked_again": asked, "failed": failed,
                "dry_run": self.args.dry_run,
            })),
        }
    }

    /// Prints the table, also when it ended early.
    fn end(self, ended: Result<(), CommandError>, none: CommandError) -> Result<(), CommandError> {
        if self.args.output == Output::Table && self.hooks > 0 {
            self.table.print();
        }
        ended?;
        if self.hooks == 0 && self.reads.failed() == 0 {
            return Err(none);
        }
        self.tally.end("The lines above say which; the same command requests them again")?;
        self.reads.end("The lines above say which; the same command reads them again")
    }
}

/// Runs the command.
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
