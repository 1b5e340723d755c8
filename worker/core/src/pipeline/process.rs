//! One attempt at a batch: normalise, write, queue notifications and look-ups. Knows nothing of acks.
//!
//! An attempt that failed half-way is simply made again: every step may be repeated.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use async_nats::jetstream::Message;
use futures::FutureExt as _;
use shared::envelope::Envelope;
use shared::source::Source;

use super::Pipeline;
use super::settle::Verdict;
use crate::enrich::lookup::Asker;
use crate::enrich::{self, Lookups};
use crate::notify;
use crate::store::{Applied, Batch, Event, StoreError};
use worker_event::effect::Notification;
use worker_event::normalise::{Settings, normalise};
use worker_event::privacy::Rules;
use worker_event::reason::Reason;
use worker_providers::Tokens;

/// MongoDB or NATS is away: nobody's fault, try again later.
#[derive(Debug)]
pub struct Outage(pub String);

/// How an attempt ended.
#[derive(Debug)]
pub enum Attempt {
    /// Everything that can be written is written and its notifications and look-ups are queued; one verdict a message.
    Settled(Vec<Verdict>),
    /// The batch was refused as a whole, or broke the worker's code: find the culprit one by one.
    Poisoned {
        /// For the dead letter, if the batch is a single event.
        reason: Reason,
        /// What happened.
        error: String,
    },
}

/// What remains to be done for a message once its effects are in the batch.
struct Understood {
    index: usize,
    notifications: Vec<Notification>,
    label: (&'static str, String),
    received_at: i64,
}

/// Tries to settle a batch.
///
/// # Errors
/// [`Outage`] when MongoDB or NATS is away.
pub async fn attempt(pipeline: &Pipeline, messages: &[Message]) -> Result<Attempt, Outage> {
    // A panic in code of ours must cost one event, not the worker.
    match AssertUnwindSafe(attempt_unguarded(pipeline, messages)).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Ok(Attempt::Poisoned { reason: Reason::Panic, error: panic_text(panic.as_ref()) }),
    }
}

async fn attempt_unguarded(pipeline: &Pipeline, messages: &[Message]) -> Result<Attempt, Outage> {
    let mut verdicts: Vec<Verdict> = messages.iter().map(|_| Verdict::Done).collect();
    let forgotten = pipeline.forgotten.current(&pipeline.store).await.map_err(|error| Outage(error.to_string()))?;
    loop {
        let mut batch = Batch::default();
        let mut lookups = Lookups::default();
        let mut understood = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            if matches!(verdicts.get(index), Some(Verdict::Done)) {
                match understand(message, &forgotten, &pipeline.settings) {
                    Ok(Meaning { event, notifications, label, received_at, backfill }) => {
                        look_up(&mut lookups, &pipeline.tokens, &event, &notifications, label.0);
                        // Into the batch at once: what is encoded takes less room than what is understood.
                        if let Err(error) = batch.add(event) {
                            return Ok(Attempt::Poisoned { reason: Reason::Unstorable, error: error.to_string() });
                        }
                        // `worker backfill` tells LD Eval at its end, once for all.
                        let quiet = backfill && !pipeline.tells_of_backfills;
                        let notifications = if quiet { Vec::new() } else { notifications };
                        understood.push(Understood { index, notifications, label, received_at });
                    }
                    Err(verdict) => verdicts[index] = verdict,
                }
            }
        }
        let refusals = match pipeline.store.apply(batch).await {
            Ok(Applied::Stored { waiting }) => match waiting.first() {
                // Not yet: a blocked collection holds up the whole batch.
                Some(one) => return Err(Outage(one.blocked.to_string())),
                None => Vec::new(),
            },
            Ok(Applied::Refused(refusals)) => refusals,
            Err(StoreError::Outage(error)) => return Err(Outage(error)),
            Err(StoreError::Blocked(blocked)) => return Err(Outage(blocked.to_string())),
            Err(error @ StoreError::Unstorable { .. }) => {
                return Ok(Attempt::Poisoned { reason: Reason::Unstorable, error: error.to_string() });
            }
        };
        if !refusals.is_empty() {
            // A refused document may have stood for older, good events of its entity: again, without it.
            for refusal in refusals {
                if let Some(Understood { index, .. }) = understood.get(refusal.event) {
                    verdicts[*index] = Verdict::dead(Reason::Unstorable, refusal.error);
                }
            }
            continue;
        }
        let due: BTreeSet<&Notification> = match pipeline.notifies {
            true => understood.iter().flat_map(|one| &one.notifications).collect(),
            false => BTreeSet::new(),
        };
        futures::try_join!(
            notify::queue(&pipeline.publisher, &pipeline.topology, due),
            enrich::queue::queue(&pipeline.publisher, &pipeline.topology, lookups),
        )
        .map_err(|error| Outage(format!("notifications and look-ups cannot be queued: {error}")))?;
        let now = shared::time::now_ms();
        for Understood { label: (source, event), received_at, .. } in &understood {
            metrics::counter!("ldconnect_events_total", "source" => *source, "event" => event.clone(), "outcome" => "stored")
                .increment(1);
            metrics::histogram!("ldconnect_end_to_end_seconds").record((now - received_at).max(0) as f64 / 1000.0);
        }
        return Ok(Attempt::Settled(verdicts));
    }
}

/// Adds what an event leaves to be looked up: nothing where nobody has a token for it.
fn look_up(lookups: &mut Lookups, tokens: &Tokens, event: &Event, notifications: &[Notification], source: &str) {
    if let Some(asker) = notifications.first().and_then(Asker::of)
        && let Ok(source) = source.parse::<Source>()
        && tokens.cover(source, &asker.prj)
    {
        lookups.add(source, &asker, &event.effects);
    }
}

/// What a message says.
struct Meaning {
    event: Event,
    notifications: Vec<Notification>,
    label: (&'static str, String),
    received_at: i64,
    backfill: bool,
}

/// What a message means, or why it can never be processed.
fn understand(message: &Message, forgotten: &Rules, settings: &Settings) -> Result<Meaning, Verdict> {
    survive(|| {
        let headers = message.headers.as_ref().ok_or_else(|| Verdict::dead(Reason::Unreadable, "it has no headers"))?;
        let envelope =
            Envelope::decode(headers, &message.payload).map_err(|error| Verdict::dead(Reason::Unreadable, error))?;
        let info = message.info().map_err(|error| Verdict::dead(Reason::Unreadable, error))?;
        let sequence = envelope.origin_sequence.unwrap_or(info.stream_sequence);
        let mut normalised = normalise(&envelope, i64::try_from(sequence).unwrap_or(i64::MAX), settings)
            .map_err(|reject| Verdict::dead(reject.reason(), &reject))?;
        forgotten.apply(envelope.project.as_str(), &mut normalised);
        let event = Event {
            prj: envelope.project.as_str().to_owned(),
            delivery: envelope.delivery,
            effects: normalised.effects,
        };
        Ok(Meaning {
            event,
            notifications: normalised.notifications,
            label: (envelope.source.as_str(), envelope.event),
            received_at: envelope.received_at,
            backfill: envelope.read_at.is_some(),
        })
    })
}

/// A panic in code of ours is the event's death, not the worker's.
fn survive<T>(read: impl FnOnce() -> Result<T, Verdict>) -> Result<T, Verdict> {
    std::panic::catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|panic| Err(Verdict::dead(Reason::Panic, panic_text(panic.as_ref()))))
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
        let verdict = survive::<()>(|| panic!("index out of bounds")).unwrap_err();
        let Verdict::Dead { reason, error } = verdict else { panic!("{verdict:?}") };
        assert_eq!(reason, Reason::Panic);
        assert!(error.contains("index out of bounds"), "{error}");
        assert!(survive(|| Ok(1)).is_ok_and(|one| one == 1));
    }
}
