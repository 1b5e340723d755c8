//! Publishes the original bytes of dead letters to the subjects they came from; the pipeline does the rest.
//!
//! A dead letter is removed only after its message is stored, so an interruption loses none; what is published twice
//! is harmless. `LD-Origin-Sequence` keeps the event's place among events of the same instant.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::stream::Stream;
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use shared::envelope::header;
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::topology::StreamName;
use worker_core::pipeline::dead_letter;

use super::filter::Chosen;
use super::list::{absent, id_of, json_of};
use crate::streams::scan::Stored;
use crate::streams::{Connection, Scan, delete};
use crate::terminal::{CommandError, Interrupt, Output, Progress, Tally, print, print_json};

/// How many are published, and then removed, together.
const BATCH: usize = 200;

/// How many single deletions are in flight at once.
const AT_ONCE: usize = 32;

pub(super) async fn run(
    connection: &Connection,
    stream: &Stream,
    chosen: &Chosen,
    rate: Option<u32>,
    dry_run: bool,
    output: Output,
) -> Result<(), CommandError> {
    let subject = chosen.filter.subject(&connection.topology);
    let mut missing: BTreeSet<u64> = chosen.id.iter().copied().collect();
    let from = missing
        .first()
        .map_or(DeliverPolicy::All, |id| DeliverPolicy::ByStartSequence { start_sequence: (*id).max(1) });
    let mut scan = Scan::open(stream, &subject, from, dry_run).await?;
    let total = if chosen.id.is_empty() { scan.total() } else { scan.total().min(chosen.id.len() as u64) };
    let mut redrive = Redrive {
        connection,
        stream,
        subject: &subject,
        by_range: chosen.id.is_empty(),
        output,
        // A batch is of one stream.
        events: Publisher::new(connection.client.clone()),
        others: Publisher::new(connection.client.clone()),
        tally: Tally::of("dead letter", "dead letters"),
    };
    let interrupt = Interrupt::listen();
    let most = rate.map_or(BATCH, |rate| BATCH.min(rate as usize));
    let mut progress = Progress::new("redriven", "dead letters", total);
    while chosen.id.is_empty() || !missing.is_empty() {
        let mut batch = scan.next().await?;
        if batch.is_empty() {
            break;
        }
        batch.retain(|letter| chosen.id.is_empty() || missing.remove(&id_of(letter)));
        for portion in batch.chunks(most) {
            if dry_run {
                portion.iter().for_each(|letter| redrive.print(letter, false));
                continue;
            }
            if interrupt.is_stopping() {
                progress.end();
                return Err(CommandError::interrupted());
            }
            let began = Instant::now();
            redrive.portion(portion).await?;
            progress.add(portion.len() as u64);
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(portion.len() as f64 / f64::from(rate));
                interrupt.pause(due.saturating_sub(began.elapsed())).await;
            }
        }
    }
    if !dry_run {
        progress.end();
    }
    if !missing.is_empty() {
        let ids: Vec<_> = missing.iter().map(u64::to_string).collect();
        return Err(absent(&ids.join(", ")));
    }
    redrive.tally.end("They stay where they are; the lines above say why")
}

struct Redrive<'a> {
    connection: &'a Connection,
    stream: &'a Stream,
    subject: &'a str,
    /// All that match are redriven, so that a range of them can be removed at once.
    by_range: bool,
    output: Output,
    events: Publisher,
    others: Publisher,
    tally: Tally,
}

impl Redrive<'_> {
    /// Publishes some, then removes those that are stored.
    async fn portion(&mut self, letters: &[Stored]) -> Result<(), CommandError> {
        let sent = join_all(letters.iter().map(|letter| self.send(letter))).await;
        let (mut stored, mut outage) = (Vec::new(), None);
        for (letter, sent) in letters.iter().zip(sent) {
            match self.tally.tried(format_args!("dead letter {}", id_of(letter)), sent) {
                Ok(Some(())) => stored.push(letter),
                Ok(None) => {}
                // Those that are stored are removed, also if another one failed.
                Err(error) => outage = Some(error),
            }
        }
        self.remove(&stored, stored.len() == letters.len()).await?;
        stored.iter().for_each(|letter| self.print(letter, true));
        outage.map_or(Ok(()), Err)
    }

    async fn send(&self, letter: &Stored) -> Result<(), CommandError> {
        let message = original(&self.whole(letter).await?, letter);
        let publisher = if message.headers.get(header::SOURCE).is_some() { &self.events } else { &self.others };
        match publisher.publish(message).await {
            Ok(_) => Ok(()),
            Err(error @ (PublishError::TooLarge | PublishError::Refused { .. } | PublishError::NoStream)) => {
                Err(CommandError::not_found(error, "Fix the cause, then run the same command again"))
            }
            Err(error) => {
                let what = format_args!("Dead letter {} cannot be redriven", id_of(letter)).to_string();
                Err(CommandError::nats(what, error).advise("The same command redrives the rest"))
            }
        }
    }

    /// The original message. For an unsigned event the dead letter has the beginning, and `LD_EVENTS` the whole.
    async fn whole(&self, letter: &Stored) -> Result<Stored, CommandError> {
        if letter.headers.get(dead_letter::TRUNCATED).is_none() {
            return Ok(letter.clone());
        }
        let events = self.connection.stream(StreamName::Events).await?;
        let sequence = letter.header(dead_letter::SEQUENCE).parse().unwrap_or_default();
        let whole = events.get_raw_message(sequence).await.ok();
        // Of a stream that was created again, another event has that sequence.
        let same = |id: &str| !id.is_empty() && id == letter.header(dead_letter::MSG_ID);
        let whole = whole.filter(|whole| whole.headers.get(header::MSG_ID).is_some_and(|id| same(id.as_str())));
        let Some(whole) = whole else {
            let kept = letter.payload.len();
            return Err(CommandError::not_found(
                format_args!("it holds only the first {kept} bytes of its event, which LD_EVENTS no longer holds"),
                "Let the sender send it again, and remove the dead letter with `worker dead-letters purge`",
            ));
        };
        Ok(Stored { headers: whole.headers, payload: whole.payload, ..letter.clone() })
    }

    async fn remove(&self, letters: &[&Stored], all: bool) -> Result<(), CommandError> {
        let Some(last) = letters.last() else { return Ok(()) };
        // One that failed before is in the same range.
        if self.by_range && all && self.tally.failed() == 0 {
            let purged = self.stream.purge().filter(self.subject).sequence(last.sequence + 1).await;
            return purged.map(drop).map_err(|error| {
                CommandError::nats("Dead letters that are redriven cannot be removed", error)
                    .advise("Run the same command again; redriving twice is harmless")
            });
        }
        let deleted = futures::stream::iter(letters).map(|letter| delete(self.stream, letter.sequence));
        deleted.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await
    }

    fn print(&self, letter: &Stored, sent: bool) {
        match self.output {
            Output::Table if sent => {}
            Output::Table => {
                let subject = letter.header(dead_letter::SUBJECT);
                print(format_args!("dead letter {} would be redriven to {subject}", id_of(letter)));
            }
            Output::Json => {
                let mut line = json_of(letter);
                line.insert("sent".to_owned(), sent.into());
                print_json(&Value::from(line));
            }
        }
    }
}

/// The message as it was before it became a dead letter, with its origin.
fn original(whole: &Stored, letter: &Stored) -> Outgoing {
    let identity =
        dead_letter::Identity { sequence: letter.sequence, stored_at: letter.stored_at, headers: &letter.headers };
    dead_letter::original(identity, &whole.headers, whole.payload.clone())
}
