//! `worker dead-letters`: look at what could not be processed, send it again, throw it away.
//!
//! Sending again means publishing the original bytes to the subject they came from; the pipeline does the
//! rest. `LD-Origin-Sequence` keeps the event's place among events of the same instant.

use std::process::ExitCode;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use clap::{Args, Subcommand};
use serde_json::json;
use shared::envelope::header;
use shared::ids::Project;
use shared::publish::{Outgoing, Publisher};
use shared::topology::StreamName;

use super::terminal::{ConnectArgs, Connection, Exit, Output, finish, say, tell};
use crate::dead_letter;

/// What to do with dead letters.
#[derive(Debug, Args)]
pub struct Options {
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
        /// table for people, json for scripts.
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
    },
    /// Show one: its headers and its payload.
    Show {
        /// The number in the first column of `list`.
        id: u64,
    },
    /// Send them again, after their cause is mended; each leaves the list once it is queued.
    Redrive {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many a second.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rate: Option<u32>,
        /// Say what would be sent and send nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Throw away the old ones. Their events are then only in LD_EVENTS, while that still holds them.
    Purge {
        /// How old, such as 30d.
        #[arg(long, value_parser = humantime::parse_duration)]
        older_than: Duration,
        /// Really do it; without it the number is told and nothing is removed.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
struct Filter {
    /// Only those with this reason, such as unreadable.
    #[arg(long)]
    reason: Option<String>,
    /// Only those of this project.
    #[arg(long)]
    prj: Option<Project>,
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
    fn matches(&self, letter: &Letter) -> bool {
        self.reason.as_ref().is_none_or(|reason| *reason == letter.get(dead_letter::REASON))
            && self.prj.as_ref().is_none_or(|prj| prj.as_str() == letter.get(header::PROJECT))
    }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let connection = options.connect.open().await?;
        let stream = connection.jetstream.get_stream(connection.topology.stream(StreamName::Dead)).await;
        let stream = stream.map_err(|error| format!("the dead letters cannot be read: {error}"))?;
        match options.action {
            Action::List { filter, output } => list(&stream, &filter, output).await,
            Action::Show { id } => show(&stream, id).await,
            Action::Redrive { chosen, rate, dry_run } => redrive(&connection, &stream, &chosen, rate, dry_run).await,
            Action::Purge { older_than, yes } => purge(&stream, older_than, yes).await,
        }
    })
    .await
}

/// One message of `LD_DEAD`.
struct Letter(StreamMessage);

impl Letter {
    fn id(&self) -> u64 {
        self.0.sequence
    }

    fn get(&self, name: &str) -> &str {
        self.0.headers.get(name).map_or("", |value| value.as_str())
    }
}

/// The letter with the lowest id from `from` on; `None` at the end.
async fn next(stream: &Stream, from: u64) -> Result<Option<Letter>, String> {
    let (first, last) = (stream.cached_info().state.first_sequence, stream.cached_info().state.last_sequence);
    for id in from.max(first)..=last {
        match stream.get_raw_message(id).await {
            Ok(message) => return Ok(Some(Letter(message))),
            Err(error) if error.to_string().contains("no message found") => {}
            Err(error) => return Err(format!("dead letter {id} cannot be read: {error}")),
        }
    }
    Ok(None)
}

async fn list(stream: &Stream, filter: &Filter, output: Output) -> Result<Exit, String> {
    if output == Output::Table {
        say(format_args!(
            "{:>8}  {:<24}  {:<14}  {:<18}  {:>8}  error",
            "id", "given up at", "reason", "project", "attempts"
        ));
    }
    let mut from = 0;
    while let Some(letter) = next(stream, from).await? {
        from = letter.id() + 1;
        if !filter.matches(&letter) {
            continue;
        }
        let (at, reason, prj) =
            (letter.get(dead_letter::AT), letter.get(dead_letter::REASON), letter.get(header::PROJECT));
        let (attempts, error) = (letter.get(dead_letter::ATTEMPTS), letter.get(dead_letter::ERROR));
        match output {
            Output::Table => {
                let short: String = error.chars().take(100).collect();
                say(format_args!("{:>8}  {at:<24}  {reason:<14}  {prj:<18}  {attempts:>8}  {short}", letter.id()));
            }
            Output::Json => say(json!({
                "id": letter.id(), "at": at, "reason": reason, "prj": prj, "attempts": attempts.parse::<u64>().ok(),
                "source": letter.get(header::SOURCE), "event": letter.get(header::EVENT),
                "delivery": letter.get(header::DELIVERY), "sequence": letter.get(dead_letter::SEQUENCE).parse::<u64>().ok(),
                "error": error,
            })),
        }
    }
    Ok(Exit::Done)
}

async fn show(stream: &Stream, id: u64) -> Result<Exit, String> {
    let letter = next(stream, id).await?.filter(|letter| letter.id() == id);
    let letter = letter
        .ok_or_else(|| format!("there is no dead letter {id}; `worker dead-letters list` shows those there are"))?;
    let mut headers: Vec<_> = letter
        .0
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}: {}", value.as_str())))
        .collect();
    headers.sort();
    headers.iter().for_each(say);
    say("");
    let payload = shared::envelope::payload(&letter.0.headers, &letter.0.payload)
        .map_err(|error| format!("the payload cannot be shown: {error}"))?;
    say(String::from_utf8_lossy(&payload));
    Ok(Exit::Done)
}

async fn redrive(
    connection: &Connection,
    stream: &Stream,
    chosen: &Chosen,
    rate: Option<u32>,
    dry_run: bool,
) -> Result<Exit, String> {
    let publisher = Publisher::new(connection.client.clone());
    let pause = rate.map(|rate| Duration::from_secs(1) / rate);
    let (mut sent, mut from) = (0_u64, 0);
    while let Some(letter) = next(stream, from).await? {
        from = letter.id() + 1;
        let wanted = chosen.all
            || if chosen.id.is_empty() { chosen.filter.matches(&letter) } else { chosen.id.contains(&letter.id()) };
        if !wanted {
            continue;
        }
        if dry_run {
            say(format_args!("would send dead letter {} again to {}", letter.id(), letter.get(dead_letter::SUBJECT)));
            continue;
        }
        let failed = |error: &dyn std::fmt::Display| {
            format!("dead letter {} could not be sent again: {error}; {sent} were", letter.id())
        };
        publisher.publish(original(&letter)).await.map_err(|error| failed(&error))?;
        // Only now: a letter that is removed first is lost when the connection breaks.
        stream.delete_message(letter.id()).await.map_err(|error| failed(&error))?;
        sent += 1;
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = tokio::signal::ctrl_c() => {
                    tell(format_args!("interrupted: {sent} were sent again; run the same command for the rest"));
                    return Ok(Exit::Interrupted);
                }
            }
        }
    }
    if !dry_run {
        tell(format_args!("sent {sent} dead letters again"));
    }
    Ok(Exit::Done)
}

/// The message as it was before it died.
fn original(letter: &Letter) -> Outgoing {
    let mut headers = HeaderMap::new();
    for (name, values) in letter.0.headers.iter() {
        let text = name.to_string();
        if !text.starts_with("Nats-") && !text.starts_with(dead_letter::PREFIX) {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
    }
    if headers.get(header::SOURCE).is_some() {
        if headers.get(header::ORIGIN_SEQUENCE).is_none() {
            headers.insert(header::ORIGIN_SEQUENCE, letter.get(dead_letter::SEQUENCE));
        }
        // Not the original id: within ten minutes the server would drop the message as a duplicate. This
        // one makes a command that is run twice harmless.
        headers.insert(header::MSG_ID, format!("redrive:{}", letter.id()).as_str());
    }
    Outgoing { subject: letter.get(dead_letter::SUBJECT).to_owned(), headers, payload: letter.0.payload.clone() }
}

async fn purge(stream: &Stream, older_than: Duration, yes: bool) -> Result<Exit, String> {
    let older_than = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
    let before = shared::time::rfc3339(shared::time::now_ms().saturating_sub(older_than));
    let (mut removed, mut from) = (0_u64, 0);
    while let Some(letter) = next(stream, from).await? {
        from = letter.id() + 1;
        // Same shape and zone: the texts compare as the instants do.
        if letter.get(dead_letter::AT) >= before.as_str() {
            continue;
        }
        if yes {
            let gone = stream.delete_message(letter.id()).await;
            gone.map_err(|error| format!("dead letter {} could not be removed: {error}", letter.id()))?;
        }
        removed += 1;
    }
    if yes {
        tell(format_args!("removed {removed} dead letters given up before {before}"));
    } else {
        tell(format_args!("{removed} dead letters were given up before {before}; add --yes to remove them"));
    }
    Ok(Exit::Done)
}
