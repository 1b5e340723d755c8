//! The worker watches itself: what `/readyz` says, the gauges, and room in the event stream.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{Info, Stream};
use serde_json::json;
use shared::admin::Readiness;
use shared::credentials::Handle;
use shared::retry::Policy;
use shared::topology::StreamName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::pipeline::Pipeline;
use crate::problem::Problem;
use crate::store::StoreError;

/// What `/readyz` says before anything was tried.
pub const STARTING: &str = "starting";

/// How often everything is proven again.
const EVERY: Duration = Duration::from_secs(2);

/// How it is proven again while something is away, from a start on: soon, then as seldom as ever.
const AGAIN: Policy = Policy::new(Duration::from_millis(50), EVERY);

/// How long one proof may take: a frozen server must not keep an old "ready" alive.
const PATIENCE: Duration = Duration::from_secs(4);

/// Which share of its ceiling is kept free in the event stream by removing processed events.
const FREE: f64 = 0.1;

/// How much is kept free at least (of a small stream: half of it), so that the largest webhook fits.
const FREE_AT_LEAST: f64 = 32.0 * 1024.0 * 1024.0;

/// Which share of the stored events is removed at a time.
const ROOM: f64 = 0.1;

/// Proves, until the soft stop, that this worker can pull, write and reach its streams.
///
/// # Errors
/// Never; what fails is told in `readiness`.
pub async fn watch(
    pipeline: Arc<Pipeline>,
    courses: Handle,
    who: String,
    readiness: watch::Sender<Readiness>,
    problems: watch::Sender<Vec<Problem>>,
    soft: CancellationToken,
) -> Result<(), Infallible> {
    let mut again = AGAIN.delays();
    loop {
        let mut state = Readiness::default();
        // A broken edit is a fact, no problem: the last good file is in force, and events go on.
        state.facts.insert("credentials_file".into(), json!(courses.problem().as_deref().unwrap_or("ok")));
        let (nats, mongo) = tokio::join!(
            tokio::time::timeout(PATIENCE, look_at_streams(&pipeline, &mut state)),
            tokio::time::timeout(PATIENCE, pipeline.store.probe(&who)),
        );
        let silence = || format!("no answer within {} s", PATIENCE.as_secs());
        let found = [
            match nats {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Problem::nats(error)),
                Err(_) => Some(Problem::nats(silence())),
            },
            match mongo {
                Ok(Ok(())) => None,
                Ok(Err(StoreError::Outage(error) | StoreError::Unstorable { error, .. })) => {
                    Some(Problem::mongo(error))
                }
                Ok(Err(StoreError::Blocked(blocked))) => Some(Problem::mongo(blocked)),
                Err(_) => Some(Problem::mongo(silence())),
            },
        ];
        let found: Vec<Problem> = found.into_iter().flatten().collect();
        state.problems = found.iter().map(Problem::to_string).collect();
        problems.send_replace(found);
        metrics::gauge!("ldconnect_ready").set(f64::from(u8::from(state.problems.is_empty())));
        let wait = match state.problems.is_empty() {
            true => {
                again.reset();
                EVERY
            }
            false => again.next_delay(),
        };
        readiness.send_replace(state);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = soft.cancelled() => return Ok(()),
        }
    }
}

/// Reads streams and consumer, sets gauges, makes room.
async fn look_at_streams(pipeline: &Pipeline, state: &mut Readiness) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    for (stream, gauge) in [
        (StreamName::Dead, "ldconnect_dead_letters_kept"),
        (StreamName::Notify, "ldconnect_notify_waiting"),
        (StreamName::Enrich, "ldconnect_enrich_waiting"),
    ] {
        let found = pipeline.jetstream.get_stream(pipeline.topology.stream(stream)).await.map_err(|e| text(&e))?;
        let messages = found.cached_info().state.messages;
        if messages > 0 && stream != StreamName::Dead {
            let consumer = pipeline.topology.consumer(&pipeline.jetstream, stream).await.map_err(|e| text(&e))?;
            let settled = consumer.cached_info().ack_floor.stream_sequence;
            if let Some(sequence) = residue_below(found.cached_info(), settled) {
                found.purge().sequence(sequence).await.map_err(|e| text(&e))?;
                tracing::info!(stream.name = %found.cached_info().config.name, below = sequence, "removed settled work that NATS had kept");
            }
        }
        show_size(stream, found.cached_info());
        metrics::gauge!(gauge).set(messages as f64);
        let fact = gauge.trim_start_matches("ldconnect_").trim_end_matches("_kept");
        state.facts.insert(fact.to_owned(), messages.into());
    }
    let name = pipeline.topology.stream(StreamName::Events);
    let events = pipeline.jetstream.get_stream(&name).await.map_err(|e| text(&e))?;
    let consumer = pipeline.topology.consumer(&pipeline.jetstream, StreamName::Events).await.map_err(|e| text(&e))?;
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
        events.purge().sequence(sequence).await.map_err(|e| text(&e))?;
        tracing::info!(up_to = sequence, "removed the oldest processed events: the event stream is near its ceiling");
    }
    Ok(())
}

/// How full a stream is; the label is its name without what our installation puts before it.
fn show_size(stream: StreamName, info: &Info) {
    metrics::gauge!("ldconnect_stream_bytes", "stream" => stream.plain()).set(info.state.bytes as f64);
    metrics::gauge!("ldconnect_stream_max_bytes", "stream" => stream.plain()).set(info.config.max_bytes as f64);
}

/// When the oldest event came that is not settled, in milliseconds since 1970; none when it just was.
pub(crate) async fn waiting_since(events: &Stream, consumer: &consumer::Info) -> Option<i64> {
    let first = events.cached_info().state.first_sequence.max(consumer.ack_floor.stream_sequence + 1);
    let message = events.get_raw_message(first).await.ok()?;
    i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Below which sequence a work queue holds only what is settled, if it holds any.
///
/// A nats-server that was killed brings back messages that were settled or replaced shortly before. Its
/// consumer knows that they are settled and never delivers them, so they would stay for ever.
fn residue_below(info: &Info, settled: u64) -> Option<u64> {
    let state = &info.state;
    (state.messages > 0 && (state.first_sequence..=state.last_sequence).contains(&settled)).then_some(settled + 1)
}

/// Below which sequence events may be removed now, if room is needed: only what every worker has settled.
fn room_up_to(info: &Info, settled: u64) -> Option<u64> {
    let (state, ceiling) = (&info.state, info.config.max_bytes);
    let free = (ceiling as f64 * FREE).max(FREE_AT_LEAST).min(ceiling as f64 / 2.0);
    if ceiling <= 0 || (state.bytes as f64) < ceiling as f64 - free {
        return None;
    }
    let span = state.last_sequence.saturating_sub(state.first_sequence) + 1;
    let wanted = state.first_sequence + (span as f64 * ROOM).ceil() as u64;
    let allowed = wanted.min(settled + 1);
    (allowed > state.first_sequence).then_some(allowed)
}
