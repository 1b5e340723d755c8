//! `worker dead-letters`: lists what could not be processed, publishes it again, removes it.

mod list;
mod purge;
mod redrive;

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use shared::envelope::header;
use shared::ids::Project;
use shared::topology::{StreamName, Topology};

use crate::streams::ConnectArgs;
use crate::streams::scan::Stored;
use crate::terminal::{Exit, Output, finish};
use worker_core::pipeline::dead_letter;
use worker_event::reason::Reason;

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

#[derive(Debug, Args)]
struct Filter {
    /// Only those with this reason.
    #[arg(long, value_parser = reasons())]
    reason: Option<Reason>,
    /// Only those of this project.
    #[arg(long)]
    prj: Option<Project>,
}

fn reasons() -> impl TypedValueParser<Value = Reason> {
    PossibleValuesParser::new(Reason::ALL.map(Reason::as_str))
        .map(|word| Reason::ALL.into_iter().find(|reason| reason.as_str() == word).unwrap_or(Reason::Unreadable))
}

#[derive(Debug, Args)]
struct Chosen {
    #[command(flatten)]
    filter: Filter,
    /// These; may be repeated.
    #[arg(long)]
    id: Vec<u64>,
    /// All of them.
    #[arg(long, required_unless_present_any = ["id", "reason", "prj"])]
    all: bool,
}

impl Filter {
    /// Their subjects: reason and project are in them.
    fn subject(&self, topology: &Topology) -> String {
        topology.dead_filter(self.reason.map(Reason::as_str), self.prj.as_ref())
    }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let Options { output, connect, action } = options;
        let connection = connect.open().await?;
        let stream = connection.stream(StreamName::Dead).await?;
        let topology = &connection.topology;
        match action {
            Action::List { filter } => list::list(&stream, &filter.subject(topology), output).await?,
            Action::Show { id } => list::show(&stream, id, output).await?,
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

/// A dead letter as JSON, without its payload.
fn json_of(letter: &Stored) -> Map<String, Value> {
    let number = |name| letter.header(name).parse::<u64>().ok();
    let fields = json!({
        "id": letter.sequence, "at": letter.header(dead_letter::AT), "reason": letter.header(dead_letter::REASON),
        "prj": letter.header(header::PROJECT), "attempts": number(dead_letter::ATTEMPTS),
        "source": letter.header(header::SOURCE), "event": letter.header(header::EVENT),
        "delivery": letter.header(header::DELIVERY), "sequence": number(dead_letter::SEQUENCE),
        "error": letter.header(dead_letter::ERROR),
    });
    fields.as_object().cloned().unwrap_or_default()
}
