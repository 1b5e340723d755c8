//! Telling LD Eval (CONTRACT §4).
//!
//! Work for LD Eval waits in `LD_NOTIFY`, one message per (prj, event type, author, quality model): the
//! stream keeps one message a subject, so queueing a newer one replaces an unsent older one. Whatever
//! LD Eval does, writes go on. Deliveries grow apart while it fails, a circuit keeps all but one
//! notification waiting, and an outage is one log line an interval.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{AckKind, Message};
use reqwest::StatusCode;
use shared::envelope::header::TRACEPARENT;
use shared::hash::short_sha256;
use shared::publish::{Outgoing, PublishError, Publisher};
use shared::retry::{Delays, Policy};
use shared::throttle::Throttle;
use shared::topology::{StreamName, Topology};
use shared::trace;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::EvalArgs;
use crate::pipeline::dead_letter;
use crate::pipeline::queue::Puller;
use crate::pipeline::{POLL, Pipeline};
use worker_event::effect::{Notification, Origin};
use worker_event::reason::Reason;
use worker_providers::report::Teller;

/// How many notifications are under way at once.
const AT_ONCE: usize = 16;

/// How long LD Eval may take to answer: it may recompute a project's metrics meanwhile. Less than the
/// ack wait, so that a notification under way is not sent by another worker too.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a notification that failed waits.
const LATER: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(30));

/// How all of them wait while LD Eval is down.
const CIRCUIT: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(15));

/// How long to wait between sendings while a backlog is worked off. Of the many notifications that come of it
/// most are replaced by newer ones meanwhile, and LD Eval computes once what it would compute ten times.
const BACKLOG: Duration = Duration::from_millis(250);

/// Queues notifications durably; a newer one replaces an unsent older one.
///
/// # Errors
/// When they are not known to be stored.
pub async fn queue(
    publisher: &Publisher,
    topology: &Topology,
    due: BTreeSet<&Notification>,
) -> Result<(), PublishError> {
    let outgoing = due.into_iter().filter_map(|notification| {
        // A struct of strings always is JSON.
        let payload = serde_json::to_vec(notification).ok()?;
        let key = short_sha256(&payload);
        let mut headers = HeaderMap::new();
        notification.origin.mark(&mut headers);
        Some(Outgoing { subject: topology.notify_subject(&key), headers, payload: payload.into() })
    });
    publisher.publish_all(outgoing.collect()).await
}

/// How LD Eval took a notification.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// Any 2xx.
    Accepted,
    /// Down, slow, 5xx, 408 or 429; with how long it asked us to wait.
    Later(String, Option<Duration>),
    /// Any other answer: it will never take this one.
    Refused(String),
}

/// Sends what waits in `LD_NOTIFY`.
#[derive(Debug)]
pub struct Notifier {
    pipeline: Arc<Pipeline>,
    http: reqwest::Client,
    url: String,
    failing: AtomicBool,
    outages: Throttle,
    teller: Teller,
}

impl Notifier {
    /// A notifier for the LD Eval of the settings.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(pipeline: Arc<Pipeline>, eval: &EvalArgs, teller: Teller) -> Result<Self, reqwest::Error> {
        let http = client()?;
        let url = format!("http://{}:{}/api/event", eval.eval_host, eval.eval_port);
        let outages = Throttle::new(Duration::from_secs(60));
        Ok(Self { pipeline, http, url, failing: AtomicBool::new(false), outages, teller })
    }

    /// Sends until the soft stop; at the hard stop leaves what is under way to the next worker.
    ///
    /// # Errors
    /// Never; it outlives every outage.
    pub async fn run(self: Arc<Self>, soft: CancellationToken, hard: CancellationToken) -> Result<(), Infallible> {
        let mut rebind = LATER.delays();
        while !soft.is_cancelled() {
            let Some(bound) = soft.run_until_cancelled(self.bind()).await else { return Ok(()) };
            let failed = match bound {
                Ok(mut puller) => {
                    let failed = self.pump(&mut puller, &soft, &hard, &mut rebind).await;
                    puller.close().await;
                    failed
                }
                Err(error) => Some(error),
            };
            let Some(error) = failed else { continue };
            tracing::debug!(%error, "cannot pull notifications; looking at streams and consumers again");
            tokio::select! {
                () = tokio::time::sleep(rebind.next_delay()) => {}
                () = soft.cancelled() => {}
            }
        }
        Ok(())
    }

    async fn bind(&self) -> Result<Puller, String> {
        let Pipeline { topology, jetstream, .. } = &*self.pipeline;
        topology.ensure(jetstream).await.map_err(|error| error.to_string())?;
        let consumer = topology.consumer(jetstream, StreamName::Notify).await.map_err(|error| error.to_string())?;
        Puller::new(jetstream, &consumer).await.map_err(|error| error.to_string())
    }

    /// Permit before pull: what is pulled is sent at once.
    async fn pump(
        self: &Arc<Self>,
        puller: &mut Puller,
        soft: &CancellationToken,
        hard: &CancellationToken,
        rebind: &mut Delays,
    ) -> Option<String> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut circuit = CIRCUIT.delays();
        let failed = loop {
            let free = tokio::select! {
                biased;
                () = soft.cancelled() => break None,
                free = self.free_places(&places, &mut circuit) => free,
            };
            let pulled = tokio::select! {
                biased;
                () = soft.cancelled() => break None,
                pulled = puller.pull(free, POLL) => pulled,
            };
            match pulled {
                Ok(messages) => {
                    rebind.reset();
                    for message in messages {
                        let Ok(place) = places.clone().acquire_owned().await else { break };
                        let notifier = self.clone();
                        tokio::spawn(async move {
                            notifier.deliver(message).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => break Some(error.to_string()),
            }
        };
        // What is under way is finished, in either case.
        drop(hard.run_until_cancelled(places.acquire_many(AT_ONCE as u32)).await);
        failed
    }

    /// How many may be sent now: all places while LD Eval answers, a single probe after a pause while not.
    async fn free_places(&self, places: &Semaphore, circuit: &mut Delays) -> usize {
        if self.failing.load(Ordering::Relaxed) {
            drop(places.acquire_many(AT_ONCE as u32).await);
            tokio::time::sleep(circuit.next_delay()).await;
            return 1;
        }
        circuit.reset();
        if self.pipeline.backlog.is_worked_off() {
            tokio::time::sleep(BACKLOG).await;
        }
        drop(places.acquire().await);
        places.available_permits().max(1)
    }

    /// Sends one notification and answers JetStream for it.
    async fn deliver(&self, message: Message) {
        let began = Instant::now();
        let origin = Origin::of(message.headers.as_ref());
        let answer = self.send(&message, &origin).await;
        metrics::histogram!("ldconnect_notify_seconds").record(began.elapsed().as_secs_f64());
        let outcome = match &answer {
            Answer::Accepted => "accepted",
            Answer::Later(..) => "later",
            Answer::Refused(_) => "refused",
        };
        metrics::counter!("ldconnect_notify_total", "outcome" => outcome).increment(1);
        let attempt = message.info().map_or(1, |info| u32::try_from(info.delivered).unwrap_or(u32::MAX));
        let kind = match answer {
            Answer::Accepted => {
                self.recovered();
                tracing::debug!(delivery.id = origin.id(), attempt, "told LD Eval");
                if let Ok(Notification { prj, event_type, .. }) = serde_json::from_slice(&message.payload) {
                    self.teller.told(&prj, &event_type);
                }
                let now = shared::time::now_ms() as f64 / 1000.0;
                metrics::gauge!("ldconnect_notify_last_accepted_timestamp_seconds").set(now);
                AckKind::Ack
            }
            Answer::Later(error, wait) => {
                self.failing.store(true, Ordering::Relaxed);
                self.teller.untold(&error);
                if let Some(held_back) = self.outages.open() {
                    tracing::warn!(%error, held_back, url = %self.url, "LD Eval does not take notifications; they wait in LD_NOTIFY, check EVAL_HOST and EVAL_PORT");
                }
                AckKind::Nak(Some(wait.unwrap_or_else(|| LATER.delay_for(attempt))))
            }
            Answer::Refused(error) => {
                self.recovered();
                let Pipeline { publisher, topology, .. } = &*self.pipeline;
                match dead_letter::publish(publisher, topology, &message, Reason::EvalRefused, &error).await {
                    Ok(()) => {
                        tracing::error!(%error, delivery.id = origin.id(), "LD Eval refused a notification; it went to LD_DEAD, look at it with `worker dead-letters`");
                        AckKind::Ack
                    }
                    Err(_) => AckKind::Nak(Some(LATER.delay_for(attempt))),
                }
            }
        };
        if let Err(error) = message.ack_with(kind).await {
            tracing::debug!(%error, "an answer to JetStream was lost; the notification is sent again");
        }
    }

    fn recovered(&self) {
        if self.failing.swap(false, Ordering::Relaxed) && self.outages.reset() {
            tracing::info!("LD Eval takes notifications again");
        }
    }

    async fn send(&self, message: &Message, origin: &Origin) -> Answer {
        let mut span = trace::begin("notify LD Eval", trace::StepKind::Client, origin.traceparent.as_deref());
        span.set("delivery.id", origin.id().to_owned());
        let mut request = self
            .http
            .post(&self.url)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(message.payload.clone());
        if let Some(traceparent) = span.traceparent() {
            request = request.header(TRACEPARENT, traceparent);
        }
        let answer = match request.send().await {
            Ok(response) => judge(response.status(), retry_after(&response)),
            Err(error) => Answer::Later(format!("LD Eval cannot be reached: {}", reason(error)), None),
        };
        if let Answer::Later(error, _) | Answer::Refused(error) = &answer {
            span.failed(error);
        }
        answer
    }
}

/// A client that follows no redirect: it would turn the POST into a GET, and the page that this finds (of a proxy that
/// wants a login, say) would pass for LD Eval's answer.
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// Why, and only that: what the client was about says nothing more, and the URL may carry a password in odd settings.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `Retry-After` in seconds, bounded: LD Eval must not be able to silence us for a day.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, 300)))
}

fn judge(status: StatusCode, wait: Option<Duration>) -> Answer {
    let text = || format!("LD Eval answered {status}");
    match status {
        status if status.is_success() => Answer::Accepted,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Answer::Later(text(), wait),
        status if status.is_client_error() => Answer::Refused(text()),
        _ => Answer::Later(text(), wait),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_redirect_is_no_acceptance() {
        // As main does; without it no client can be made.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/event", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            for answer in ["302 Found\r\nLocation: /login", "200 OK"] {
                let (mut connection, _) = listener.accept().await.unwrap();
                assert_ne!(connection.read(&mut [0; 4096]).await.unwrap(), 0);
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let response = client().unwrap().post(url).body("{}").send().await.unwrap();
        server.abort();
        assert!(matches!(judge(response.status(), None), Answer::Later(..)), "{}", response.status());
    }

    #[test]
    fn only_a_client_error_that_will_not_pass_is_final() {
        for (status, accepted, refused) in [
            (200, true, false),
            (204, true, false),
            (302, false, false),
            (400, false, true),
            (404, false, true),
            (408, false, false),
            (422, false, true),
            (429, false, false),
            (500, false, false),
            (503, false, false),
        ] {
            let answer = judge(StatusCode::from_u16(status).unwrap(), None);
            assert_eq!(answer == Answer::Accepted, accepted, "{status}");
            assert_eq!(matches!(answer, Answer::Refused(_)), refused, "{status}");
        }
    }
}
