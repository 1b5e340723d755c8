//! Checks whether the worker can work: `/readyz`, the gauges, and room in the event stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{Info, Stream};
use serde_json::json;
use shared::admin::Readiness;
use shared::credentials::Handle;
use shared::retry::Policy;
use shared::time::now_ms;
use shared::topology::StreamName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{Pipeline, dead_letter};
use crate::problem::{Part, Problem};
use crate::status::term::TeamGauges;
use crate::store::{Blocked, StoreError};
use crate::streams::{self, DeadLetterLimit};

/// The problem in `/readyz` before the first check.
pub const STARTING: &str = "starting";

const INTERVAL: Duration = Duration::from_secs(2);

/// Delay between checks while there is a problem, from the start on.
const RETRY: Policy = Policy::new(Duration::from_millis(50), INTERVAL);

/// A frozen server must not keep an expired "ready", and the first check must end within 5 s of the start.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4);

/// A problem that lasts is logged once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Share of its limit that is kept free in the event stream by removing processed events.
const FREE: f64 = 0.1;

/// Bytes that are kept free at least (of a small stream: half of it), so that the largest webhook fits.
const FREE_MIN: f64 = 32.0 * 1024.0 * 1024.0;

/// Share of the stored events that is removed at a time.
const REMOVED: f64 = 0.1;

/// Checks, until the soft stop, that this worker can pull, write and reach its streams.
///
/// # Errors
/// Never; what fails is in `readiness` and `problems`, and in the log.
pub async fn watch(
    pipeline: Arc<Pipeline>,
    courses: Handle,
    readiness: watch::Sender<Readiness>,
    problems: watch::Sender<Vec<Problem>>,
    soft: CancellationToken,
) -> Result<(), Infallible> {
    let mut delays = RETRY.delays();
    let mut log = ProblemLog::default();
    let dead = DeadLetterLimit::default();
    let mut teams = TeamGauges::default();
    loop {
        teams.set(&courses.courses(), now_ms());
        let mut state = Readiness::default();
        // A broken edit is a fact and no problem: the last good file is in force.
        state.facts.insert("credentials_file".into(), json!(courses.problem().as_deref().unwrap_or("ok")));
        // A frozen server must not hold up a stop.
        let Some(found) = soft.run_until_cancelled(check(&pipeline, &dead, &mut state)).await else { return Ok(()) };
        log.report(&found);
        state.problems = found.iter().map(Problem::to_string).collect();
        problems.send_replace(found);
        let is_ready = state.problems.is_empty();
        metrics::gauge!("ldconnect_ready").set(f64::from(u8::from(is_ready)));
        readiness.send_replace(state);
        let delay = match is_ready {
            true => {
                delays.reset();
                INTERVAL
            }
            false => delays.next_delay(),
        };
        if soft.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
            return Ok(());
        }
    }
}

async fn check(pipeline: &Pipeline, dead: &DeadLetterLimit, state: &mut Readiness) -> Vec<Problem> {
    let (nats, mongo) = tokio::join!(
        tokio::time::timeout(CHECK_TIMEOUT, look_at_streams(pipeline, dead, state)),
        tokio::time::timeout(CHECK_TIMEOUT, pipeline.store.probe(&pipeline.who)),
    );
    let timeout = || format!("no answer within {} s", CHECK_TIMEOUT.as_secs());
    let nats = match (nats, shared::nats::trouble()) {
        (Ok(Ok(unfit)), _) => unfit,
        (_, Some(trouble)) => vec![Problem::nats(trouble)],
        (Ok(Err(error)), None) => vec![Problem::nats(error)],
        (Err(_), None) => vec![Problem::nats(timeout())],
    };
    let mongo = match mongo {
        Ok(Ok(())) => None,
        Ok(Err(StoreError::Outage(error) | StoreError::Unstorable { error, .. })) => Some(Problem::mongo(error)),
        Ok(Err(StoreError::Blocked(Blocked { collection, cause, remedy }))) => {
            Some(Problem::new(Part::Collection(collection), cause, remedy))
        }
        Err(_) => Some(Problem::mongo(timeout())),
    };
    nats.into_iter().chain(mongo).chain(pipeline.blocked.problems()).collect()
}

/// Logs each problem when it begins, again after an interval, and when all are over.
#[derive(Debug, Default)]
struct ProblemLog(BTreeMap<Part, Instant>);

impl ProblemLog {
    fn report(&mut self, found: &[Problem]) {
        let had_problems = !self.0.is_empty();
        self.0.retain(|part, _| found.iter().any(|problem| problem.part == *part));
        for problem in found {
            // Blocked collections are logged where their events are put off, a connection that fails by itself.
            let is_logged_elsewhere = match problem.part {
                Part::Collection(_) => true,
                Part::Nats => shared::nats::trouble().is_some(),
                _ => false,
            };
            let is_due = self.0.get(&problem.part).is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL);
            if is_due && !is_logged_elsewhere {
                self.0.insert(problem.part.clone(), Instant::now());
                tracing::warn!(%problem, "this worker is not ready");
            }
        }
        if had_problems && found.is_empty() {
            tracing::info!("this worker is ready again");
        }
    }
}

/// Reads streams and consumers, sets gauges, makes room. Returns what is wrong with streams and cannot be repaired.
async fn look_at_streams(
    pipeline: &Pipeline,
    dead: &DeadLetterLimit,
    state: &mut Readiness,
) -> Result<Vec<Problem>, Box<dyn std::error::Error + Send + Sync>> {
    let unfit = streams::repair(pipeline).await?;
    for (stream, gauge) in [
        (StreamName::Dead, "ldconnect_dead_letters_kept"),
        (StreamName::Notify, "ldconnect_notify_waiting"),
        (StreamName::Enrich, "ldconnect_enrich_waiting"),
    ] {
        let found = pipeline.jetstream.get_stream(pipeline.topology.stream(stream)).await?;
        let messages = found.cached_info().state.messages;
        if messages > 0 && stream != StreamName::Dead {
            let consumer = pipeline.topology.consumer(&pipeline.jetstream, stream).await?;
            let settled = consumer.cached_info().ack_floor.stream_sequence;
            if let Some(sequence) = residue_below(found.cached_info(), settled) {
                found.purge().sequence(sequence).await?;
                tracing::info!(stream.name = %found.cached_info().config.name, below = sequence, "removed settled messages that NATS had kept");
            }
        }
        show_size(stream, found.cached_info());
        if stream == StreamName::Dead {
            dead.look(found.cached_info());
        }
        if stream == StreamName::Dead {
            let verified = if messages > 0 {
                dead_letter::count_verified(&found, &pipeline.topology).await?.min(messages)
            } else {
                0
            };
            metrics::gauge!(gauge, "verified" => "true").set(verified as f64);
            metrics::gauge!(gauge, "verified" => "false").set((messages - verified) as f64);
        } else {
            metrics::gauge!(gauge).set(messages as f64);
        }
        let fact = gauge.trim_start_matches("ldconnect_").trim_end_matches("_kept");
        state.facts.insert(fact.to_owned(), messages.into());
    }
    let name = pipeline.topology.stream(StreamName::Events);
    let events = pipeline.jetstream.get_stream(&name).await?;
    let consumer = pipeline.topology.consumer(&pipeline.jetstream, StreamName::Events).await?;
    let consumer = consumer.cached_info();
    let info = events.cached_info();
    let backlog = consumer.num_pending + consumer.num_ack_pending as u64;
    metrics::gauge!("ldconnect_backlog").set(backlog as f64);
    let since = if backlog > 0 { waiting_since(&events, consumer).await } else { None };
    let age = since.map_or(0.0, |since| (shared::time::now_ms() - since).max(0) as f64 / 1000.0);
    metrics::gauge!("ldconnect_backlog_seconds").set(age);
    show_size(StreamName::Events, info);
    state.facts.insert("backlog".into(), backlog.into());
    state.facts.insert(
        "events_stream".into(),
        json!({ "messages": info.state.messages, "bytes": info.state.bytes, "max_bytes": info.config.max_bytes }),
    );
    if let Some(sequence) = room_up_to(info, consumer.ack_floor.stream_sequence) {
        events.purge().sequence(sequence).await?;
        tracing::info!(up_to = sequence, "removed the oldest processed events: the event stream is near its limit");
    }
    Ok(unfit)
}

/// The label is the stream's name without the prefix of the installation.
fn show_size(stream: StreamName, info: &Info) {
    metrics::gauge!("ldconnect_stream_bytes", "stream" => stream.plain()).set(info.state.bytes as f64);
    metrics::gauge!("ldconnect_stream_max_bytes", "stream" => stream.plain()).set(info.config.max_bytes as f64);
}

/// When the oldest unsettled event was published, in milliseconds since 1970.
pub(crate) async fn waiting_since(events: &Stream, consumer: &consumer::Info) -> Option<i64> {
    let first = events.cached_info().state.first_sequence.max(consumer.ack_floor.stream_sequence + 1);
    let message = events.get_raw_message(first).await.ok()?;
    i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// The sequence below which a work queue holds only settled messages, if it holds any.
///
/// A nats-server that was killed restores messages that were settled or replaced shortly before. Its consumer never
/// delivers them again, so they would stay for ever.
fn residue_below(info: &Info, settled: u64) -> Option<u64> {
    let state = &info.state;
    (state.messages > 0 && (state.first_sequence..=state.last_sequence).contains(&settled)).then_some(settled + 1)
}

/// The sequence below which events may be removed now, if room is needed: only settled ones.
fn room_up_to(info: &Info, settled: u64) -> Option<u64> {
    let (state, limit) = (&info.state, info.config.max_bytes);
    let free = (limit as f64 * FREE).max(FREE_MIN).min(limit as f64 / 2.0);
    if limit <= 0 || (state.bytes as f64) < limit as f64 - free {
        return None;
    }
    let span = state.last_sequence.saturating_sub(state.first_sequence) + 1;
    let wanted = state.first_sequence + (span as f64 * REMOVED).ceil() as u64;
    let allowed = wanted.min(settled + 1);
    (allowed > state.first_sequence).then_some(allowed)
}
