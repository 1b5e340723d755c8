//! One attempt at a part of a batch: decode, write, queue notifications and look-ups. Acknowledges nothing.
//!
//! Every step can be repeated, so an attempt that fails half-way is simply made again.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use futures::FutureExt as _;
use shared::envelope::{self, Envelope};
use shared::publish::PublishError;
use shared::source::Source;

use super::Pipeline;
use super::settle::{InFlight, Settlement};
use super::size;
use crate::enrich;
use crate::enrich::lookup::{Lookups, Requester};
use crate::origin::Origin;
use crate::store::{Applied, Batch, Event, StoreError, Waiting};
use worker_event::effect::{Kind, Notification};
use worker_event::normalise::{Settings, normalise};
use worker_event::privacy::Rules;
use worker_event::reason::Reason;

/// How often a part is attempted without the events that MongoDB refused. Then it is halved: of many refused events of one
/// entity each attempt finds one.
const REFUSALS_MAX: usize = 3;

/// MongoDB or NATS is away: wait and try again. The text says which.
#[derive(Debug)]
pub struct Outage(pub String);

/// How an attempt ended.
#[derive(Debug)]
pub enum Attempt {
    /// Everything that can be written is written, and its notifications and look-ups are queued. One settlement for each
    /// message of the part.
    Settled(Vec<Settlement>),
    /// The part was refused as a whole, or made the code panic. One of its events is the cause.
    Refused {
        /// For the dead letter, if the part is a single event.
        reason: Reason,
        error: String,
    },
}

/// Attempts to process a part of a batch.
///
/// # Errors
/// [`Outage`] when MongoDB or NATS is away.
pub async fn attempt(pipeline: &Arc<Pipeline>, messages: &Arc<InFlight>, part: &[usize]) -> Result<Attempt, Outage> {
    // A panic must cost one event, not the worker.
    match AssertUnwindSafe(attempt_unguarded(pipeline, messages, part)).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Ok(Attempt::Refused { reason: Reason::Panic, error: panic_text(panic.as_ref()) }),
    }
}

async fn attempt_unguarded(
    pipeline: &Arc<Pipeline>,
    messages: &Arc<InFlight>,
    part: &[usize],
) -> Result<Attempt, Outage> {
    let rules = pipeline.forgotten.current(&pipeline.store).await.map_err(|error| Outage(error.to_string()))?;
    let bytes = size::of(messages.messages(), part);
    let memory = pipeline.memory.take(bytes).await;
    let mut refused: HashSet<usize> = HashSet::new();
    let mut settlements: HashMap<usize, Settlement> = HashMap::new();
    if let Some(bound) = &pipeline.new_projects {
        let too_many = bound.refused(pipeline, messages, part).await.map_err(|error| Outage(error.to_string()))?;
        for (index, error) in too_many {
            refused.insert(index);
            settlements.insert(index, Settlement::dead(Reason::TooManyProjects, error));
        }
    }
    for _ in 0..=REFUSALS_MAX {
        let wanted: Vec<usize> = part.iter().copied().filter(|index| !refused.contains(index)).collect();
        let decode = {
            let (pipeline, messages, rules, memory) =
                (Arc::clone(pipeline), Arc::clone(messages), Arc::clone(&rules), memory.clone());
            // A thread that goes on after its attempt was given up still holds its memory.
            move || Some((decode_all(&pipeline, &messages, &wanted, &rules), memory))
        };
        let decoded = match size::is_large(bytes) {
            true => tokio::task::spawn_blocking(decode).await.map_err(|error| Outage(error.to_string()))?,
            false => decode(),
        };
        let Some((Part { batch, lookups, decoded, rejected }, _memory)) = decoded else { continue };
        settlements.extend(rejected);
        look_up_left(pipeline, &lookups).await?;
        let waiting = match pipeline.store.apply(batch).await {
            Ok(Applied::Stored { waiting }) => waiting,
            Ok(Applied::Refused(refusals)) => {
                // A refused document may have replaced older, good events of its entity in the batch: again, without it.
                for refusal in refusals {
                    if let Some(Decoded { index, .. }) = decoded.get(refusal.event) {
                        refused.insert(*index);
                        settlements.insert(*index, Settlement::dead(Reason::Unstorable, refusal.error));
                    }
                }
                continue;
            }
            Err(StoreError::Outage(error)) => return Err(Outage(format!("MongoDB: {error}"))),
            Err(StoreError::Blocked(blocked)) => return Err(Outage(format!("MongoDB: {blocked}"))),
            Err(error @ StoreError::Unstorable { .. }) => {
                return Ok(Attempt::Refused { reason: Reason::Unstorable, error: error.to_string() });
            }
        };
        let decoded = put_off(pipeline, decoded, &waiting, &mut settlements);
        let notifying = decoded.iter().filter(|one| pipeline.mode.notifies(one.backfill));
        let due: Vec<(&Notification, &Origin)> = notifying
            .flat_map(|one| one.notifications.iter().map(|notification| (notification, &one.origin)))
            .collect();
        let queued = futures::try_join!(
            pipeline.notifications.put(&due),
            enrich::queue::queue(&pipeline.publisher, &pipeline.topology, lookups),
        );
        match queued {
            Ok(((), ())) => {}
            Err(error @ PublishError::TooLarge) => {
                let error = format!("its notification or look-up cannot be queued: {error}");
                return Ok(Attempt::Refused { reason: Reason::Unstorable, error });
            }
            Err(error) => return Err(Outage(format!("NATS: notifications and look-ups cannot be queued: {error}"))),
        }
        let now = shared::time::now_ms();
        for Decoded { source, event, received_at, origin, notifications, .. } in &decoded {
            let queued = notifications.len();
            tracing::debug!(delivery.id = origin.id(), queued, "wrote its documents and queued its notifications");
            metrics::counter!("ldconnect_events_total", "source" => source.as_str(), "event" => event.clone(), "outcome" => "stored")
                .increment(1);
            metrics::histogram!("ldconnect_end_to_end_seconds").record((now - received_at).max(0) as f64 / 1000.0);
        }
        let settlement = |index| settlements.remove(index).unwrap_or(Settlement::Ack);
        return Ok(Attempt::Settled(part.iter().map(settlement).collect()));
    }
    let error =
        format!("MongoDB refuses documents of this batch, after {REFUSALS_MAX} attempts without the refused ones");
    Ok(Attempt::Refused { reason: Reason::Unstorable, error })
}

/// Queues the look-ups of the milestones that stories and tasks of this batch are in now, and may leave: afterwards
/// nothing says which these were.
async fn look_up_left(pipeline: &Pipeline, lookups: &Lookups) -> Result<(), Outage> {
    for (requester, kind, ids) in lookups.leaving() {
        let milestones = pipeline.store.milestones_of(requester.prj.as_str(), kind, ids).await;
        let milestones = milestones.map_err(|error| Outage(format!("MongoDB: {error}")))?;
        let left = lookups.of_left(requester, kind, milestones);
        let queued = enrich::queue::queue(&pipeline.publisher, &pipeline.topology, left).await;
        queued.map_err(|error| Outage(format!("NATS: look-ups cannot be queued: {error}")))?;
    }
    Ok(())
}

/// Takes out the events whose collection is blocked; they are retried later. What is left is stored.
fn put_off(
    pipeline: &Pipeline,
    decoded: Vec<Decoded>,
    waiting: &[Waiting],
    settlements: &mut HashMap<usize, Settlement>,
) -> Vec<Decoded> {
    let mut delays: HashMap<&str, Duration> = HashMap::new();
    let mut waits: HashSet<usize> = HashSet::new();
    for Waiting { event, blocked } in waiting {
        let delay = *delays.entry(&blocked.collection).or_insert_with(|| pipeline.blocked.failed(blocked));
        if let Some(Decoded { index, .. }) = decoded.get(*event) {
            waits.insert(*index);
            settlements.insert(*index, Settlement::RetryAfter(delay));
        }
    }
    let stored: Vec<Decoded> = decoded.into_iter().filter(|one| !waits.contains(&one.index)).collect();
    for (prj, kinds) in stored.iter().filter_map(|one| one.written.as_ref()) {
        let collections = kinds.iter().map(|kind| kind.collection(prj));
        collections.filter(|name| !delays.contains_key(name.as_str())).for_each(|name| pipeline.blocked.written(&name));
    }
    stored
}

/// Decoded messages, ready to be written.
struct Part {
    batch: Batch,
    lookups: Lookups,
    /// In the order of the batch.
    decoded: Vec<Decoded>,
    rejected: Vec<(usize, Settlement)>,
}

/// What remains to be done for a message whose effects are in the batch.
struct Decoded {
    index: usize,
    notifications: Vec<Notification>,
    origin: Origin,
    source: Source,
    event: String,
    received_at: i64,
    backfill: bool,
    /// Project and kinds of what it writes; only while a collection is blocked.
    written: Option<(String, Vec<Kind>)>,
}

fn decode_all(pipeline: &Pipeline, messages: &InFlight, wanted: &[usize], rules: &Rules) -> Part {
    let mut part = Part {
        batch: Batch::default(),
        lookups: Lookups::default(),
        decoded: Vec::with_capacity(wanted.len()),
        rejected: Vec::new(),
    };
    let is_any_blocked = !pipeline.blocked.is_empty();
    for index in wanted {
        let Some(message) = messages.messages().get(*index) else { continue };
        let (event, mut decoded) = match catch_panic(|| decode(*index, message, rules, &pipeline.settings)) {
            Ok(both) => both,
            Err(settlement) => {
                part.rejected.push((*index, settlement));
                continue;
            }
        };
        look_up(pipeline, &mut part.lookups, &event, &decoded);
        if is_any_blocked {
            let kinds = event.effects.iter().flat_map(|effect| effect.kinds().iter().copied()).collect();
            decoded.written = Some((event.prj.clone(), kinds));
        }
        // Added at once: the encoded event takes less memory than the decoded one.
        if let Err(error) = part.batch.add(event) {
            part.rejected.push((*index, Settlement::dead(Reason::Unstorable, error)));
        }
        part.decoded.push(decoded);
    }
    part
}

/// Adds the look-ups of an event; none where the project has no token.
fn look_up(pipeline: &Pipeline, lookups: &mut Lookups, event: &Event, decoded: &Decoded) {
    if let Some(requester) = decoded.notifications.first().and_then(Requester::of)
        && pipeline.tokens.cover(decoded.source, &requester.prj)
    {
        lookups.add(decoded.source, &requester, &decoded.origin, &event.effects);
    }
}

/// What a message means, or why it can never be processed.
fn decode(index: usize, message: &Message, rules: &Rules, settings: &Settings) -> Result<(Event, Decoded), Settlement> {
    let unreadable = |error: &dyn std::fmt::Display| Settlement::dead(Reason::Unreadable, error);
    let headers = message.headers.as_ref().ok_or_else(|| unreadable(&"it has no headers"))?;
    let envelope = envelope::decode(headers, &message.payload).map_err(|error| unreadable(&error))?;
    let info = message.info().map_err(|error| unreadable(&error))?;
    let sequence = envelope.origin_sequence.unwrap_or(info.stream_sequence);
    let mut normalised = normalise(&envelope, i64::try_from(sequence).unwrap_or(i64::MAX), settings)
        .map_err(|reject| Settlement::dead(reject.reason(), &reject))?;
    rules.apply(envelope.project.as_str(), &mut normalised);
    let Envelope { source, project, event, delivery, received_at, traceparent, read_at, .. } = envelope;
    let origin = Origin { traceparent, ..Origin::of(Some(headers)) };
    let effects = Event { prj: project.as_str().to_owned(), delivery, effects: normalised.effects };
    let notifications = normalised.notifications;
    Ok((
        effects,
        Decoded {
            index,
            notifications,
            origin,
            source,
            event,
            received_at,
            backfill: read_at.is_some(),
            written: None,
        },
    ))
}

/// A panic in our code makes the event a dead letter; the worker goes on.
fn catch_panic<T>(decode: impl FnOnce() -> Result<T, Settlement>) -> Result<T, Settlement> {
    std::panic::catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|panic| Err(Settlement::dead(Reason::Panic, panic_text(panic.as_ref()))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the worker panicked on it: {}", text.unwrap_or("no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_makes_a_dead_letter_that_says_what_happened() {
        let settlement = catch_panic::<()>(|| panic!("index out of bounds")).unwrap_err();
        let Settlement::DeadLetter { reason, error } = settlement else { panic!("{settlement:?}") };
        assert_eq!(reason, Reason::Panic);
        assert!(error.contains("index out of bounds"), "{error}");
        assert!(catch_panic(|| Ok(1)).is_ok_and(|one| one == 1));
    }
}
