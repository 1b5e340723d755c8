//! `worker backfill`: brings documents up to what GitHub and Taiga say now.
//!
//! It reads a provider's REST API and publishes to `LD_EVENTS` what webhooks would have said, marked with
//! `LD-Backfill`; workers do the rest. What is published is as of the object's own last change, and at the same
//! instant a webhook wins (see `normalise`): so what webhooks say, earlier or later, is never made older or
//! poorer, and what is deleted stays so. It may be run twice, and interrupted at any moment.

mod github;
mod taiga;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use jiff::civil::Date;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::envelope::Envelope;
use shared::hash::short_hex;
use shared::ids::{Project, QualityModel};
use shared::publish::{Outgoing, Publisher};
use shared::source::Source;
use shared::time::now_ms;
use shared::topology::StreamName;
use tokio_util::sync::CancellationToken;

use super::remote::{Halt, RemoteArgs};
use super::terminal::{ConnectArgs, Connection, Exit, Output, Progress, finish, say, tell};
use super::when::When;
use worker_core::notify::queue::NotificationQueue;
use worker_core::origin::Origin;
use worker_event::effect::Notification;
use worker_event::normalise::BACKFILL;

/// How many events are published together.
const TOGETHER: usize = 200;

/// How often it is looked whether workers are done.
const LOOK: Duration = Duration::from_millis(250);

/// How often it is said that workers do not get on.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where to bring documents up to date from.
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
    /// Stories, tasks, issues and epics of a Taiga project, with their sprints and links.
    #[command(after_help = taiga::EXAMPLES)]
    Taiga(Box<taiga::Options>),
}

/// What both have.
#[derive(Debug, Args)]
struct Common {
    /// Whose documents: the prj of the team's webhooks.
    #[arg(long)]
    prj: Project,
    /// Only what was last changed from then on: a date (Madrid), RFC 3339, or how long ago, such as 3d.
    #[arg(long, value_name = "WHEN")]
    from_date: Option<When>,
    /// Only what was last changed until then, written like --from-date; of a date, its whole day.
    #[arg(long, value_name = "WHEN")]
    to_date: Option<Until>,
    /// The quality model LD Eval is told, as in the team's webhooks.
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
    remote: RemoteArgs,
}

/// The end of a time: of a date, the midnight after it.
#[derive(Debug, Clone, Copy)]
struct Until(i64);

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let next_day = text.parse::<Date>().ok().and_then(|date| date.tomorrow().ok()).map(|date| date.to_string());
        // Only what reads as a date alone: jiff would take a longer text's date too.
        let typed = if text.len() == 10 { next_day.as_deref().unwrap_or(text) } else { text };
        typed.parse::<When>().map(|when| Self(when.ms()))
    }
}

impl Common {
    /// Whether something that was changed then is asked for. What says no time is.
    fn wants(&self, changed: Option<&str>) -> bool {
        let Some(ms) = changed.and_then(shared::time::parse_instant) else { return true };
        self.from_date.is_none_or(|from| ms >= from.ms()) && self.to_date.is_none_or(|to| ms < to.0)
    }

    fn check(&self) -> Result<(), String> {
        match (self.from_date, self.to_date) {
            (Some(from), Some(to)) if from.ms() >= to.0 => {
                Err("--to-date is before --from-date: write the earlier one first, such as --from-date 2026-11-01 --to-date 2026-11-30".to_owned())
            }
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
        let again = "what was published is processed; the same command begins anew, which does no harm";
        ended.map_or_else(|halt| halt.end(again), |()| Ok(Exit::Done))
    })
    .await
}

/// Where synthetic webhooks go, and what LD Eval is told of them at the end.
struct Feed<'c> {
    common: &'c Common,
    source: Source,
    connection: Connection,
    publisher: Publisher,
    stop: CancellationToken,
    waiting: Vec<Outgoing>,
    /// How many of what: commits, issues, …
    counts: BTreeMap<&'static str, usize>,
    event_types: BTreeSet<&'static str>,
}

impl<'c> Feed<'c> {
    async fn open(common: &'c Common, source: Source, stop: CancellationToken) -> Result<Self, String> {
        let connection = common.connect.open().await?;
        let publisher = Publisher::new(connection.client.clone());
        let (waiting, counts, event_types) = Default::default();
        Ok(Self { common, source, connection, publisher, stop, waiting, counts, event_types })
    }

    /// Publishes, in its time, a webhook that says this of so many things; LD Eval is told `event_types` in the end.
    async fn add(
        &mut self,
        (what, count): (&'static str, usize),
        (event, event_types): (&str, &[&'static str]),
        payload: &Value,
    ) -> Result<(), Halt> {
        *self.counts.entry(what).or_default() += count;
        self.event_types.extend(event_types);
        if self.common.dry_run {
            return Ok(());
        }
        let envelope = self.envelope(event, payload);
        let (headers, payload) = envelope.encode();
        let subject = self.connection.topology.event_subject(self.source, &self.common.prj, event);
        self.waiting.push(Outgoing { subject, headers, payload });
        if self.waiting.len() >= TOGETHER { self.publish().await } else { Ok(()) }
    }

    fn envelope(&self, event: &str, payload: &Value) -> Envelope {
        let Common { prj, quality_model, .. } = self.common;
        let payload = payload.to_string();
        // The same state has the same id: what is asked for twice within ten minutes is published once.
        let model = quality_model.as_ref().map_or("", QualityModel::as_str);
        let hash =
            [event, model, &payload].iter().fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]));
        let hash = short_hex(hash.finalize());
        Envelope {
            source: self.source,
            project: prj.clone(),
            event: event.to_owned(),
            delivery: format!("{BACKFILL}-{hash}"),
            quality_model: quality_model.clone(),
            received_at: now_ms(),
            traceparent: None,
            origin_sequence: None,
            backfill: true,
            payload: payload.into(),
        }
    }

    async fn publish(&mut self) -> Result<(), Halt> {
        let waiting = std::mem::take(&mut self.waiting);
        self.publisher.publish_all(waiting).await.map_err(|error| {
            Halt::Failed(format!(
                "LD_EVENTS does not take what was read: {error}; run the same command again when it does"
            ))
        })
    }

    /// Publishes the rest, waits until workers have written it all, tells LD Eval once a type, and says what was done.
    async fn finish(mut self) -> Result<(), Halt> {
        self.publish().await?;
        if !self.common.dry_run && !self.event_types.is_empty() {
            self.settled().await?;
            self.notify().await?;
        }
        for (what, count) in &self.counts {
            match (self.common.output, self.common.dry_run) {
                (Output::Json, dry_run) => say(json!({ "what": what, "count": count, "dry_run": dry_run })),
                (Output::Table, false) => say(format_args!("{what:<14}  {count:>7} backfilled")),
                (Output::Table, true) => say(format_args!("{what:<14}  {count:>7} would be backfilled")),
            }
        }
        if self.counts.is_empty() {
            tell("nothing to backfill: check the dates and what the token or account may see");
        }
        Ok(())
    }

    /// Waits until workers have settled everything that is in the stream now.
    async fn settled(&self) -> Result<(), Halt> {
        let Connection { jetstream, topology, .. } = &self.connection;
        let failed = |error: &dyn std::fmt::Display| {
            Halt::Failed(format!(
                "everything is published, but whether it was processed cannot be seen: {error}; run the same command again, so that LD Eval is told"
            ))
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
            // Of what came since, too: the queue has one end.
            let processed = progress.total().saturating_sub(left);
            if processed > progress.done() {
                moved = Instant::now();
                progress.add(processed - progress.done());
            }
            progress.expect(progress.done() + left);
            if moved.elapsed() >= TELL_EVERY {
                moved = Instant::now();
                tell(format_args!("{left} events wait for `worker run`, then LD Eval is told: is a worker up?"));
            }
            self.stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.ok_or(Halt::Interrupted)?;
        }
    }

    async fn notify(&self) -> Result<(), Halt> {
        let notification = |event_type: &&str| Notification {
            event_type: (*event_type).to_owned(),
            prj: self.common.prj.to_string(),
            author_login: BACKFILL.to_owned(),
            quality_model: self.common.quality_model.as_ref().map(ToString::to_string),
        };
        let all: BTreeSet<Notification> = self.event_types.iter().map(notification).collect();
        let Connection { client, topology, jetstream, .. } = &self.connection;
        // A publisher of its own: batches are of one stream.
        let queue = NotificationQueue::new(Publisher::new(client.clone()), topology.clone(), jetstream.clone());
        let origin = Origin::default();
        queue.put(all.iter().map(|notification| (notification, &origin)).collect()).await.map_err(|error| {
            Halt::Failed(format!(
                "the documents are written, but LD Eval cannot be told: {error}; run the same command again"
            ))
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
        assert_eq!(ms("2026-11-30"), "2026-12-01".parse::<When>().map(When::ms));
        assert_eq!(ms("2026-11-30T12:00:00Z"), "2026-11-30T12:00:00Z".parse::<When>().map(When::ms));
        assert!(ms("tomorrow").unwrap_err().contains("2026-11-23"));
    }
}
