//! Handles events: in parts that fit into memory, until each is stored, a dead letter, or handed back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::envelope::header;
use shared::retry::Policy;
use shared::trace;
use worker_event::reason::Reason;

use super::consumer::Handler;
use super::process::{self, Attempt, Outage};
use super::settle::{InFlight, Settlement};
use super::suspects::{MAX_DEATHS, Marks};
use super::{Pipeline, size};

/// Delay before a part is attempted again while MongoDB or NATS is away.
const OUTAGE_RETRY: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// Removing a mark takes no longer when the worker stops: the grace time is short.
const UNMARK_TIMEOUT: Duration = Duration::from_secs(1);

/// Processes events.
#[derive(Debug)]
pub struct Events(pub Arc<Pipeline>);

/// How a part is worked on.
#[derive(Debug, Clone, Copy)]
enum Care {
    /// Delivered for the first time.
    None,
    /// Delivered before: marked, see [`suspects`](super::suspects).
    Marked,
    /// In the group of a worker that died: marked, and alone in the process. So many workers died of it alone.
    Alone(u32),
}

/// The worker must stop.
struct Stopped;

impl Handler for Events {
    async fn handle(&self, messages: Arc<InFlight>) {
        let _processing = self.0.backlog.begin(messages.messages().len());
        let all = (0..messages.messages().len()).filter(|index| !messages.is_settled(*index));
        let (again, first): (Vec<_>, Vec<_>) = all.partition(|index| messages.delivered(*index) > 1);
        metrics::counter!("ldconnect_redeliveries_total").increment(again.len() as u64);
        // Stopped or not, what is left open is handed back.
        if self.all(&messages, first, Care::None).await.is_ok() && !again.is_empty() {
            drop(self.redelivered(&messages, again).await);
        }
    }
}

impl Events {
    async fn all(&self, messages: &Arc<InFlight>, indices: Vec<usize>, care: Care) -> Result<(), Stopped> {
        for part in size::parts(messages.messages(), &indices) {
            self.part(messages, part, care).await?;
        }
        Ok(())
    }

    async fn redelivered(&self, messages: &Arc<InFlight>, indices: Vec<usize>) -> Result<(), Stopped> {
        let found = self.find_suspects(messages).await?;
        let mut group = Vec::new();
        let mut suspects = Vec::new();
        for index in indices {
            match found.deaths(messages.key(index)) {
                None => group.push(index),
                Some(deaths) => suspects.push((deaths, index)),
            }
        }
        self.all(messages, group, Care::Marked).await?;
        // The fewest deaths first: events behind a killer must not die with it again.
        suspects.sort_unstable();
        for (deaths, index) in suspects {
            if deaths < MAX_DEATHS {
                self.part(messages, vec![index], Care::Alone(deaths)).await?;
                continue;
            }
            let error = format!("{deaths} workers died while they processed it, alone and without any other event");
            messages.settle(index, Settlement::dead(Reason::RedeliveredTooOften, error)).await;
            // Left over, it is removed with the stream's oldest facts.
            drop(self.0.suspects.clear(messages.key(index)).await);
        }
        Ok(())
    }

    async fn find_suspects(&self, messages: &InFlight) -> Result<Marks, Stopped> {
        let mut delays = OUTAGE_RETRY.delays();
        loop {
            match messages.until_stop(self.0.suspects.find()).await.ok_or(Stopped)? {
                Ok(found) => return Ok(found),
                Err(error) => self.log_outage(&Outage(error.to_string())),
            }
            messages.until_stop(tokio::time::sleep(delays.next_delay())).await.ok_or(Stopped)?;
        }
    }

    /// Attempts a part until each of its events is settled. Halves it when it is refused as a whole.
    async fn part(&self, messages: &Arc<InFlight>, part: Vec<usize>, care: Care) -> Result<(), Stopped> {
        let mut delays = OUTAGE_RETRY.delays();
        loop {
            let began = Instant::now();
            match self.attempt(messages, &part, care).await? {
                Ok(Attempt::Settled(settlements)) => {
                    metrics::histogram!("ldconnect_store_seconds").record(began.elapsed().as_secs_f64());
                    metrics::histogram!("ldconnect_batch_events").record(part.len() as f64);
                    if self.0.outages.reset() {
                        tracing::info!("MongoDB and NATS take writes again");
                    }
                    for (index, settlement) in part.iter().zip(&settlements) {
                        trace_settlement(messages, *index, settlement);
                    }
                    messages.settle_all(part.into_iter().zip(settlements)).await;
                    return Ok(());
                }
                Ok(Attempt::Refused { reason, error }) => {
                    if let [index] = part[..] {
                        let settlement = Settlement::dead(reason, error);
                        trace_settlement(messages, index, &settlement);
                        messages.settle(index, settlement).await;
                        return Ok(());
                    }
                    let (reason, events) = (reason.as_str(), part.len());
                    // The dead letter says it, of the event.
                    tracing::debug!(reason, events, %error, "a batch was refused as a whole; halving it to find the event");
                    let (first, second) = part.split_at(part.len() / 2);
                    for half in [first, second] {
                        Box::pin(self.part(messages, half.to_vec(), care)).await?;
                    }
                    return Ok(());
                }
                Err(outage) => self.log_outage(&outage),
            }
            messages.until_stop(tokio::time::sleep(delays.next_delay())).await.ok_or(Stopped)?;
        }
    }

    /// One attempt, with a mark where it is needed. The mark is removed on every outcome.
    async fn attempt(
        &self,
        messages: &Arc<InFlight>,
        part: &[usize],
        care: Care,
    ) -> Result<Result<Attempt, Outage>, Stopped> {
        let (pipeline, suspects) = (&self.0, &self.0.suspects);
        let stopped = || Stopped;
        let (_others, _alone) = match care {
            Care::Alone(_) => (None, Some(messages.until_stop(suspects.alone.write()).await.ok_or_else(stopped)?)),
            _ => (Some(messages.until_stop(suspects.alone.read()).await.ok_or_else(stopped)?), None),
        };
        if let Care::None = care {
            return messages.until_stop(process::attempt(pipeline, messages, part)).await.ok_or(Stopped);
        }
        if let Err(error) = messages.until_stop(pipeline.store.probe(&pipeline.who)).await.ok_or(Stopped)? {
            return Ok(Err(Outage(error.to_string())));
        }
        let mark = match (care, part) {
            (Care::Alone(deaths), [index]) => suspects.mark_event(messages.key(*index), deaths).await,
            _ => {
                let events: Vec<_> = part.iter().map(|index| messages.key(*index)).collect();
                suspects.mark_group(&events).await
            }
        };
        let mark = match mark {
            Ok(mark) => mark,
            Err(error) => return Ok(Err(Outage(error.to_string()))),
        };
        let outcome = messages.until_stop(process::attempt(pipeline, messages, part)).await;
        let is_settled = matches!(outcome, Some(Ok(_)));
        let removed = tokio::time::timeout(UNMARK_TIMEOUT, suspects.remove(mark, is_settled)).await;
        match (outcome, removed) {
            (None, _) => Err(Stopped),
            (Some(Ok(_)), Ok(Err(error))) => Ok(Err(Outage(error.to_string()))),
            (Some(Ok(_)), Err(_)) => Ok(Err(Outage("NATS: a mark of suspects cannot be removed in time".to_owned()))),
            (Some(outcome), _) => Ok(outcome),
        }
    }

    fn log_outage(&self, Outage(error): &Outage) {
        if let Some(held_back) = self.0.outages.open() {
            tracing::warn!(%error, held_back, "waiting with a batch until MongoDB and NATS take writes; nothing is pulled meanwhile");
        }
    }
}

/// A span from the pull of the event's batch to its settlement, and a log line.
fn trace_settlement(messages: &InFlight, index: usize, settlement: &Settlement) {
    if !trace::is_exporting() && !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let outcome = match settlement {
        Settlement::Ack => "stored",
        Settlement::DeadLetter { .. } => "dead",
        Settlement::RetryAfter(_) => "retried",
        Settlement::HandBack => "handed_back",
    };
    let Some(message) = messages.messages().get(index) else { return };
    let text = |name| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
    let delivery = text(header::DELIVERY).unwrap_or("unknown");
    tracing::debug!(delivery.id = delivery, subject = message.subject.as_str(), outcome, "settled an event");
    let attributes = [("delivery.id", delivery), ("subject", message.subject.as_str()), ("outcome", outcome)];
    trace::record("store", messages.began, text(header::TRACEPARENT), &attributes);
}
