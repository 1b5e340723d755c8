//! `worker dead-letters`: lists, redrives and removes dead letters.

mod filter;
mod list;
mod purge;
mod redrive;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use shared::topology::StreamName;

use self::filter::{Chosen, Filter};
use crate::streams::ConnectArgs;
use crate::terminal::{Exit, Output, finish};

/// What to do with dead letters.
#[derive(Debug, Args)]
pub struct Options {
    /// table for people, json for scripts (one object a line).
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
    },
    /// Show one: its headers and its payload.
    Show {
        /// The number in the first column of `list`.
        id: u64,
    },
    /// Publish them again, after their cause is fixed; each leaves the list once its event is stored.
    Redrive {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many a second.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Print what would be published and publish nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the old ones. Their events are then only in LD_EVENTS, while that still holds them.
    Purge {
        #[command(flatten)]
        filter: Filter,
        /// How old, such as 30d.
        #[arg(long, value_parser = humantime::parse_duration)]
        older_than: Duration,
        /// Really do it; without it the number is printed and nothing is removed.
        #[arg(long, conflicts_with = "dry_run")]
        yes: bool,
        /// Print how many would be removed and remove none; the same as leaving out --yes.
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let Options { output, connect, action } = options;
        let connection = connect.open().await?;
        let stream = connection.stream(StreamName::Dead).await?;
        let topology = &connection.topology;
        match action {
            Action::List { filter } => list::list(&stream, &filter.subject(topology), output).await?,
            Action::Show { id } => list::show(&stream, &topology.all_of(StreamName::Dead), id, output).await?,
            Action::Redrive { chosen, rate, dry_run } => {
                redrive::run(&connection, &stream, &chosen, rate, dry_run, output).await?;
            }
            Action::Purge { filter, older_than, yes, .. } => {
                purge::run(&stream, &filter.subject(topology), older_than, yes, output).await?;
            }
        }
        Ok(Exit::Done)
    })
    .await
}
