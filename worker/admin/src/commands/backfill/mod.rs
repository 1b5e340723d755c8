//! `worker backfill`: updates documents from what GitHub and Taiga show now.
//!
//! It reads a provider's REST API and publishes to `LD_EVENTS` the webhooks that the provider would have sent, marked
//! with `LD-Backfill`; workers do the rest. An event is as of the object's own last change, and at the same instant a
//! webhook wins (see `normalise`). So a backfill never replaces newer data, and deleted objects stay deleted. Safe to
//! interrupt and to repeat.

mod github;
mod taiga;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use futures::future::join_all;
use jiff::civil::Date;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::envelope::Envelope;
use shared::hash::short_hex;
use shared::ids::{Project, QualityModel};
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::source::Source;
use shared::time::now_ms;
use shared::topology::StreamName;
use tokio_util::sync::CancellationToken;

use crate::args::InvalidArg;
use crate::args::time_args::TimeArg;
use crate::clients::ClientArgs;
use crate::streams::{ConnectArgs, Connection};
use crate::terminal::{Column, CommandError, Exit, Output, Progress, Table, Tally, finish, notice, print_json};
use worker_core::notify::queue::NotificationQueue;
use worker_core::origin::Origin;
use worker_event::effect::Notification;
use worker_event::normalise::BACKFILL;

/// How many events are published together.
const BATCH: usize = 200;

/// How often the workers' progress is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often a notice says that workers make no progress.
const NOTICE_INTERVAL: Duration = Duration::from_secs(5);

/// What to do when a part could not be read.
const ADVICE: &str = "Run the same command again for these; repeating it is harmless";

/// Which provider's objects.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Commits, issues and pull requests of an organisation's repositories.
    #[command(after_help = github::EXAMPLES)]
    Github(Box<github::Options>),
    /// Stories, tasks, issues and epics of a Taiga project, with their milestones and links.
    #[command(after_help = taiga::EXAMPLES)]
    Taiga(Box<taiga::Options>),
}

/// What both have.
#[derive(Debug, Args)]
struct BackfillArgs {
    /// The project: the prj of its webhooks.
    #[arg(long)]
    prj: Project,
    /// Only what was last changed from then on: a date (Madrid), RFC 3339, or how long ago, such as 3d.
    #[arg(long, value_name = "WHEN")]
    from_date: Option<TimeArg>,
    /// Only what was last changed until then, written like --from-date; of a date, its whole day.
    #[arg(long, value_name = "WHEN")]
    to_date: Option<Until>,
    /// The quality model in notifications to LD Eval, as in the project's webhooks.
    #[arg(long)]
    quality_model: Option<QualityModel>,
    /// Say what would be published and publish nothing.
    #[arg(long)]
    dry_run: bool,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    // Last, because what follows a heading of the help is under it.
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    remote: ClientArgs,
}

/// The end of a time: of a date, the midnight after it.
#[derive(Debug, Clone, Copy)]
struct Until(i64);

impl FromStr for Until {
    type Err = InvalidArg;

    fn from_str(text: &str) -> Result<Self, InvalidArg> {
        let next_day = text.parse::<Date>().ok().and_then(|date| date.tomorrow().ok()).map(|date| date.to_string());
        // Only what reads as a date alone: jiff would take a longer text's date too.
        let typed = if text.len() == 10 { next_day.as_deref().unwrap_or(text) } else { text };
        typed.parse::<TimeArg>().map(|when| Self(when.ms()))
    }
}

impl BackfillArgs {
    /// Whether something that was changed then is asked for. Something without a time is.
    fn wants(&self, changed: Option<&str>) -> bool {
        let Some(ms) = changed.and_then(shared::time::parse_instant) else { return true };
        self.from_date.is_none_or(|from| ms >= from.ms()) && self.to_date.is_none_or(|to| ms < to.0)
    }

    fn check(&self) -> Result<(), CommandError> {
        match (self.from_date, self.to_date) {
            (Some(from), Some(to)) if from.ms() >= to.0 => Err(CommandError::usage(
                "--to-date is before --from-date: write the earlier one first, such as --from-date 2026-11-01 --to-date 2026-11-30",
            )),
            _ => Ok(()),
        }
    }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    finish(async move {
        let ended = match &options.from {
            From::Github(options) => github::run(options).await,
            From::Taiga(options) => taiga::run(options).await,
        };
        let again = "what was published is processed; the same command starts over, which is harmless";
        ended.map_err(|error| error.going_on(again))?;
        Ok(Exit::Done)
    })
    .await
}

/// Publishes synthetic webhooks, and queues their notifications at the end.
struct BackfillPublisher<'c> {
    common: &'c BackfillArgs,
    source: Source,
    connection: Connection,
    publisher: Publisher,
    stop: CancellationToken,
    waiting: Vec<Outgoing>,
    /// When the command began. It is part of each event's id, so that a repeated command is not taken for a duplicate.
    began: i64,
    /// How many of what: commits, issues, …
    counts: BTreeMap<&'static str, usize>,
    event_types: BTreeSet<&'static str>,
}

impl<'c> BackfillPublisher<'c> {
    async fn open(common: &'c BackfillArgs, source: Source, stop: CancellationToken) -> Result<Self, CommandError> {
        let connection = common.connect.open().await?;
        let publisher = Publisher::new(connection.client.clone());
        let (waiting, counts, event_types) = Default::default();
        Ok(Self { common, source, connection, publisher, stop, waiting, began: now_ms(), counts, event_types })
    }

    /// Adds a webhook about so many things; `event_types` are notified in the end.
    async fn add(
        &mut self,
        (what, count): (&'static str, usize),
        (event, event_types): (&str, &[&'static str]),
        payload: &Value,
    ) -> Result<(), CommandError> {
        *self.counts.entry(what).or_default() += count;
        self.event_types.extend(event_types);
        if self.common.dry_run {
            return Ok(());
        }
        let envelope = self.envelope(event, payload);
        let (headers, payload) = envelope.encode();
        let subject = self.connection.topology.event_subject(self.source, &self.common.prj, event);
        self.waiting.push(Outgoing { subject, headers, payload });
        if self.waiting.len() >= BATCH { self.publish().await } else { Ok(()) }
    }

    fn envelope(&self, event: &str, payload: &Value) -> Envelope {
        let BackfillArgs { prj, quality_model, .. } = self.common;
        let payload = payload.to_string();
        // Read twice by one command, the same state is published once.
        let model = quality_model.as_ref().map_or("", QualityModel::as_str);
        let hash =
            [event, model, &payload].iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]));
        let hash = short_hex(hash.finalize());
        let now = now_ms();
        Envelope {
            source: self.source,
            project: prj.clone(),
            event: event.to_owned(),
            delivery: format!("{BACKFILL}-{:x}-{hash}", self.began),
            quality_model: quality_model.clone(),
            received_at: now,
            traceparent: None,
            origin_sequence: None,
            read_at: Some(now),
            payload: payload.into(),
        }
    }

    async fn publish(&mut self) -> Result<(), CommandError> {
        let sent = std::mem::take(&mut self.waiting).into_iter().map(|message| self.publisher.publish(message));
        let sent: Result<Vec<_>, PublishError> = join_all(sent).await.into_iter().collect();
        sent.map(drop).map_err(|error| {
            CommandError::nats("LD_EVENTS does not take what was read", error)
                .advise("Run the same command again when it does")
        })
    }

    /// Publishes the rest, waits until workers have written it all, queues one notification a type, and prints what was
    /// done. What was read before reading failed is published all the same.
    async fn finish(mut self, read: Result<(), CommandError>, tally: Tally) -> Result<(), CommandError> {
        if matches!(read, Err(CommandError::Interrupted(_))) {
            return read;
        }
        self.publish().await?;
        if !self.common.dry_run && !self.event_types.is_empty() {
            self.settled().await?;
            self.notify().await?;
        }
        self.print();
        if self.counts.is_empty() && tally.failed() == 0 && read.is_ok() {
            notice("nothing to backfill: check the dates and what the token or account may see");
        }
        read?;
        tally.end(ADVICE)
    }

    fn print(&self) {
        let dry_run = self.common.dry_run;
        let mut table = Table::new(&[
            Column::Left("what"),
            Column::Right(if dry_run { "would be backfilled" } else { "backfilled" }),
        ]);
        for (what, count) in &self.counts {
            match self.common.output {
                Output::Json => print_json(&json!({ "what": what, "count": count, "dry_run": dry_run })),
                Output::Table => table.row(&[what, count]),
            }
        }
        if self.common.output == Output::Table && !self.counts.is_empty() {
            table.print();
        }
    }

    /// Waits until workers have processed everything that is in the stream now.
    async fn settled(&self) -> Result<(), CommandError> {
        let Connection { jetstream, topology, .. } = &self.connection;
        let failed = |error: &dyn std::fmt::Display| {
            CommandError::nats("Everything is published, but the workers' progress cannot be read", error)
                .advise("Run the same command again, so that LD Eval is notified")
        };
        let name = topology.stream(StreamName::Events);
        let stream = jetstream.get_stream(&name).await.map_err(|error| failed(&error))?;
        let last = stream.cached_info().state.last_sequence;
        let consumer = topology.consumer(jetstream, StreamName::Events).await.map_err(|error| failed(&error))?;
        let mut progress = Progress::new("everything is published; processed", "events", None);
        let mut moved = Instant::now();
        loop {
            let info = consumer.get_info().await.map_err(|error| failed(&error))?;
            let left = info.num_pending + info.num_ack_pending as u64;
            if left == 0 || info.ack_floor.stream_sequence >= last {
                progress.add(progress.total() - progress.done());
                progress.end();
                return Ok(());
            }
            // Events that came since count too.
            let processed = progress.total().saturating_sub(left);
            if processed > progress.done() {
                moved = Instant::now();
                progress.add(processed - progress.done());
            }
            progress.expect(progress.done() + left);
            if moved.elapsed() >= NOTICE_INTERVAL {
                moved = Instant::now();
                notice(format_args!("{left} events wait for `worker run`, then LD Eval is notified: is a worker up?"));
            }
            self.stop
                .run_until_cancelled(tokio::time::sleep(POLL_INTERVAL))
                .await
                .ok_or_else(CommandError::interrupted)?;
        }
    }

    async fn notify(&self) -> Result<(), CommandError> {
        let notification = |event_type: &&str| Notification {
            event_type: (*event_type).to_owned(),
            prj: self.common.prj.to_string(),
            author_login: BACKFILL.to_owned(),
            quality_model: self.common.quality_model.as_ref().map(ToString::to_string),
        };
        let all: BTreeSet<Notification> = self.event_types.iter().map(notification).collect();
        // A publisher of its own: batches are of one stream.
        let Connection { client, topology, jetstream, .. } = &self.connection;
        let queue = NotificationQueue::new(Publisher::new(client.clone()), topology.clone(), jetstream.clone());
        let origin = Origin::default();
        queue.put(all.iter().map(|notification| (notification, &origin)).collect()).await.map_err(|error| {
            CommandError::nats("The documents are written, but LD Eval cannot be notified", error)
                .advise("Run the same command again")
        })
    }
}

/// A field of JSON as text.
fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_with_its_day() {
        let ms = |text: &str| text.parse::<Until>().map(|until| until.0);
        assert_eq!(ms("2026-11-30"), "2026-12-01".parse::<TimeArg>().map(TimeArg::ms));
        assert_eq!(ms("2026-11-30T12:00:00Z"), "2026-11-30T12:00:00Z".parse::<TimeArg>().map(TimeArg::ms));
        assert!(ms("tomorrow").unwrap_err().0.contains("2026-11-23"));
    }
}
