//! Publishes into JetStream, within the deadline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::beat::Missed;
use shared::publish::{Outgoing, PublishError, Published, Publisher};
use shared::throttle::Throttle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::limits::BACKPRESSURE_TIMEOUT;

/// Interval of retries while the stream is missing; meanwhile it is being created.
const NO_STREAM_RETRY: Duration = Duration::from_millis(250);

/// How often an outage is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Makes a message durable: [`Publisher`], or a test's double.
pub trait Publish: Send + Sync + 'static {
    /// Returns when the message is stored, refused, or not acknowledged in time.
    fn publish(&self, message: Outgoing) -> impl Future<Output = Result<Published, PublishError>> + Send;
}

impl Publish for Publisher {
    async fn publish(&self, message: Outgoing) -> Result<Published, PublishError> {
        Publisher::publish(self, message).await
    }
}

/// Why a message is not known to be stored; the log says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// No slot was free in time.
    Overloaded,
    /// JetStream is down, full or slow.
    Unavailable,
}

/// Why a message was not stored, for the log.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Failure {
    #[error("the events stream would lose them")]
    Unfit,
    #[error(transparent)]
    Publish(PublishError),
}

/// Whether the events stream keeps what it acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventsStream {
    /// Not checked yet. A stream that was there before may have any settings.
    #[default]
    Unchecked,
    /// As configured, or as it was when NATS answered last.
    Fit,
    /// It has a setting with which acknowledged events are lost, and that NATS cannot change.
    Unfit,
}

/// What publishing and the readiness check report to each other.
#[derive(Debug, Default)]
pub struct Signals {
    /// Wakes the readiness check, which creates missing streams.
    pub stream_missing: Notify,
    missed: Mutex<Option<Missed>>,
    /// Written by the readiness check. Nothing is published before the stream is fit.
    pub events_stream: watch::Sender<EventsStream>,
    outcomes: Mutex<Outcomes>,
}

/// When the newest message was stored, and when one was not. Monotonic: a clock that is set back changes nothing.
#[derive(Debug, Default)]
struct Outcomes {
    stored: Option<Instant>,
    failed: Option<Instant>,
    /// Why the last one was not.
    reason: String,
    /// The newest that JetStream did not take, while none was stored since. Where a disk is full, small messages of other
    /// streams still pass, so only this one proves that webhooks are stored again.
    not_taken: Option<Outgoing>,
}

impl Signals {
    /// Whether a real message has failed within the given time and none was stored since, or one is still not taken.
    #[must_use]
    pub fn failing_since(&self, age: Duration) -> bool {
        let Outcomes { stored, failed, not_taken, .. } = &*self.outcomes();
        let is_recent = |failed: &Instant| failed.elapsed() < age && stored.is_none_or(|stored| stored < *failed);
        not_taken.is_some() || failed.as_ref().is_some_and(is_recent)
    }

    /// Why the last message that failed did.
    #[must_use]
    pub fn reason(&self) -> String {
        self.outcomes().reason.clone()
    }

    /// Publishes again what JetStream did not take, if nothing was stored since. A webhook answered 503 may be stored:
    /// its redelivery is a duplicate then.
    pub async fn retry(&self, publisher: &impl Publish) {
        if *self.events_stream.borrow() != EventsStream::Fit {
            return;
        }
        let Some(message) = self.outcomes().not_taken.clone() else { return };
        match publisher.publish(message).await {
            Ok(_) => self.stored(),
            Err(error) => tracing::debug!(%error, "the last webhook still cannot be stored"),
        }
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A webhook was answered 503: it may be lost.
    pub fn missed(&self) {
        let at = shared::time::now_ms();
        self.missed_again(Missed { from: at, to: at, count: 1 });
    }

    /// Webhooks that were answered 503, not published in a beat yet.
    pub fn missed_again(&self, more: Missed) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        *missed = Some(missed.map_or(more, |missed| missed.and(more)));
    }

    /// Takes the count once no webhook was answered 503 for this long: an outage is one message.
    pub fn take_missed(&self, quiet: Duration) -> Option<Missed> {
        let quiet = i64::try_from(quiet.as_millis()).unwrap_or(i64::MAX);
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = missed.is_some_and(|missed| shared::time::now_ms() - missed.to >= quiet);
        if is_over { missed.take() } else { None }
    }

    fn stored(&self) {
        let mut outcomes = self.outcomes();
        (outcomes.stored, outcomes.not_taken) = (Some(Instant::now()), None);
    }

    /// `message` is given where it may be taken another time.
    fn failed(&self, reason: String, message: Option<Outgoing>) {
        let mut outcomes = self.outcomes();
        (outcomes.failed, outcomes.reason) = (Some(Instant::now()), reason);
        outcomes.not_taken = message.or(outcomes.not_taken.take());
    }

    /// The state with a fit stream.
    #[cfg(test)]
    pub(crate) fn fit() -> Self {
        let signals = Self::default();
        signals.events_stream.send_replace(EventsStream::Fit);
        signals
    }

    /// Waits until it is known whether the events stream is fit. `false` when it is not.
    async fn events_stream_is_fit(&self) -> bool {
        if *self.events_stream.borrow() == EventsStream::Fit {
            return true;
        }
        let mut changes = self.events_stream.subscribe();
        let known = changes.wait_for(|stream| *stream != EventsStream::Unchecked).await;
        known.is_ok_and(|stream| *stream == EventsStream::Fit)
    }
}

/// Publishes with bounds: messages in flight, time, log lines.
#[derive(Debug)]
pub struct Gate<P> {
    publisher: P,
    slots: Semaphore,
    signals: Arc<Signals>,
    outages: Throttle,
}

impl<P: Publish> Gate<P> {
    /// A gate for `slots` messages in flight.
    #[must_use]
    pub fn new(publisher: P, slots: u32, signals: Arc<Signals>) -> Self {
        Self { publisher, slots: Semaphore::new(slots as usize), signals, outages: Throttle::new(LOG_INTERVAL) }
    }

    /// A webhook was answered 503.
    pub fn missed(&self) {
        self.signals.missed();
    }

    /// Publishes one message by `deadline`: waiting for a slot, sending and the acknowledgement all count. `message` makes
    /// it, once for each attempt.
    ///
    /// # Errors
    /// See [`NotStored`].
    pub async fn pass(&self, message: impl Fn() -> Outgoing, deadline: Instant) -> Result<Published, NotStored> {
        let slot_deadline = deadline.min(Instant::now() + BACKPRESSURE_TIMEOUT);
        let Ok(Ok(_slot)) = timeout_at(slot_deadline, self.slots.acquire()).await else {
            return Err(NotStored::Overloaded);
        };
        let tried = async {
            match self.signals.events_stream_is_fit().await {
                true => self.publish(&message).await.map_err(Failure::Publish),
                false => Err(Failure::Unfit),
            }
        };
        let result = timeout_at(deadline, tried).await.unwrap_or(Err(Failure::Publish(PublishError::Timeout)));
        match result {
            Ok(published) => {
                self.signals.stored();
                if self.outages.reset() {
                    tracing::info!("webhooks are being stored again");
                }
                Ok(published)
            }
            Err(error) => {
                let may_pass_later = error != Failure::Publish(PublishError::TooLarge);
                self.signals.failed(error.to_string(), may_pass_later.then(&message));
                if let Some(more) = self.outages.open() {
                    tracing::warn!(%error, more, "webhooks cannot be stored and are answered 503; see /readyz");
                }
                Err(NotStored::Unavailable)
            }
        }
    }

    /// Providers do not redeliver automatically, so a missing stream is retried until the deadline.
    async fn publish(&self, message: impl Fn() -> Outgoing) -> Result<Published, PublishError> {
        loop {
            match self.publisher.publish(message()).await {
                Err(PublishError::NoStream) => {
                    self.signals.stream_missing.notify_one();
                    sleep(NO_STREAM_RETRY).await;
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PUBLISH_DEADLINE;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails `times` with an error, then stores; `u32::MAX` never answers.
    struct Flaky(AtomicU32, PublishError);

    impl Publish for Flaky {
        async fn publish(&self, _: Outgoing) -> Result<Published, PublishError> {
            match self.0.load(Ordering::SeqCst) {
                0 => Ok(Published::Stored),
                u32::MAX => std::future::pending().await,
                _ => {
                    self.0.fetch_sub(1, Ordering::SeqCst);
                    Err(self.1.clone())
                }
            }
        }
    }

    #[test]
    fn an_outage_is_one_note_once_it_is_over() {
        let signals = Signals::default();
        signals.missed_again(Missed { from: 5, to: 5, count: 1 });
        signals.missed_again(Missed { from: 3, to: 9, count: 2 });
        signals.missed();
        assert_eq!(signals.take_missed(Duration::from_secs(3600)), None, "it is not over");
        let missed = signals.take_missed(Duration::ZERO).unwrap();
        assert_eq!((missed.from, missed.count), (3, 4));
        assert_eq!(signals.take_missed(Duration::ZERO), None);
    }

    fn message() -> Outgoing {
        Outgoing { subject: "s".into(), headers: async_nats::HeaderMap::new(), payload: "{}".into() }
    }

    fn gate(times: u32, error: PublishError) -> Gate<Flaky> {
        Gate::new(Flaky(times.into(), error), 1, Arc::new(Signals::fit()))
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_published_before_the_stream_is_known_to_keep_it() {
        let signals = Arc::<Signals>::default();
        let gate = Gate::new(Flaky(0.into(), PublishError::NoStream), 1, signals.clone());
        let start = Instant::now();
        assert_eq!(gate.pass(message, start + PUBLISH_DEADLINE).await, Err(NotStored::Unavailable));
        assert_eq!(start.elapsed(), PUBLISH_DEADLINE, "the first look at the stream is waited for");
        signals.events_stream.send_replace(EventsStream::Unfit);
        assert_eq!(gate.pass(message, Instant::now() + PUBLISH_DEADLINE).await, Err(NotStored::Unavailable));
        assert_eq!(start.elapsed(), PUBLISH_DEADLINE, "an unfit stream is not waited for");
        signals.events_stream.send_replace(EventsStream::Fit);
        assert_eq!(gate.pass(message, Instant::now() + PUBLISH_DEADLINE).await, Ok(Published::Stored));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_proves_nothing_counts_for_a_while_and_until_something_is_stored() {
        let signals = Signals::fit();
        assert!(!signals.failing_since(Duration::MAX));
        signals.failed(String::new(), None);
        assert!(signals.failing_since(Duration::from_secs(10)));
        sleep(Duration::from_secs(10)).await;
        assert!(!signals.failing_since(Duration::from_secs(10)));
        signals.failed(String::new(), None);
        sleep(Duration::from_millis(1)).await;
        signals.stored();
        assert!(!signals.failing_since(Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_jetstream_did_not_take_counts_until_it_or_another_is_stored() {
        let full = PublishError::Refused { code: 10077, description: "no space left".into() };
        // The webhook, and one attempt after it.
        let gate_ = gate(2, full.clone());
        assert!(gate_.pass(message, Instant::now() + PUBLISH_DEADLINE).await.is_err());
        sleep(Duration::from_secs(3_600)).await;
        assert!(gate_.signals.failing_since(Duration::from_secs(10)), "nothing was stored within this hour");
        gate_.signals.retry(&gate_.publisher).await;
        assert!(gate_.signals.failing_since(Duration::ZERO), "the disk is still full");
        gate_.signals.retry(&gate_.publisher).await;
        assert!(!gate_.signals.failing_since(Duration::ZERO));

        let gate_ = gate(1, full);
        assert!(gate_.pass(message, Instant::now() + PUBLISH_DEADLINE).await.is_err());
        assert!(gate_.pass(message, Instant::now() + PUBLISH_DEADLINE).await.is_ok());
        assert!(!gate_.signals.failing_since(Duration::from_secs(10)));

        let gate_ = gate(1, PublishError::TooLarge);
        assert!(gate_.pass(message, Instant::now() + PUBLISH_DEADLINE).await.is_err());
        sleep(Duration::from_secs(10)).await;
        assert!(!gate_.signals.failing_since(Duration::from_secs(10)), "it would never be taken");
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_stream_is_retried_and_any_other_error_is_final() {
        let start = Instant::now();
        let gate_ = gate(3, PublishError::NoStream);
        assert_eq!(gate_.pass(message, start + PUBLISH_DEADLINE).await, Ok(Published::Stored));
        assert_eq!(start.elapsed(), 3 * NO_STREAM_RETRY);
        let refused = PublishError::Refused { code: 10077, description: "maximum bytes exceeded".into() };
        let gate_ = gate(1, refused);
        assert_eq!(gate_.pass(message, start + PUBLISH_DEADLINE).await, Err(NotStored::Unavailable));
        assert!(gate_.signals.failing_since(Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_deadline_covers_everything() {
        let start = Instant::now();
        let gate_ = gate(u32::MAX, PublishError::Timeout);
        let first = gate_.pass(message, start + PUBLISH_DEADLINE);
        let second = gate_.pass(message, start + PUBLISH_DEADLINE);
        let waited = async {
            let answer = second.await;
            (answer, start.elapsed())
        };
        let (first, second) = futures::future::join(first, waited).await;
        assert_eq!((first, start.elapsed()), (Err(NotStored::Unavailable), PUBLISH_DEADLINE));
        assert_eq!(second, (Err(NotStored::Overloaded), BACKPRESSURE_TIMEOUT));
    }
}
