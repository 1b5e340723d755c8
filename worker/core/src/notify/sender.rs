//! Sends notifications to LD Eval.
//!
//! Projects take turns ([`turns`](super::turns)). Only while LD Eval cannot be reached at all are all of them held back but
//! one, which probes. Either is one log line per interval.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream::Message;
use reqwest::StatusCode;
use shared::credentials::Handle;
use shared::envelope::header::TRACEPARENT;
use shared::ids::Project;
use shared::retry::{Delays, Policy};
use shared::throttle::Throttle;
use shared::topology::StreamName;
use shared::trace;
use tokio::sync::{Mutex, Notify};
use worker_event::effect::Notification;
use worker_event::reason::Reason;
use worker_providers::report::Reporter;

use super::turns::{SLOW, Turns};
use crate::config::EvalArgs;
use crate::origin::Origin;
use crate::pipeline::Pipeline;
use crate::pipeline::consumer::{Consumer, Handler, Slots};
use crate::pipeline::settle::{InFlight, Settlement, Stop};

/// Notifications that this process holds while they wait for their project's turn. Each is some 200 bytes.
const HELD_MAX: usize = 1_024;

/// LD Eval may recompute a project's metrics before it answers. Less than the ack wait, so that no other worker sends the
/// notification meanwhile.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Delay between probes while LD Eval cannot be reached.
const PROBE: Policy = Policy::new(Duration::from_millis(250), Duration::from_secs(15));

/// Delay of the other notifications meanwhile. They are pulled again one by one.
const UNREACHABLE_RETRY: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(2));

/// Pause between pulls while there is a backlog of events. Most notifications that it causes are replaced by newer ones
/// meanwhile, and LD Eval computes once instead of ten times.
const BACKLOG_PAUSE: Duration = Duration::from_millis(250);

/// How many notifications are pulled after such a pause.
const BACKLOG_PULL: usize = 32;

/// LD Eval's trouble is logged once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How LD Eval took a notification.
#[derive(Debug, PartialEq, Eq)]
enum EvalReply {
    /// 2xx.
    Accepted,
    /// A timeout, 5xx, 408 or 429; with its `Retry-After`.
    Failed(String, Option<Duration>),
    /// No connection.
    Unreachable(String),
    /// Any other status: it will never accept this notification.
    Refused(String),
}

/// Sends what waits in `LD_NOTIFY`.
#[derive(Debug)]
pub struct Sender {
    pipeline: Arc<Pipeline>,
    http: reqwest::Client,
    url: String,
    turns: Turns,
    circuit: Circuit,
    outages: Throttle,
    courses: Handle,
    reporter: Reporter,
}

/// Open while LD Eval cannot be reached.
#[derive(Debug)]
struct Circuit {
    is_open: AtomicBool,
    /// One notification may be sent, as a probe.
    probe: AtomicBool,
    delays: Mutex<Delays>,
    closed: Notify,
}

impl Circuit {
    fn new() -> Self {
        let (is_open, probe) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { is_open, probe, delays: Mutex::new(PROBE.delays()), closed: Notify::new() }
    }

    /// How many notifications to pull now: all while it is closed, a single probe after a pause while it is open.
    async fn demand(&self, free: usize) -> usize {
        if self.is_open.load(Ordering::Relaxed) {
            let delay = self.delays.lock().await.next_delay();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.closed.notified() => {}
            }
        }
        if self.is_open.load(Ordering::Relaxed) {
            self.probe.store(true, Ordering::Relaxed);
            return 1;
        }
        free
    }

    /// Whether a notification may be sent now.
    fn lets_through(&self) -> bool {
        !self.is_open.load(Ordering::Relaxed) || self.probe.swap(false, Ordering::Relaxed)
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    async fn close(&self) {
        if self.is_open.swap(false, Ordering::Relaxed) {
            self.delays.lock().await.reset();
            self.closed.notify_one();
        }
    }
}

impl Sender {
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        pipeline: Arc<Pipeline>,
        eval: &EvalArgs,
        courses: Handle,
        reporter: Reporter,
    ) -> Result<Self, reqwest::Error> {
        let http = client()?;
        let url = format!("http://{}:{}/api/event", eval.eval_host, eval.eval_port);
        let (turns, circuit, outages) = (Turns::default(), Circuit::new(), Throttle::new(LOG_INTERVAL));
        Ok(Self { pipeline, http, url, turns, circuit, outages, courses, reporter })
    }

    /// Sends until the soft stop.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self: Arc<Self>, stop: Stop) -> Result<(), Infallible> {
        let slots = Slots { count: HELD_MAX, batch: 1 };
        Consumer { pipeline: Arc::clone(&self.pipeline), stream: StreamName::Notify, slots, stop }.run(self).await
    }

    /// `None` at the stop.
    async fn notify(&self, messages: &InFlight, message: &Message) -> Option<Settlement> {
        let parsed = serde_json::from_slice::<Notification>(&message.payload);
        let project = parsed.as_ref().map_or("", |notification| notification.prj.as_str());
        if !self.circuit.lets_through() {
            return Some(Settlement::RetryAfter(UNREACHABLE_RETRY.delay_for(1)));
        }
        let mut turn = match messages.until_stop(self.turns.next(project)).await? {
            Ok(turn) => turn,
            Err(delay) => return Some(Settlement::RetryAfter(delay)),
        };
        let origin = Origin::of(message.headers.as_ref());
        let began = tokio::time::Instant::now();
        let request = async {
            let mut request = std::pin::pin!(self.send(message, &origin));
            match tokio::time::timeout(SLOW, &mut request).await {
                Ok(reply) => reply,
                Err(_) => {
                    turn.is_slow();
                    request.await
                }
            }
        };
        let reply = messages.until_stop(request).await?;
        metrics::histogram!("ldconnect_notify_seconds").record(began.elapsed().as_secs_f64());
        let outcome = match &reply {
            EvalReply::Accepted => "accepted",
            EvalReply::Failed(..) | EvalReply::Unreachable(_) => "later",
            EvalReply::Refused(_) => "refused",
        };
        metrics::counter!("ldconnect_notify_total", "outcome" => outcome).increment(1);
        if !matches!(reply, EvalReply::Unreachable(_)) {
            self.circuit.close().await;
        }
        if let EvalReply::Failed(error, _) | EvalReply::Unreachable(error) | EvalReply::Refused(error) = &reply {
            tracing::debug!(delivery.id = origin.id(), attempt = messages.delivered(0), %error, "LD Eval did not take a notification");
        }
        let settlement = match reply {
            EvalReply::Accepted => {
                turn.succeeded();
                self.recovered();
                tracing::debug!(delivery.id = origin.id(), attempt = messages.delivered(0), "notified LD Eval");
                if let Ok(Notification { prj, event_type, .. }) = &parsed {
                    let team = Project::new(prj).ok().filter(|prj| self.courses.courses().course_of(prj).is_some());
                    self.reporter.notification_accepted(prj, event_type, team.as_ref());
                }
                let now = shared::time::now_ms() as f64 / 1000.0;
                metrics::gauge!("ldconnect_notify_last_accepted_timestamp_seconds").set(now);
                Settlement::Ack
            }
            EvalReply::Failed(error, wait) => {
                self.log_trouble(project, &error);
                Settlement::RetryAfter(turn.failed(wait))
            }
            EvalReply::Unreachable(error) => {
                self.circuit.open();
                self.log_trouble(project, &error);
                Settlement::RetryAfter(UNREACHABLE_RETRY.delay_for(1))
            }
            EvalReply::Refused(error) => {
                turn.succeeded();
                self.recovered();
                Settlement::dead(Reason::EvalRefused, error)
            }
        };
        Some(settlement)
    }

    fn log_trouble(&self, project: &str, error: &str) {
        self.reporter.notification_failed(error);
        if let Some(held_back) = self.outages.open() {
            tracing::warn!(%error, project, held_back, url = %self.url, "LD Eval does not take notifications; they wait in LD_NOTIFY, check EVAL_HOST and EVAL_PORT");
        }
    }

    fn recovered(&self) {
        if self.outages.reset() {
            tracing::info!("LD Eval takes notifications again");
        }
    }

    async fn send(&self, message: &Message, origin: &Origin) -> EvalReply {
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
        let reply = match request.send().await {
            Ok(response) => judge(response.status(), retry_after(&response)),
            Err(error) if error.is_connect() => {
                EvalReply::Unreachable(format!("LD Eval cannot be reached: {}", cause(error)))
            }
            Err(error) => EvalReply::Failed(format!("LD Eval does not answer: {}", cause(error)), None),
        };
        if let EvalReply::Failed(error, _) | EvalReply::Unreachable(error) | EvalReply::Refused(error) = &reply {
            span.failed(error);
        }
        reply
    }
}

impl Handler for Sender {
    async fn demand(&self, free: usize) -> Option<usize> {
        let most = match self.pipeline.backlog.is_being_processed() {
            true => {
                tokio::time::sleep(BACKLOG_PAUSE).await;
                free.min(BACKLOG_PULL)
            }
            false => free,
        };
        Some(self.circuit.demand(most).await)
    }

    async fn handle(&self, messages: Arc<InFlight>) {
        let Some(message) = messages.messages().first() else { return };
        if let Some(settlement) = self.notify(&messages, message).await {
            messages.settle(0, settlement).await;
        }
    }
}

/// Follows no redirect: it would turn the POST into a GET, and the login page of a proxy, for example, would count as
/// LD Eval's acceptance.
fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(3))
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// The innermost cause. The URL may contain a password.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// `Retry-After` in seconds, bounded: LD Eval must not be able to stop notifications for a day.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, 300)))
}

fn judge(status: StatusCode, wait: Option<Duration>) -> EvalReply {
    let text = || format!("LD Eval answered {status}");
    match status {
        status if status.is_success() => EvalReply::Accepted,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => EvalReply::Failed(text(), wait),
        status if status.is_client_error() => EvalReply::Refused(text()),
        _ => EvalReply::Failed(text(), wait),
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
        assert!(matches!(judge(response.status(), None), EvalReply::Failed(..)), "{}", response.status());
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
            assert_eq!(answer == EvalReply::Accepted, accepted, "{status}");
            assert_eq!(matches!(answer, EvalReply::Refused(_)), refused, "{status}");
        }
    }
}
