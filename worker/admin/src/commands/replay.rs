//! `worker replay`: processes again what `LD_EVENTS` still holds.
//!
//! It reads through a durable consumer of its own, so live traffic is not delayed, and runs the same pipeline as
//! `worker run`. The consumer's name is a hash of the arguments: the same command goes on where an interrupted one
//! stopped, and starts over after one that ended.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::Info;
use async_nats::jetstream::stream::Stream;
use clap::Args;
use serde_json::json;
use shared::config::{CredentialsArgs, LogArgs};
use shared::credentials;
use shared::hash::sha256_hex;
use shared::ids::Project;
use shared::publish::Publisher;
use shared::source::Source;
use shared::topology::{ACK_WAIT, StreamName, Topology};
use tokio::task::JoinSet;

use crate::args::time_args::{SequenceRange, TimeArg};
use crate::streams::{ConnectArgs, Connection, count};
use crate::terminal::{
    CommandError, Exit, Interrupt, Output, Progress, counted, finish, init_logs, notice, print, print_json,
};
use worker_core::config::{BatchArgs, MongoArgs};
use worker_core::pipeline::queue::Puller;
use worker_core::pipeline::{self, Pipeline};
use worker_providers::Tokens;
use worker_providers::config::EnrichArgs;

/// How long the server keeps the consumer of an interrupted replay.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many events may be in flight at least: more than what is worked on, because a killed replay had taken some too.
const MAX_ACK_PENDING: usize = 20_000;

/// How long the end waits between two requests for what is not settled yet, and how many it sends before it pulls.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const POLLS: usize = 10;

/// What to process again.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    selection: Selection,
    /// At most so many events a second.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Do not notify LD Eval.
    #[arg(long)]
    no_notify: bool,
    /// Print how many events would be processed and process none.
    #[arg(long)]
    dry_run: bool,
    /// table for people, json for scripts.
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
    #[command(flatten)]
    enrich: EnrichArgs,
    #[command(flatten)]
    batches: BatchArgs,
    #[command(flatten)]
    logs: LogArgs,
}

/// Which events.
#[derive(Debug, Args)]
struct Selection {
    /// From when on: RFC 3339, a date (Madrid), or how long ago, such as 2h or 3d.
    #[arg(long)]
    since: Option<TimeArg>,
    /// Until when, written like --since.
    #[arg(long)]
    until: Option<TimeArg>,
    /// Stream sequences, such as 100..200 (both included), 100.. or ..200.
    #[arg(long, conflicts_with = "since")]
    seq: Option<SequenceRange>,
    /// Only of github, taiga or excel.
    #[arg(long)]
    source: Option<Source>,
    /// Only of this project.
    #[arg(long)]
    prj: Option<Project>,
    /// Only of this kind, such as push or task.
    #[arg(long)]
    event: Option<String>,
}

impl Selection {
    fn start(&self) -> DeliverPolicy {
        match (self.seq.and_then(|range| range.first), self.since) {
            (Some(first), _) if first > 1 => DeliverPolicy::ByStartSequence { start_sequence: first },
            (None, Some(since)) => since.deliver_policy(),
            _ => DeliverPolicy::All,
        }
    }

    /// The subjects asked for; empty for all, which the server reads faster than any filter.
    fn filter(&self, topology: &Topology) -> String {
        match (self.source, &self.prj, &self.event) {
            (None, None, None) => String::new(),
            (source, prj, event) => topology.event_filter(source, prj.as_ref(), event.as_deref()),
        }
    }

    /// The same arguments have the same name.
    fn consumer_name(&self) -> String {
        // A relative time is another instant at each call; what was typed is the same.
        let question = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            self.since.map(|since| since.typed()),
            self.until.map(|until| until.typed()),
            self.seq,
            self.source,
            self.prj,
            self.event
        );
        let digest = sha256_hex(question);
        format!("ld-replay-{}", &digest[..12])
    }
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    init_logs(&options.logs);
    finish(replay(options)).await
}

impl Options {
    /// How many events a batch has at most, and how many batches are worked on at once: as `worker run` has them,
    /// or a second's worth.
    fn portions(&self) -> (usize, usize) {
        let batch = self.batches.worker_batch.get();
        let at_once = self.batches.worker_concurrency.get();
        self.rate.map_or((batch, at_once), |rate| (batch.min(rate as usize), 1))
    }
}

async fn replay(options: Options) -> Result<Exit, CommandError> {
    let interrupt = Interrupt::listen();
    let connection = options.connect.open().await?;
    let stream = connection.stream(StreamName::Events).await?;
    let selection = &options.selection;
    let filter = selection.filter(&connection.topology);
    let until = Until::of(selection, stream.cached_info().state.last_sequence);
    let name = selection.consumer_name();
    let left = stream.get_consumer(&name).await.ok();
    let beyond = until.count_beyond(&stream, &filter).await?;
    let waiting = match &left {
        Some(left) => left.cached_info().num_pending + left.cached_info().num_ack_pending as u64,
        None => count(&stream, &filter, selection.start()).await?,
    };
    let total = waiting.saturating_sub(beyond);
    if options.dry_run {
        let events = counted(total, "event", "events");
        match options.output {
            Output::Table if left.is_some() => {
                print(format_args!("{events} would be processed: an interrupted replay has done the others"));
            }
            Output::Table => print(format_args!("{events} would be processed")),
            Output::Json => print_json(&json!({ "would_process": total, "goes_on": left.is_some() })),
        }
        return Ok(Exit::Done);
    }
    let consumer = match left {
        Some(left) => {
            notice(format_args!("going on with an interrupted replay; {total} events are left"));
            left
        }
        None => {
            let (batch, at_once) = options.portions();
            make_consumer(&stream, &name, selection.start(), filter, batch * at_once * 2).await?
        }
    };
    let began = Instant::now();
    let mut progress = Progress::new("replayed", "events", total);
    let pipeline = Arc::new(pipeline(&options, &connection).await?);
    let ended = pump(&options, &pipeline, &connection, &consumer, until, &mut progress, &interrupt).await;
    progress.end();
    let interrupted = matches!(ended, Err(CommandError::Interrupted(_)));
    let left_out = pipeline.left_out.counts();
    let failed = left_out.values().sum();
    if options.output == Output::Json && (ended.is_ok() || interrupted) {
        print_json(&json!({
            "processed": progress.done().saturating_sub(failed), "of": progress.total(), "left_out": left_out,
            "interrupted": interrupted, "seconds": began.elapsed().as_secs_f64(),
        }));
    }
    if failed > 0 {
        let reasons: Vec<_> = left_out.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        notice(format_args!(
            "{} left out: {}",
            counted(failed, "event that cannot be processed was", "events that cannot be processed were"),
            reasons.join(", ")
        ));
    }
    const GO_ON: &str = "the same command goes on where this one stopped, within seven days";
    ended.map_err(|error| error.going_on(GO_ON).advise(GO_ON))?;
    if let Err(error) = stream.delete_consumer(&name).await {
        notice(format_args!("the consumer {name} could not be removed, the server will: {error}"));
    }
    if failed > 0 {
        let (one, many) = ("event", "events");
        let advice = "The warnings above name their sequences; see `worker dead-letters list`".into();
        return Err(CommandError::Partial { failed, all: progress.done(), one, many, advice });
    }
    Ok(Exit::Done)
}

/// Where a replay ends: events that came after it began are live traffic, which the workers process.
#[derive(Debug, Clone, Copy)]
struct Until {
    sequence: u64,
    last: u64,
    when: Option<TimeArg>,
}

impl Until {
    fn of(selection: &Selection, last: u64) -> Self {
        let end = selection.seq.and_then(|range| range.last);
        Self { sequence: end.map_or(last, |end| end.min(last)), last, when: selection.until }
    }

    fn excludes(self, info: &Info<'_>) -> bool {
        let ms = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        info.stream_sequence > self.sequence || self.when.is_some_and(|until| ms >= until.ms())
    }

    /// How many events are behind the end, of those that match.
    async fn count_beyond(self, stream: &Stream, filter: &str) -> Result<u64, CommandError> {
        let mut beyond = 0;
        if self.sequence < self.last {
            let policy = DeliverPolicy::ByStartSequence { start_sequence: self.sequence + 1 };
            beyond = count(stream, filter, policy).await?;
        }
        if let Some(until) = self.when.filter(|until| until.ms() <= shared::time::now_ms()) {
            beyond = beyond.max(count(stream, filter, until.deliver_policy()).await?);
        }
        Ok(beyond)
    }
}

async fn make_consumer(
    stream: &Stream,
    name: &str,
    start: DeliverPolicy,
    filter: String,
    in_flight: usize,
) -> Result<PullConsumer, CommandError> {
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        description: Some("A `worker replay`; removed at its end".to_owned()),
        deliver_policy: start,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: i64::try_from(in_flight.max(MAX_ACK_PENDING)).unwrap_or(i64::MAX),
        filter_subject: filter,
        inactive_threshold: KEPT,
        ..pull::Config::default()
    };
    stream
        .create_consumer(config)
        .await
        .map_err(|error| CommandError::nats("The replay's consumer cannot be made", error))
}

async fn pipeline(options: &Options, connection: &Connection) -> Result<Pipeline, CommandError> {
    let store = options.mongo.open().await.map_err(CommandError::usage)?;
    let publisher = Publisher::new(connection.client.clone());
    // What is rebuilt is looked up again: `worker run` does that, and leaves out what is known.
    let (courses, _) = credentials::open(&options.credentials.credentials_file).map_err(CommandError::usage)?;
    Ok(Pipeline {
        tokens: Tokens::new(courses, &options.enrich).map_err(CommandError::usage)?,
        notifies: !options.no_notify,
        tells_of_backfills: true,
        buries: false,
        ..Pipeline::new(
            store,
            publisher,
            connection.topology.clone(),
            connection.jetstream.clone(),
            options.portions().0,
        )
    })
}

async fn pump(
    options: &Options,
    pipeline: &Arc<Pipeline>,
    connection: &Connection,
    consumer: &PullConsumer,
    until: Until,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let mut puller = Puller::new(&connection.jetstream, consumer).await.map_err(unread)?;
    let mut batches = JoinSet::new();
    let ended =
        batch_by_batch(options, pipeline, consumer, &mut puller, until, progress, interrupt, &mut batches).await;
    // What is in flight is finished in any case, so that nothing is processed twice.
    settle(&mut batches, progress, 0).await;
    puller.close().await;
    drop(connection.client.flush().await);
    ended
}

#[expect(clippy::too_many_arguments, reason = "one loop, cut out of `pump` so that every way out of it ends alike")]
async fn batch_by_batch(
    options: &Options,
    pipeline: &Arc<Pipeline>,
    consumer: &PullConsumer,
    puller: &mut Puller,
    until: Until,
    progress: &mut Progress,
    interrupt: &Interrupt,
    batches: &mut JoinSet<u64>,
) -> Result<(), CommandError> {
    let (most, at_once) = options.portions();
    // Events behind the end that were pulled nonetheless. They are not acknowledged: the workers have them.
    let mut strays = HashSet::new();
    let mut begun = 0;
    while !interrupt.is_stopping() {
        // A free slot before a pull, so that what is pulled is processed at once.
        settle(batches, progress, at_once - 1).await;
        let began = Instant::now();
        let pulled = interrupt.soft.run_until_cancelled(puller.pull(most, pipeline::POLL)).await;
        let Some(pulled) = pulled else { break };
        let mut messages = pulled.map_err(unread)?;
        let nothing_came = messages.is_empty();
        messages.retain(|message| {
            let info = message.info().ok();
            let stray = info.as_ref().is_none_or(|info| until.excludes(info));
            if stray {
                strays.extend(info.map(|info| info.stream_sequence));
            }
            !stray
        });
        let taken = messages.len();
        if taken > 0 {
            let (pipeline, hard) = (pipeline.clone(), interrupt.hard.clone());
            batches.spawn(async move {
                pipeline::work(&pipeline, messages, &hard).await;
                // At the hard stop they were handed back.
                if hard.is_cancelled() { 0 } else { taken as u64 }
            });
        }
        if let Some(rate) = options.rate {
            settle(batches, progress, 0).await;
            let due = Duration::from_secs_f64(taken as f64 / f64::from(rate));
            interrupt.pause(due.saturating_sub(began.elapsed())).await;
        }
        begun += taken as u64;
        if nothing_came || !strays.is_empty() || begun >= progress.total() {
            settle(batches, progress, 0).await;
            // The server may take a moment to count the last acks.
            for _ in 0..POLLS {
                let info = consumer.get_info().await.map_err(unread)?;
                let all_delivered =
                    info.num_pending == 0 || !strays.is_empty() || info.delivered.stream_sequence >= until.sequence;
                if !all_delivered {
                    break;
                }
                if info.num_ack_pending <= strays.len() {
                    return Ok(());
                }
                interrupt.pause(POLL_INTERVAL).await;
            }
            // What a killed replay had in flight is redelivered after the ack wait, behind everything else.
        }
    }
    Err(CommandError::interrupted())
}

fn unread(error: impl std::fmt::Display) -> CommandError {
    CommandError::nats("LD_EVENTS cannot be read", error)
}

/// Waits until at most so many batches are under way.
async fn settle(batches: &mut JoinSet<u64>, progress: &mut Progress, at_most: usize) {
    while batches.len() > at_most {
        if let Some(Ok(events)) = batches.join_next().await {
            progress.add(events);
        }
    }
}
