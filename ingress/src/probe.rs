//! Readiness: the path into JetStream is proved by using it (LESSONS: "connected" stays green through a full
//! disk), and missing streams are created on the way.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::{Client, HeaderMap};
use serde_json::json;
use shared::admin::Readiness;
use shared::credentials::Handle;
use shared::publish::{Outgoing, Publisher};
use shared::retry::{Delays, Policy};
use shared::telemetry::Throttle;
use shared::topology::{StreamName, Topology};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::limits::PUBLISH_DEADLINE;
use crate::publish::Signals;

/// How often is the path tried?
const EVERY: Duration = Duration::from_secs(2);

/// How long may one try take?
const PATIENCE: Duration = Duration::from_secs(2);

/// How old may the last success be?
const FRESH: Duration = Duration::from_secs(6);

/// How long does a failed webhook count against readiness, when none was stored since?
const FAILING: Duration = Duration::from_secs(10);

/// How often is an outage told in the log?
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Creating streams is tried with growing delays, spread so that several processes do not knock together.
const ENSURE: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(10));

/// How full may the events stream be? One more webhook of ordinary size must fit.
const ROOM: u64 = 64 * 1024;

/// The task that tries the path.
#[derive(Debug)]
pub struct Probe {
    topology: Topology,
    jetstream: Context,
    /// Its own, so that no probe travels in a batch with events: a batch is of one stream.
    publisher: Publisher,
    signals: Arc<Signals>,
    courses: Handle,
    readiness: watch::Sender<Readiness>,
    last_success: Option<Instant>,
    /// Since when every probe has succeeded.
    healthy_since: Option<Instant>,
    streams: Streams,
    told: Throttle,
}

/// Whether the streams are known to be there.
#[derive(Debug)]
struct Streams {
    there: bool,
    retry: Delays,
    not_before: Instant,
}

/// Bytes of the events stream; a ceiling of zero or less is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fill {
    bytes: u64,
    ceiling: i64,
}

impl Fill {
    fn is_full(self) -> bool {
        u64::try_from(self.ceiling).is_ok_and(|ceiling| ceiling > 0 && self.bytes + ROOM.min(ceiling / 20) >= ceiling)
    }
}

impl Probe {
    /// A probe, and what `/readyz` is to read.
    #[must_use]
    pub fn new(
        client: Client,
        topology: Topology,
        signals: Arc<Signals>,
        courses: Handle,
    ) -> (Self, watch::Receiver<Readiness>) {
        let (readiness, receiver) = watch::channel(Readiness::not_yet("starting: JetStream has not been tried yet"));
        let probe = Self {
            topology,
            jetstream: shared::nats::jetstream(client.clone()),
            publisher: Publisher::new(client),
            signals,
            courses,
            readiness,
            last_success: None,
            healthy_since: None,
            streams: Streams { there: false, retry: ENSURE.delays(), not_before: Instant::now() },
            told: Throttle::new(TELL_EVERY),
        };
        (probe, receiver)
    }

    /// Tries again and again until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let signals = self.signals.clone();
        while stop.run_until_cancelled(self.step()).await.is_some() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
                () = signals.stream_missing.notified() => self.streams.there = false,
            }
        }
    }

    async fn step(&mut self) {
        let result = match self.ensure().await {
            Ok(()) => self.try_path().await,
            Err(problem) => Err(problem),
        };
        match &result {
            Ok(_) => {
                let now = Instant::now();
                self.last_success = Some(now);
                self.healthy_since.get_or_insert(now);
                if self.told.reset() {
                    tracing::info!("JetStream takes webhooks again");
                }
            }
            Err(problem) => {
                self.healthy_since = None;
                if let Some(more) = self.told.open() {
                    tracing::warn!(problem, more, "JetStream does not take webhooks");
                }
            }
        }
        self.report(result);
    }

    /// Creates the streams when they are not known to be there.
    async fn ensure(&mut self) -> Result<(), String> {
        if self.streams.there {
            return Ok(());
        }
        if Instant::now() < self.streams.not_before {
            return Err("the streams are missing and will be created soon".to_owned());
        }
        match timeout(PATIENCE, self.topology.ensure(&self.jetstream)).await {
            Ok(Ok(())) => {
                self.streams.there = true;
                self.streams.retry.reset();
                Ok(())
            }
            failed => {
                self.streams.not_before = Instant::now() + self.streams.retry.next_delay();
                Err(match failed {
                    Ok(Err(error)) => format!("{error}; is JetStream on, and is this user allowed to?"),
                    _ => "NATS does not answer: is NATS_URL right and the server up?".to_owned(),
                })
            }
        }
    }

    /// Publishes for real, and looks how full the events stream is.
    async fn try_path(&mut self) -> Result<Fill, String> {
        let message = Outgoing {
            subject: self.topology.probe_subject("ingress"),
            headers: HeaderMap::new(),
            payload: shared::time::rfc3339(shared::time::now_ms()).into(),
        };
        let name = self.topology.stream(StreamName::Events);
        let tried =
            async { futures::future::join(self.publisher.publish(message), self.jetstream.get_stream(&name)).await };
        let Ok((published, stream)) = timeout(PATIENCE, tried).await else {
            return Err(format!(
                "a probe was not acknowledged within {} s: NATS is down, frozen or overloaded",
                PATIENCE.as_secs()
            ));
        };
        let stream = stream.map_err(|error| {
            self.streams.there = false;
            format!("stream {name} cannot be read: {error}")
        })?;
        published.map_err(|error| {
            self.streams.there = false;
            error.to_string()
        })?;
        let info = stream.cached_info();
        Ok(Fill { bytes: info.state.bytes, ceiling: info.config.max_bytes })
    }

    fn report(&self, result: Result<Fill, String>) {
        let fresh = self.last_success.is_some_and(|at| at.elapsed() < FRESH);
        let mut readiness = Readiness::default();
        readiness
            .facts
            .insert("last_probe_ms_ago".into(), json!(self.last_success.map(|at| at.elapsed().as_millis() as u64)));
        let file = self.courses.problem();
        readiness.facts.insert("credentials_file".into(), json!(file.as_deref().unwrap_or("ok")));
        match result {
            Ok(fill) => {
                let ceiling = (fill.ceiling > 0).then_some(fill.ceiling);
                readiness.facts.insert("events_bytes".into(), json!(fill.bytes));
                readiness.facts.insert("events_max_bytes".into(), json!(ceiling));
                if fill.is_full() {
                    readiness.problems.push(format!(
                        "the events stream is full ({} of {} bytes): let the worker catch up or raise LD_EVENTS_MAX_BYTES",
                        fill.bytes, fill.ceiling
                    ));
                }
            }
            // A single slow answer is not an outage; a missing stream is.
            Err(problem) if fresh && self.streams.there => {
                drop(readiness.facts.insert("last_problem".into(), json!(problem)))
            }
            Err(problem) => readiness.problems.push(problem),
        }
        // A webhook that came before the recovery may fail for a deadline longer; that is the outage that is over.
        let healthy_for = self.healthy_since.map_or(Duration::ZERO, |since| since.elapsed());
        if self.signals.failing_since(FAILING.min(healthy_for.saturating_sub(PUBLISH_DEADLINE))) {
            readiness.problems.push("the last webhook could not be stored; see the log".to_owned());
        }
        metrics::gauge!("ldconnect_ready").set(f64::from(u8::from(readiness.problems.is_empty())));
        self.readiness.send_replace(readiness);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_room_for_one_more_webhook_is_full() {
        for (bytes, ceiling, full) in [
            (0, -1, false),
            (u64::MAX / 2, 0, false),
            (0, 1000, false),
            (949, 1000, false),
            (950, 1000, true),
            (10 << 30, 10 << 30, true),
            ((10 << 30) - 100_000, 10 << 30, false),
        ] {
            assert_eq!(Fill { bytes, ceiling }.is_full(), full, "{bytes} of {ceiling}");
        }
    }
}
