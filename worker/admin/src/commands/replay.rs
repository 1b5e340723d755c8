//! `worker replay`: processes again what `LD_EVENTS` still holds.
//!
//! It reads through a durable consumer of its own, so live traffic is not delayed, and runs the same pipeline as
//! `worker run`. The consumer's name is a hash of the arguments: the same command goes on where an interrupted one
//! stopped, and starts over after one that ended.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

use crate::args::time_args::{SequenceRange, TimeArg};
use crate::streams::{ConnectArgs, Connection, count};
use crate::terminal::{
    CommandError, Exit, Interrupt, Output, Progress, counted, finish, init_logs, notice, print, print_json,
};
use worker_core::config::{BatchArgs, DocumentArgs, MongoArgs};
use worker_core::pipeline::consumer::{self, Handler, Slots};
use worker_core::pipeline::events::Events;
use worker_core::pipeline::queue::Puller;
use worker_core::pipeline::settle::{InFlight, Settlement, Stop};
use worker_core::pipeline::{Mode, Pipeline};
use worker_providers::Tokens;
use worker_providers::config::EnrichArgs;

/// How long the server keeps the consumer of an interrupted replay.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Minimum number of events in flight: more than one batch, because a killed replay had pulled some too.
const MAX_ACK_PENDING: usize = 20_000;

/// How long the end waits between two requests for unsettled events, and how many requests it sends before it pulls.
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
    documents: DocumentArgs,
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

    /// The subjects of the filter; empty for all, which the server reads faster than any filter.
    fn filter(&self, topology: &Topology) -> String {
        match (self.source, &self.prj, &self.event) {
            (None, None, None) => String::new(),
            (source, prj, event) => topology.event_filter(source, prj.as_ref(), event.as_deref()),
        }
    }

    /// The same arguments have the same name.
    fn consumer_name(&self) -> String {
        // A relative time is another instant at each call; its text is the same.
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

pub async fn run(options: Options) -> ExitCode {
    init_logs(&options.logs);
    finish(replay(options)).await
}

impl Options {
    /// Events per batch at most, and batches at the same time: as in `worker run`, or the events of a second.
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
    let progress = Progress::new("replayed", "events", total);
    let pipeline = Arc::new(pipeline(&options, &connection).await?);
    let (mut progress, ended) = pump(&options, &pipeline, &connection, &consumer, until, progress, &interrupt).await;
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
    // `worker run` looks up what is rebuilt, and skips known values.
    let (courses, _) = credentials::open(&options.credentials.credentials_file).map_err(CommandError::usage)?;
    let (batch, topology) = (options.portions().0, connection.topology.clone());
    let mut pipeline = Pipeline::new("ld-replay", store, publisher, topology, connection.jetstream.clone(), batch);
    pipeline.tokens = Tokens::new(courses, &options.enrich).map_err(CommandError::usage)?;
    pipeline.settings = options.documents.settings();
    pipeline.mode = Mode::Replay { notify: !options.no_notify };
    Ok(pipeline)
}

/// Handles a replay's events as `worker run` does, at its rate and until its end.
struct Replay {
    events: Events,
    until: Until,
    rate: Option<u32>,
    slots: usize,
    consumer: PullConsumer,
    progress: Mutex<Progress>,
    /// Events that were pulled, in and out of range.
    pulled: AtomicU64,
    /// An event after the end was pulled, so all before it were.
    is_past_end: AtomicBool,
    /// The rate allows the next pull from then on.
    due: Mutex<Instant>,
    failed: Mutex<Option<CommandError>>,
}

impl Replay {
    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all events of the range are settled.
    async fn is_done(&self) -> Result<bool, CommandError> {
        let past_end = self.is_past_end.load(Ordering::Relaxed);
        if !past_end && self.pulled.load(Ordering::Relaxed) < Self::lock(&self.progress).total() {
            return Ok(false);
        }
        // The server may take a moment to count the last acknowledgements.
        for _ in 0..POLLS {
            // From the server each time.
            let info = self.consumer.get_info().await.map_err(unread)?;
            let is_delivered =
                past_end || info.num_pending == 0 || info.delivered.stream_sequence >= self.until.sequence;
            if !is_delivered {
                return Ok(false);
            }
            if info.num_ack_pending == 0 {
                return Ok(true);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        // What a killed replay had pulled is redelivered after the ack wait.
        Ok(false)
    }
}

impl Handler for Replay {
    async fn demand(&self, free: usize) -> Option<usize> {
        let pause = Self::lock(&self.due).saturating_duration_since(Instant::now());
        tokio::time::sleep(pause).await;
        if free < self.slots {
            return Some(free);
        }
        match self.is_done().await {
            Ok(done) => (!done).then_some(free),
            Err(error) => {
                *Self::lock(&self.failed) = Some(error);
                None
            }
        }
    }

    async fn handle(&self, messages: Arc<InFlight>) {
        let began = Instant::now();
        let count = messages.messages().len();
        self.pulled.fetch_add(count as u64, Ordering::Relaxed);
        let in_range = |index: &usize| {
            let info = messages.messages().get(*index).and_then(|message| message.info().ok());
            info.is_some_and(|info| !self.until.excludes(&info))
        };
        let (wanted, others): (Vec<usize>, Vec<usize>) = (0..count).partition(in_range);
        if !others.is_empty() {
            self.is_past_end.store(true, Ordering::Relaxed);
            // They are not part of this replay; the workers process them.
            messages.settle_all(others.into_iter().map(|index| (index, Settlement::Ack))).await;
        }
        self.events.handle(Arc::clone(&messages)).await;
        let settled = wanted.iter().filter(|index| messages.is_settled(**index)).count();
        Self::lock(&self.progress).add(settled as u64);
        if let Some(rate) = self.rate {
            *Self::lock(&self.due) = began + Duration::from_secs_f64(wanted.len() as f64 / f64::from(rate));
        }
    }
}

/// Runs the replay to its end.
async fn pump(
    options: &Options,
    pipeline: &Arc<Pipeline>,
    connection: &Connection,
    consumer: &PullConsumer,
    until: Until,
    progress: Progress,
    interrupt: &Interrupt,
) -> (Progress, Result<(), CommandError>) {
    let mut puller = match Puller::new(&connection.jetstream, &connection.topology, consumer).await {
        Ok(puller) => puller,
        Err(error) => return (progress, Err(unread(error))),
    };
    let (batch, count) = options.portions();
    let replay = Arc::new(Replay {
        events: Events(Arc::clone(pipeline)),
        until,
        rate: options.rate,
        slots: count,
        consumer: consumer.clone(),
        progress: Mutex::new(progress),
        pulled: AtomicU64::new(0),
        is_past_end: AtomicBool::new(false),
        due: Mutex::new(Instant::now()),
        failed: Mutex::new(None),
    });
    let stop = Stop { soft: interrupt.soft.clone(), hard: interrupt.hard.clone(), finish_within: None };
    let ended = consumer::pump(pipeline, &replay, &mut puller, Slots { count, batch }, &stop, || {}).await;
    puller.close().await;
    drop(connection.client.flush().await);
    let failed = Replay::lock(&replay.failed).take();
    let ended = match (ended, failed) {
        (Err(error), _) => Err(unread(error)),
        (Ok(()), Some(error)) => Err(error),
        (Ok(()), None) if interrupt.is_stopping() => Err(CommandError::interrupted()),
        (Ok(()), None) => Ok(()),
    };
    let progress = Arc::into_inner(replay).map(|replay| replay.progress.into_inner());
    let progress = progress.map(|progress| progress.unwrap_or_else(PoisonError::into_inner));
    (progress.unwrap_or_else(|| Progress::new("replayed", "events", 0)), ended)
}

fn unread(error: impl std::fmt::Display) -> CommandError {
    CommandError::nats("LD_EVENTS cannot be read", error)
}
