//! `worker replay`: process again what `LD_EVENTS` still holds.
//!
//! It reads through a durable consumer of its own, so live traffic is not delayed, and runs the same
//! pipeline as `worker run`. The consumer's name follows from what is asked for: the same command after an
//! interruption goes on where it stopped, and after the end starts over.

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

use crate::terminal::{
    ConnectArgs, Connection, Exit, Interrupt, Output, Progress, count, counted, finish, init_logs, say, tell,
};
use crate::when::{Sequences, When};
use worker_core::config::{BatchArgs, MongoArgs};
use worker_core::pipeline::queue::Puller;
use worker_core::pipeline::{self, Pipeline};
use worker_providers::Tokens;
use worker_providers::config::EnrichArgs;

/// How long the server keeps the place of an interrupted replay.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many events may be in flight at least: more than what is worked on, because a killed replay had taken some too.
const MAX_ACK_PENDING: usize = 20_000;

/// How long the end waits between two looks at what is not settled yet, and how often it looks before it pulls.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOKS: usize = 10;

/// What to process again.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    question: Question,
    /// At most so many events a second.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Do not tell LD Eval.
    #[arg(long)]
    no_notify: bool,
    /// Say how many events would be processed and process none.
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
struct Question {
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
}

impl Question {
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

async fn replay(options: Options) -> Result<Exit, String> {
    let interrupt = Interrupt::listen();
    let connection = options.connect.open().await?;
    let stream = connection.stream(StreamName::Events).await?;
    let question = &options.question;
    let filter = question.filter(&connection.topology);
    let until = Until::of(question, stream.cached_info().state.last_sequence);
    let name = question.consumer_name();
    let left = stream.get_consumer(&name).await.ok();
    let beyond = until.count_beyond(&stream, &filter).await?;
    let waiting = match &left {
        Some(left) => left.cached_info().num_pending + left.cached_info().num_ack_pending as u64,
        None => count(&stream, &filter, question.start()).await?,
    };
    let total = waiting.saturating_sub(beyond);
    if options.dry_run {
        let events = counted(total, "event", "events");
        match options.output {
            Output::Table if left.is_some() => {
                say(format_args!("{events} would be processed: an interrupted replay has done the others"));
            }
            Output::Table => say(format_args!("{events} would be processed")),
            Output::Json => say(json!({ "would_process": total, "goes_on": left.is_some() })),
        }
        return Ok(Exit::Done);
    }
    let consumer = match left {
        Some(left) => {
            tell(format_args!("going on with an interrupted replay; {total} events are left"));
            left
        }
        None => {
            let (batch, at_once) = options.portions();
            make_consumer(&stream, &name, question.start(), filter, batch * at_once * 2).await?
        }
    };
    let began = Instant::now();
    let mut progress = Progress::new("replayed", "events", total);
    let ended = pump(&options, &connection, &consumer, until, &mut progress, &interrupt).await;
    progress.end();
    let exit = ended.map_err(|error| format!("{error}; the same command goes on where this one stopped"))?;
    if exit == Exit::Done {
        if let Err(error) = stream.delete_consumer(&name).await {
            tell(format_args!("the consumer {name} could not be removed, the server will: {error}"));
        }
    } else {
        tell("interrupted: the same command goes on where this one stopped, within seven days");
    }
    if options.output == Output::Json {
        say(json!({ "processed": progress.done(), "of": progress.total(), "interrupted": exit != Exit::Done,
                    "seconds": began.elapsed().as_secs_f64() }));
    }
    Ok(exit)
}

/// Where a replay ends: what came after it began is live traffic, which the workers have.
#[derive(Debug, Clone, Copy)]
struct Until {
    sequence: u64,
    last: u64,
    when: Option<When>,
}

impl Until {
    fn of(question: &Question, last: u64) -> Self {
        let end = question.seq.and_then(|range| range.last);
        Self { sequence: end.map_or(last, |end| end.min(last)), last, when: question.until }
    }

    fn excludes(self, info: &Info<'_>) -> bool {
        let ms = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        info.stream_sequence > self.sequence || self.when.is_some_and(|until| ms >= until.ms())
    }

    /// How many events are behind the end, of those that match.
    async fn count_beyond(self, stream: &Stream, filter: &str) -> Result<u64, String> {
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
) -> Result<PullConsumer, String> {
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
    stream.create_consumer(config).await.map_err(|error| format!("the replay's consumer cannot be made: {error}"))
}

async fn pipeline(options: &Options, connection: &Connection) -> Result<Pipeline, String> {
    let store = options.mongo.open().await?;
    let publisher = Publisher::new(connection.client.clone());
    // What is rebuilt is looked up again: `worker run` does that, and leaves out what is known.
    let (courses, _) = credentials::open(&options.credentials.credentials_file).map_err(|error| error.to_string())?;
    Ok(Pipeline {
        tokens: Tokens::new(courses, &options.enrich)?,
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
    connection: &Connection,
    consumer: &PullConsumer,
    until: Until,
    progress: &mut Progress,
    interrupt: &Interrupt,
) -> Result<Exit, String> {
    let pipeline = Arc::new(pipeline(options, connection).await?);
    let mut puller = Puller::new(&connection.jetstream, consumer).await.map_err(|error| error.to_string())?;
    let mut turns = JoinSet::new();
    let ended = turn_by_turn(options, &pipeline, consumer, &mut puller, until, progress, interrupt, &mut turns).await;
    // What is in hand is finished in any case: it takes a moment, and then nothing is done twice.
    settle(&mut turns, progress, 0).await;
    puller.close().await;
    drop(connection.client.flush().await);
    ended
}

#[expect(clippy::too_many_arguments, reason = "one loop, cut out of `pump` so that every way out of it ends alike")]
async fn turn_by_turn(
    options: &Options,
    pipeline: &Arc<Pipeline>,
    consumer: &PullConsumer,
    puller: &mut Puller,
    until: Until,
    progress: &mut Progress,
    interrupt: &Interrupt,
    turns: &mut JoinSet<u64>,
) -> Result<Exit, String> {
    let (most, at_once) = options.portions();
    // Events behind the end that were pulled nonetheless. They are left alone: the workers have them.
    let mut strays = HashSet::new();
    let mut begun = 0;
    while !interrupt.is_stopping() {
        // A place before a pull: what is pulled is worked on at once.
        settle(turns, progress, at_once - 1).await;
        let turn = Instant::now();
        let pulled = interrupt.soft.run_until_cancelled(puller.pull(most, pipeline::POLL)).await;
        let Some(pulled) = pulled else { break };
        let mut messages = pulled.map_err(|error| error.to_string())?;
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
            turns.spawn(async move {
                pipeline::work(&pipeline, messages, &hard).await;
                // At the hard stop they were handed back.
                if hard.is_cancelled() { 0 } else { taken as u64 }
            });
        }
        if let Some(rate) = options.rate {
            settle(turns, progress, 0).await;
            let due = Duration::from_secs_f64(taken as f64 / f64::from(rate));
            interrupt.pause(due.saturating_sub(turn.elapsed())).await;
        }
        begun += taken as u64;
        if nothing_came || !strays.is_empty() || begun >= progress.total() {
            settle(turns, progress, 0).await;
            // The server may take a moment to count the last acks.
            for _ in 0..LOOKS {
                let info = consumer.get_info().await.map_err(|error| error.to_string())?;
                let all_delivered =
                    info.num_pending == 0 || !strays.is_empty() || info.delivered.stream_sequence >= until.sequence;
                if !all_delivered {
                    break;
                }
                if info.num_ack_pending <= strays.len() {
                    return Ok(Exit::Done);
                }
                interrupt.pause(LOOK_AGAIN).await;
            }
            // What a killed replay had taken comes again after the ack wait, behind everything else.
        }
    }
    Ok(Exit::Interrupted)
}

/// Waits until at most so many batches are under way.
async fn settle(turns: &mut JoinSet<u64>, progress: &mut Progress, at_most: usize) {
    while turns.len() > at_most {
        if let Some(Ok(events)) = turns.join_next().await {
            progress.add(events);
        }
    }
}
