//! `worker dead-letters`: look at what could not be processed, send it again, throw it away.
//!
//! Sending again means publishing the original bytes to the subject they came from; the pipeline does the
//! rest. `LD-Origin-Sequence` keeps the event's place among events of the same instant.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use shared::envelope::header;
use shared::ids::Project;
use shared::publish::{Outgoing, Publisher};
use shared::topology::{StreamName, Topology};

use crate::terminal::{ConnectArgs, Connection, Exit, Interrupt, Output, Progress, count, delete, finish, say, tell};
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
        #[arg(long, conflicts_with = "dry_run")]
        yes: bool,
        /// Say how many would be removed and remove none; the same as leaving out --yes.
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
        let connection = options.connect.open().await?;
        let stream = connection.stream(StreamName::Dead).await?;
        let letters = Letters { last: stream.cached_info().state.last_sequence, stream, output: options.output };
        let all = connection.topology.dead_filter(None, None);
        match options.action {
            Action::List { filter } => letters.list(&filter.subject(&connection.topology)).await,
            Action::Show { id } => letters.show(&all, id).await,
            Action::Redrive { chosen, rate, dry_run } => letters.redrive(&connection, &chosen, rate, dry_run).await,
            Action::Purge { older_than, yes, .. } => letters.purge(&all, older_than, yes).await,
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

    /// Its line in the list, for scripts.
    fn json(&self) -> Map<String, Value> {
        let number = |name| self.get(name).parse::<u64>().ok();
        let fields = json!({
            "id": self.id(), "at": self.get(dead_letter::AT), "reason": self.get(dead_letter::REASON),
            "prj": self.get(header::PROJECT), "attempts": number(dead_letter::ATTEMPTS),
            "source": self.get(header::SOURCE), "event": self.get(header::EVENT),
            "delivery": self.get(header::DELIVERY), "sequence": number(dead_letter::SEQUENCE),
            "error": self.get(dead_letter::ERROR),
        });
        fields.as_object().cloned().unwrap_or_default()
    }
}

/// The stream, up to the letter that was the last when the command began: what is sent again may come back
/// behind it.
struct Letters {
    stream: Stream,
    last: u64,
    output: Output,
}

impl Letters {
    /// The letter with the lowest id from `from` on that has such a subject; `None` at the end.
    async fn next(&self, subject: &str, from: u64) -> Result<Option<Letter>, String> {
        match self.stream.get_first_raw_message_by_subject(subject, from.max(1)).await {
            Ok(message) => Ok(Some(Letter(message)).filter(|letter| letter.id() <= self.last)),
            Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(format!("the dead letters from {from} on cannot be read: {error}; check NATS_URL")),
        }
    }

    async fn list(&self, subject: &str) -> Result<Exit, String> {
        if self.output == Output::Table {
            say(format_args!(
                "{:>8}  {:<24}  {:<14}  {:<18}  {:>8}  error",
                "id", "given up at", "reason", "project", "attempts"
            ));
        }
        let mut from = 0;
        while let Some(letter) = self.next(subject, from).await? {
            from = letter.id() + 1;
            match self.output {
                Output::Table => {
                    let (at, reason) = (letter.get(dead_letter::AT), letter.get(dead_letter::REASON));
                    let (prj, attempts) = (letter.get(header::PROJECT), letter.get(dead_letter::ATTEMPTS));
                    let short: String = letter.get(dead_letter::ERROR).chars().take(100).collect();
                    say(format_args!("{:>8}  {at:<24}  {reason:<14}  {prj:<18}  {attempts:>8}  {short}", letter.id()));
                }
                Output::Json => say(Value::from(letter.json())),
            }
        }
        Ok(Exit::Done)
    }

    async fn show(&self, all: &str, id: u64) -> Result<Exit, String> {
        let letter = self.next(all, id).await?.filter(|letter| letter.id() == id);
        let letter = letter
            .ok_or_else(|| format!("there is no dead letter {id}; `worker dead-letters list` shows those there are"))?;
        let payload = shared::envelope::payload(&letter.0.headers, &letter.0.payload)
            .map_err(|error| format!("the payload cannot be shown: {error}"))?;
        let payload = String::from_utf8_lossy(&payload);
        let mut headers: Vec<_> = letter
            .0
            .headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str())))
            .collect();
        headers.sort();
        match self.output {
            Output::Table => {
                headers.iter().for_each(|(name, value)| say(format_args!("{name}: {value}")));
                say("");
                say(payload);
            }
            Output::Json => {
                let mut shown = letter.json();
                let headers: Map<_, _> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
                shown.insert("headers".to_owned(), headers.into());
                // As text: it may be no JSON, and its bytes are what matters.
                shown.insert("payload".to_owned(), payload.into());
                say(Value::from(shown));
            }
        }
        Ok(Exit::Done)
    }

    async fn redrive(
        &self,
        connection: &Connection,
        chosen: &Chosen,
        rate: Option<u32>,
        dry_run: bool,
    ) -> Result<Exit, String> {
        let subject = chosen.filter.subject(&connection.topology);
        let interrupt = Interrupt::listen();
        let all = count(&self.stream, &subject, DeliverPolicy::All).await?;
        let total = if chosen.id.is_empty() { all } else { all.min(chosen.id.len() as u64) };
        let publisher = Publisher::new(connection.client.clone());
        let pause = rate.map(|rate| Duration::from_secs(1) / rate);
        let mut progress = Progress::new("sent again", "dead letters", total);
        let mut missing: BTreeSet<u64> = chosen.id.iter().copied().collect();
        let mut from = 0;
        while let Some(letter) = self.next(&subject, from).await? {
            from = letter.id() + 1;
            if !chosen.id.is_empty() && !missing.remove(&letter.id()) {
                continue;
            }
            if interrupt.is_stopping() {
                progress.end();
                tell("interrupted: the same command sends the rest");
                return Ok(Exit::Interrupted);
            }
            if !dry_run {
                let failed = |error: &dyn std::fmt::Display| {
                    let (id, sent) = (letter.id(), progress.done());
                    format!(
                        "dead letter {id} could not be sent again: {error}; {sent} were, the same command sends the rest"
                    )
                };
                publisher.publish(original(&letter)).await.map_err(|error| failed(&error))?;
                // Only now: a letter that is removed first is lost when the connection breaks.
                delete(&self.stream, letter.id()).await.map_err(|error| failed(&error))?;
                progress.add(1);
            }
            self.tell_sent(&letter, dry_run);
            if let Some(pause) = pause.filter(|_| !dry_run) {
                interrupt.pause(pause).await;
            }
        }
        if !dry_run {
            progress.end();
        }
        if missing.is_empty() {
            return Ok(Exit::Done);
        }
        let missing: Vec<_> = missing.iter().map(u64::to_string).collect();
        Err(format!("there is no dead letter {}; `worker dead-letters list` shows those there are", missing.join(", ")))
    }

    fn tell_sent(&self, letter: &Letter, dry_run: bool) {
        let subject = letter.get(dead_letter::SUBJECT);
        match self.output {
            Output::Table if dry_run => {
                say(format_args!("would send dead letter {} again to {subject}", letter.id()));
            }
            Output::Table => {}
            Output::Json => {
                let mut told = letter.json();
                told.insert("sent".to_owned(), (!dry_run).into());
                say(Value::from(told));
            }
        }
    }

    async fn purge(&self, all: &str, older_than: Duration, yes: bool) -> Result<Exit, String> {
        let older_than = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        let before = shared::time::rfc3339(shared::time::now_ms().saturating_sub(older_than));
        let mut progress = Progress::new("looked at", "dead letters", self.stream.cached_info().state.messages);
        let (mut old, mut from) = (0_u64, 0);
        while let Some(letter) = self.next(all, from).await? {
            from = letter.id() + 1;
            progress.add(1);
            // Same shape and zone: the texts compare as the instants do.
            if letter.get(dead_letter::AT) >= before.as_str() {
                continue;
            }
            if yes {
                delete(&self.stream, letter.id()).await.map_err(|error| format!("{error}; {old} others were"))?;
            }
            old += 1;
        }
        match (self.output, yes) {
            (Output::Json, _) => say(json!({ "letters": old, "before": before, "removed": yes })),
            (Output::Table, true) => say(format_args!("dead letters given up before {before}, removed: {old}")),
            (Output::Table, false) => {
                say(format_args!("dead letters given up before {before}: {old}; add --yes to remove them"));
            }
        }
        Ok(Exit::Done)
    }
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
