//! `worker replay`: process again what `LD_EVENTS` still holds.
//!
//! It reads through a durable consumer of its own, so live traffic is not delayed, and runs the same
//! pipeline as `worker run`. The consumer's name follows from what is asked for: the same command after an
//! interruption goes on where it stopped, and after the end starts over.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use clap::Args;
use sha2::{Digest as _, Sha256};
use shared::config::{CredentialsArgs, LogArgs};
use shared::credentials;
use shared::ids::{Project, Source};
use shared::publish::Publisher;
use shared::topology::{ACK_WAIT, StreamName};
use tokio_util::sync::CancellationToken;

use super::terminal::{ConnectArgs, Connection, Exit, finish, say, tell};
use super::when::{Sequences, When};
use crate::config::{EnrichArgs, MongoArgs};
use crate::consumer::pull::Puller;
use crate::consumer::{self, Pipeline};
use crate::enrich::Tokens;
use crate::store::Store;

/// How long the server keeps the place of an interrupted replay.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many events one batch has at most.
const BATCH: usize = 1_000;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What to process again.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    credentials: CredentialsArgs,
    #[command(flatten)]
    enrich: EnrichArgs,
    #[command(flatten)]
    logs: LogArgs,
    /// From when on: RFC 3339, a date (Madrid), or how long ago, such as 2h or 3d.
    #[arg(long)]
    since: Option<When>,
    /// Until when, written like --since.
    #[arg(long)]
    until: Option<When>,
    /// Stream sequences, such as 100..200 (both included), 100.. or ..200.
    #[arg(long, conflicts_with = "since")]
    seq: Option<Sequences>,
    /// Only of github, taiga or excel.
    #[arg(long)]
    source: Option<Source>,
    /// Only of this project.
    #[arg(long)]
    prj: Option<Project>,
    /// Only of this kind, such as push or task.
    #[arg(long)]
    event: Option<String>,
    /// At most so many events a second.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Do not tell LD Eval.
    #[arg(long)]
    no_notify: bool,
    /// Say how many events would be processed and process none.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub async fn run(options: Options) -> ExitCode {
    shared::telemetry::init_logs(&options.logs);
    drop(rustls::crypto::ring::default_provider().install_default());
    finish(replay(options)).await
}

async fn replay(options: Options) -> Result<Exit, String> {
    let connection = options.connect.open().await?;
    let name = connection.topology.stream(StreamName::Events);
    let stream =
        connection.jetstream.get_stream(&name).await.map_err(|error| format!("{name} cannot be read: {error}"))?;
    let consumer_name = options.consumer_name();
    let filter = connection.topology.event_filter(options.source, options.prj.as_ref(), options.event.as_deref());
    let consumer = open_consumer(&stream, &consumer_name, options.start(), filter).await?;
    let waiting = consumer.cached_info().num_pending;
    if options.dry_run {
        remove(&stream, &consumer_name).await;
        say(format_args!("{waiting} events would be processed, less those after --until or the end of --seq"));
        return Ok(Exit::Done);
    }
    let last = stream.cached_info().state.last_sequence;
    let until = Until {
        sequence: options.seq.and_then(|range| range.last).map_or(last, |end| end.min(last)),
        ms: options.until.map(|until| until.ms()),
    };
    let done = pump(&options, &connection, &consumer, until, waiting).await?;
    if done == Exit::Done {
        remove(&stream, &consumer_name).await;
    } else {
        tell("interrupted: the same command goes on where this one stopped");
    }
    Ok(done)
}

/// Where a replay ends: what came after it began is live traffic, which the workers have.
#[derive(Debug, Clone, Copy)]
struct Until {
    sequence: u64,
    ms: Option<i64>,
}

impl Options {
    fn start(&self) -> DeliverPolicy {
        match (self.seq.and_then(|range| range.first), self.since) {
            (Some(first), _) if first > 1 => DeliverPolicy::ByStartSequence { start_sequence: first },
            (None, Some(since)) => since.deliver_policy(),
            _ => DeliverPolicy::All,
        }
    }

    /// The same question has the same name.
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
        let digest: String = Sha256::digest(question).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("ld-replay-{digest}")
    }
}

async fn open_consumer(
    stream: &Stream,
    name: &str,
    start: DeliverPolicy,
    filter: String,
) -> Result<PullConsumer, String> {
    if let Ok(left) = stream.get_consumer(name).await {
        tell("going on with an interrupted replay");
        return Ok(left);
    }
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        description: Some("A `worker replay`; removed at its end".to_owned()),
        deliver_policy: start,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        filter_subject: filter,
        inactive_threshold: KEPT,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(|error| format!("the replay's consumer cannot be made: {error}"))
}

async fn remove(stream: &Stream, name: &str) {
    if let Err(error) = stream.delete_consumer(name).await {
        tell(format_args!("the consumer {name} could not be removed, the server will: {error}"));
    }
}

async fn pump(
    options: &Options,
    connection: &Connection,
    consumer: &PullConsumer,
    until: Until,
    waiting: u64,
) -> Result<Exit, String> {
    let store = Store::connect(options.mongo.mongo_uri.expose(), &options.mongo.mongo_db).await;
    let store = store.map_err(|error| format!("MONGO_URI: {error}"))?;
    let publisher = Publisher::new(connection.client.clone());
    let mut pipeline =
        Pipeline::new(store, publisher, connection.topology.clone(), connection.jetstream.clone(), BATCH);
    // What is rebuilt is looked up again: `worker run` does that, and leaves out what is known.
    let (courses, _) = credentials::open(&options.credentials.credentials_file).map_err(|error| error.to_string())?;
    pipeline.tokens = Tokens::new(courses, &options.enrich)?;
    pipeline.notifies = !options.no_notify;
    pipeline.buries = false;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        // The batch in hand is finished first: it takes a moment, and then nothing is done twice.
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.cancel();
        }
    });
    let mut puller = Puller::new(&connection.jetstream, consumer).await.map_err(|error| error.to_string())?;
    let (began, mut told, mut done) = (Instant::now(), Instant::now(), 0_u64);
    let batch = options.rate.map_or(BATCH, |rate| BATCH.min(rate as usize));
    while !stop.is_cancelled() {
        let mut messages = puller.pull(batch, Duration::from_secs(1)).await.map_err(|error| error.to_string())?;
        let nothing_left = messages.is_empty() && {
            let info = consumer.get_info().await.map_err(|error| error.to_string())?;
            info.num_pending == 0 && info.num_ack_pending == 0
        };
        let place = |info: &async_nats::jetstream::message::Info<'_>| {
            let ms = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
            info.stream_sequence > until.sequence || until.ms.is_some_and(|until| ms >= until)
        };
        let before = messages.len();
        messages.retain(|message| message.info().is_ok_and(|info| !place(&info)));
        let reached_end = messages.len() < before;
        done += messages.len() as u64;
        let pause = options.rate.map(|rate| Duration::from_secs_f64(messages.len() as f64 / f64::from(rate)));
        let turn = Instant::now();
        consumer::work(&pipeline, messages, &stop).await;
        if nothing_left || reached_end {
            progress(done, waiting, began);
            puller.close().await;
            drop(connection.client.flush().await);
            return Ok(Exit::Done);
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            progress(done, waiting, began);
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause.saturating_sub(turn.elapsed())).await;
        }
    }
    puller.close().await;
    drop(connection.client.flush().await);
    progress(done, waiting, began);
    Ok(Exit::Interrupted)
}

fn progress(done: u64, waiting: u64, began: Instant) {
    let rate = done as f64 / began.elapsed().as_secs_f64().max(0.001);
    let left = waiting.saturating_sub(done) as f64 / rate.max(0.001);
    tell(format_args!("replayed {done} of {waiting} events, {rate:.0} a second, {left:.0} s left"));
}
