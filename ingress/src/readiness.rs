//! Readiness: a message is really published at intervals, because "connected" stays true through a full disk. Missing
//! streams are created on the way, and settings that break a promise are repaired.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Client, HeaderMap};
use serde_json::json;
use shared::admin::Readiness;
use shared::credentials::Handle;
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::retry::{Delays, Policy};
use shared::throttle::Throttle;
use shared::topology::{EnsureError, StreamName, Topology, Unfit};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::PUBLISH_DEADLINE;
use crate::publish::{EventsStream, Signals};

/// How often a message is published.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a success counts.
const SUCCESS_TTL: Duration = Duration::from_secs(6);

/// How long a failed webhook counts, when none was stored since.
const FAILURE_TTL: Duration = Duration::from_secs(10);

/// How often an outage is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Delays between attempts to create the streams, spread so that several processes do not try together.
const ENSURE_RETRY: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(10));

/// Delays between attempts to store the webhook that JetStream did not take. It may be large.
const WEBHOOK_RETRY: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(10));

/// Free bytes of the events stream: one more webhook of ordinary size must fit.
const MIN_FREE: u64 = 64 * 1024;

/// The task that checks.
#[derive(Debug)]
pub struct ReadinessCheck {
    topology: Topology,
    jetstream: Context,
    /// For readiness only: a batch is of one stream.
    publisher: Publisher,
    /// For the webhook that JetStream did not take.
    events: Publisher,
    retry: Delays,
    not_before: Instant,
    signals: Arc<Signals>,
    courses: Handle,
    readiness: watch::Sender<Readiness>,
    last_success: Option<Instant>,
    /// Since when every check has succeeded.
    healthy_since: Option<Instant>,
    streams: Streams,
    outages: Throttle,
}

/// Whether the streams are known to be as they must be.
#[derive(Debug)]
struct Streams {
    are_ensured: bool,
    /// Since the start. What an operator narrows later stays narrow.
    are_widened: bool,
    /// Why not, at the last attempt.
    problem: Option<NotReady>,
    retry: Delays,
    not_before: Instant,
}

/// Bytes of the events stream; a limit of zero or less is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fill {
    bytes: u64,
    limit: i64,
}

/// Why no webhook can be stored now.
#[derive(Debug, Clone, thiserror::Error)]
enum NotReady {
    #[error("the streams are missing and will be created soon")]
    NoStreams,
    #[error("{0}; is JetStream on, and is this user allowed to?")]
    Ensure(EnsureError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unfit(Vec<Unfit>),
    #[error("{0}")]
    NotConnected(String),
    #[error("NATS does not answer: is NATS_URL right and the server up?")]
    NoAnswer,
    #[error("a probe was not acknowledged within {} s: NATS is down, frozen or overloaded", CHECK_TIMEOUT.as_secs())]
    NotAcknowledged,
    #[error("stream {name} cannot be read: {error}")]
    Unreadable { name: String, error: String },
    #[error(transparent)]
    Publish(PublishError),
}

impl Fill {
    fn is_full(self) -> bool {
        u64::try_from(self.limit).is_ok_and(|limit| limit > 0 && self.bytes + MIN_FREE.min(limit / 20) >= limit)
    }
}

impl ReadinessCheck {
    /// The check, and its results for `/readyz`.
    #[must_use]
    pub fn new(
        client: Client,
        topology: Topology,
        signals: Arc<Signals>,
        courses: Handle,
    ) -> (Self, watch::Receiver<Readiness>) {
        let (readiness, receiver) = watch::channel(Readiness::not_yet("starting: JetStream has not been tried yet"));
        let check = Self {
            topology,
            jetstream: shared::nats::jetstream(client.clone()),
            publisher: Publisher::new(client.clone()),
            events: Publisher::new(client),
            retry: WEBHOOK_RETRY.delays(),
            not_before: Instant::now(),
            signals,
            courses,
            readiness,
            last_success: None,
            healthy_since: None,
            streams: Streams {
                are_ensured: false,
                are_widened: false,
                problem: None,
                retry: ENSURE_RETRY.delays(),
                not_before: Instant::now(),
            },
            outages: Throttle::new(LOG_INTERVAL),
        };
        (check, receiver)
    }

    /// Checks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let signals = self.signals.clone();
        while stop.run_until_cancelled(self.step()).await.is_some() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(CHECK_INTERVAL) => {}
                () = signals.stream_missing.notified() => self.streams.are_ensured = false,
            }
        }
    }

    async fn step(&mut self) {
        let result = match self.ensure().await {
            Ok(()) => self.publish().await,
            Err(problem) => Err(problem),
        };
        match &result {
            Ok(_) => {
                let now = Instant::now();
                self.last_success = Some(now);
                self.healthy_since.get_or_insert(now);
                if self.outages.reset() {
                    tracing::info!("JetStream takes webhooks again");
                }
            }
            Err(problem) => {
                self.healthy_since = None;
                // The connection itself logs why it is down.
                if shared::nats::trouble().is_none()
                    && let Some(more) = self.outages.open()
                {
                    tracing::warn!(%problem, more, "JetStream does not take webhooks");
                }
            }
        }
        self.retry_webhook().await;
        self.report(result);
    }

    /// The webhook that JetStream did not take shows when it takes webhooks again: a probe is smaller, and of another stream.
    async fn retry_webhook(&mut self) {
        if !self.signals.failing_since(Duration::ZERO) {
            self.retry.reset();
        } else if Instant::now() >= self.not_before {
            drop(timeout(CHECK_TIMEOUT, self.signals.retry(&self.events)).await);
            self.not_before = Instant::now() + self.retry.next_delay();
        }
    }

    /// Creates and repairs the streams when they are not known to be as they must be.
    async fn ensure(&mut self) -> Result<(), NotReady> {
        if self.streams.are_ensured {
            return Ok(());
        }
        if Instant::now() < self.streams.not_before {
            return Err(self.streams.problem.clone().unwrap_or(NotReady::NoStreams));
        }
        if let Some(trouble) = shared::nats::trouble() {
            return Err(NotReady::NotConnected(trouble));
        }
        if *self.signals.events_stream.borrow() == EventsStream::Unchecked {
            self.check_events_stream().await;
        }
        let ensured = async {
            match self.streams.are_widened {
                false => self.topology.ensure(&self.jetstream).await,
                true => self.topology.repair(&self.jetstream).await,
            }
        };
        let problem = match timeout(CHECK_TIMEOUT, ensured).await {
            Ok(Ok(())) => {
                self.signals.events_stream.send_replace(EventsStream::Fit);
                self.streams.are_ensured = true;
                self.streams.are_widened = true;
                self.streams.problem = None;
                self.streams.retry.reset();
                return Ok(());
            }
            Ok(Err(error)) => {
                // A problem of another stream must not stop webhooks.
                let state = match (&error, error.concerns(&self.topology.stream(StreamName::Events))) {
                    (_, false) => Some(EventsStream::Fit),
                    (EnsureError::Unfit(_), true) => Some(EventsStream::Unfit),
                    (EnsureError::Failed { .. }, true) => None,
                };
                state.map(|state| self.signals.events_stream.send_replace(state));
                match error {
                    EnsureError::Unfit(unfit) => NotReady::Unfit(unfit),
                    error @ EnsureError::Failed { .. } => NotReady::Ensure(error),
                }
            }
            Err(_) => NotReady::NoAnswer,
        };
        self.streams.problem = Some(problem.clone());
        self.streams.not_before = Instant::now() + self.streams.retry.next_delay();
        Err(problem)
    }

    /// Webhooks wait for this stream alone.
    async fn check_events_stream(&self) {
        let checked = timeout(CHECK_TIMEOUT, self.topology.ensure_only(&self.jetstream, StreamName::Events)).await;
        let state = match checked {
            Ok(Ok(())) => EventsStream::Fit,
            Ok(Err(EnsureError::Unfit(_))) => EventsStream::Unfit,
            Ok(Err(EnsureError::Failed { .. })) | Err(_) => return,
        };
        self.signals.events_stream.send_replace(state);
    }

    /// Publishes a message, and reads how full the events stream is.
    async fn publish(&mut self) -> Result<Fill, NotReady> {
        let message = Outgoing {
            subject: self.topology.probe_subject("ingress"),
            headers: HeaderMap::new(),
            payload: shared::time::rfc3339(shared::time::now_ms()).into(),
        };
        let name = self.topology.stream(StreamName::Events);
        let tried =
            async { futures::future::join(self.publisher.publish(message), self.jetstream.get_stream(&name)).await };
        let Ok((published, stream)) = timeout(CHECK_TIMEOUT, tried).await else {
            return Err(shared::nats::trouble().map_or(NotReady::NotAcknowledged, NotReady::NotConnected));
        };
        let stream = stream.map_err(|error| {
            self.streams.are_ensured = false;
            NotReady::Unreadable { name: name.clone(), error: error.to_string() }
        })?;
        published.map_err(|error| {
            self.streams.are_ensured = false;
            NotReady::Publish(error)
        })?;
        let info = stream.cached_info();
        // An operator has changed it, or deleted it and created another.
        if let Err(unfit) = self.topology.check(StreamName::Events, info) {
            self.streams.are_ensured = false;
            if !unfit.is_empty() {
                self.signals.events_stream.send_replace(EventsStream::Unfit);
                return Err(NotReady::Unfit(unfit));
            }
        }
        Ok(Fill { bytes: info.state.bytes, limit: info.config.max_bytes })
    }

    fn report(&self, result: Result<Fill, NotReady>) {
        let fresh = self.last_success.is_some_and(|at| at.elapsed() < SUCCESS_TTL);
        let mut readiness = Readiness::default();
        readiness
            .facts
            .insert("last_probe_ms_ago".into(), json!(self.last_success.map(|at| at.elapsed().as_millis() as u64)));
        let file = self.courses.problem();
        readiness.facts.insert("credentials_file".into(), json!(file.as_deref().unwrap_or("ok")));
        let are_probes_stored = result.is_ok();
        match result {
            Ok(fill) => {
                let limit = (fill.limit > 0).then_some(fill.limit);
                readiness.facts.insert("events_bytes".into(), json!(fill.bytes));
                readiness.facts.insert("events_max_bytes".into(), json!(limit));
                if fill.is_full() {
                    readiness.problems.push(format!(
                        "the events stream is full ({} of {} bytes): let the worker catch up or raise LD_EVENTS_MAX_BYTES",
                        fill.bytes, fill.limit
                    ));
                }
            }
            // A single slow answer is not an outage; a missing stream is.
            Err(problem) if fresh && self.streams.are_ensured => {
                drop(readiness.facts.insert("last_problem".into(), json!(problem.to_string())))
            }
            Err(problem) => readiness.problems.push(problem.to_string()),
        }
        // A webhook that was accepted before the recovery may fail until its deadline; that outage is over.
        let healthy_for = self.healthy_since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.signals.failing_since(FAILURE_TTL.min(healthy_for.saturating_sub(PUBLISH_DEADLINE))) {
            readiness.problems.push(not_stored(&self.signals.reason(), are_probes_stored));
        }
        metrics::gauge!("ldconnect_ready").set(f64::from(u8::from(readiness.problems.is_empty())));
        self.readiness.send_replace(readiness);
    }
}

/// What `/readyz` says of webhooks that are not stored. A server whose disk is full still stores probes, which are small and of
/// another stream, and says nothing to its clients.
fn not_stored(reason: &str, are_probes_stored: bool) -> String {
    let more = if are_probes_stored {
        ". NATS answers and stores probes: look at its log; if its disk is full, make room and restart nats-server"
    } else {
        ""
    };
    format!("the last webhook could not be stored: {reason}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_probes_are_stored_and_webhooks_are_not_the_disk_is_named() {
        assert!(not_stored("no acknowledgement", true).contains("disk"));
        assert_eq!(not_stored("no answer", false), "the last webhook could not be stored: no answer");
    }

    #[test]
    fn a_stream_without_room_for_one_more_webhook_is_full() {
        for (bytes, limit, full) in [
            (0, -1, false),
            (u64::MAX / 2, 0, false),
            (0, 1000, false),
            (949, 1000, false),
            (950, 1000, true),
            (10 << 30, 10 << 30, true),
            ((10 << 30) - 100_000, 10 << 30, false),
        ] {
            assert_eq!(Fill { bytes, limit }.is_full(), full, "{bytes} of {limit}");
        }
    }
}
