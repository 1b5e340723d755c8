//! Makes the look-ups that wait in `LD_ENRICH`.
//!
//! A look-up is acknowledged when its results are written and LD Eval's notifications are queued. If the process dies
//! before that, it is made again.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Message;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use shared::ids::Project;
use shared::topology::StreamName;
use shared::trace;
use worker_event::reason::Reason;
use worker_providers::ProviderError;
use worker_providers::config::EnrichArgs;
use worker_providers::github::GithubClient;
use worker_providers::report::Reporter;
use worker_providers::taiga::TaigaClient;

use super::attempts::Attempts;
use super::claim::{Claim, Claims};
use super::lookup::{Lookup, Requester};
use crate::origin::Origin;
use crate::pipeline::Pipeline;
use crate::pipeline::consumer::{Consumer, Handler, Slots};
use crate::pipeline::settle::{InFlight, Settlement, Stop};

/// A look-up in flight may take this long after the soft stop. Then another worker gets it.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Makes look-ups.
#[derive(Debug)]
pub struct Enricher {
    pipeline: Arc<Pipeline>,
    github: GithubClient,
    taiga: TaigaClient,
    slots: usize,
    attempts: Attempts,
    claims: Claims,
    rest: Option<Arc<dyn Rest>>,
}

/// Reads what a push did not name.
pub trait Rest: fmt::Debug + Send + Sync {
    /// Publishes the commits of a repository that a project lacks. `false` when it is not the project's to read.
    fn read<'a>(&'a self, prj: &'a Project, repo: &'a str) -> BoxFuture<'a, Result<bool, ProviderError>>;
}

impl Enricher {
    /// With the tokens of the pipeline.
    ///
    /// # Errors
    /// When an HTTP client cannot be made.
    pub fn new(pipeline: Arc<Pipeline>, args: &EnrichArgs, reporter: Reporter) -> Result<Self, reqwest::Error> {
        Ok(Self {
            pipeline,
            github: GithubClient::new(&args.github_api_url, reporter.clone())?,
            taiga: TaigaClient::new(args.taiga_api(), args.taiga_auth(), reporter)?,
            slots: args.enrich_concurrency.get(),
            attempts: Attempts::default(),
            claims: Claims::default(),
            rest: None,
        })
    }

    /// With somebody who reads what a push did not name. Without, the nightly reconciliation does.
    #[must_use]
    pub fn with_rest(self, rest: Arc<dyn Rest>) -> Self {
        Self { rest: Some(rest), ..self }
    }

    /// Works until the soft stop.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self: Arc<Self>, stop: Stop) -> Result<(), Infallible> {
        let slots = Slots { count: self.slots, batch: 1 };
        let stop = Stop { finish_within: Some(FINISH_WITHIN), ..stop };
        Consumer { pipeline: Arc::clone(&self.pipeline), stream: StreamName::Enrich, slots, stop }.run(self).await
    }

    /// The provider and the outcome, by their names in metrics, and what becomes of the message.
    async fn look_up(&self, messages: &InFlight, message: &Message) -> (&'static str, &'static str, Settlement) {
        let lookup = match serde_json::from_slice::<Lookup>(&message.payload) {
            Ok(lookup) => lookup,
            Err(error) => return ("none", "dead", Settlement::dead(Reason::EnrichUnreadable, error)),
        };
        let source = lookup.source().as_str();
        let origin = Origin::of(message.headers.as_ref());
        let mut span = trace::begin("look up", trace::StepKind::Client, origin.traceparent.as_deref());
        span.set("source", source);
        span.set("delivery.id", origin.id().to_owned());
        // Requests and notifications are children of this span.
        let origin = Origin { traceparent: span.traceparent(), ..origin };
        let made = AssertUnwindSafe(self.make(&lookup, &origin, messages, message)).catch_unwind();
        let made = trace::within(span.traceparent(), made);
        let (outcome, settlement) = match messages.until_stop(made).await {
            None => ("handed_back", Settlement::HandBack),
            Some(Ok(Ok(outcome))) => (outcome, Settlement::Ack),
            Some(Ok(Err(error))) => self.attempts.failed(messages.sequence(0), error),
            Some(Err(_)) => {
                let error = ProviderError::Unreadable("the worker panicked on it".to_owned());
                self.attempts.failed(messages.sequence(0), error)
            }
        };
        tracing::debug!(delivery.id = origin.id(), source, outcome, "looked up what a delivery left open");
        (source, outcome, settlement)
    }

    /// Looks up, writes, and queues notifications.
    async fn make(
        &self,
        lookup: &Lookup,
        origin: &Origin,
        messages: &InFlight,
        message: &Message,
    ) -> Result<&'static str, ProviderError> {
        let (outcome, repeat_after) = match lookup {
            Lookup::Commits { requester, repo, shas } => {
                let attempt = self.attempts.of(messages.sequence(0)) + 1;
                (self.commits(requester, repo, shas, attempt).await?, None)
            }
            Lookup::Milestone { requester, milestone } => {
                self.milestone(requester, *milestone, queued_ms(message)).await?
            }
            Lookup::Rest { requester, repo } => (self.rest(requester, repo).await?, None),
        };
        if outcome != "no_token" {
            let notifications = lookup.notifications();
            let due: Vec<_> = notifications.iter().map(|notification| (notification, origin)).collect();
            let queued = self.pipeline.notifications.put(&due).await;
            queued.map_err(|error| ProviderError::Unavailable(format!("notifications cannot be queued: {error}")))?;
        }
        repeat_after.map_or(Ok(outcome), |wait| Err(ProviderError::Limited(wait)))
    }

    async fn commits(
        &self,
        requester: &Requester,
        repo: &str,
        shas: &[String],
        attempt: u32,
    ) -> Result<&'static str, ProviderError> {
        let Some(token) = self.pipeline.tokens.github(&requester.prj) else { return Ok("no_token") };
        let _slot = self.github.queue_slot(&token)?;
        let _claim = Claim::take(&self.claims, &requester.prj, shas)?;
        let store = &self.pipeline.store;
        let unknown = store.commits_to_look_up(requester.prj.as_str(), shas).await?;
        if unknown.is_empty() {
            return Ok("known");
        }
        let mut search = self.github.search(&token, repo, unknown, attempt);
        while let Some((facts, then)) = search.next().await {
            store.enrich_commits(requester.prj.as_str(), &facts).await?;
            if let Some(then) = then {
                return Err(then);
            }
        }
        Ok("done")
    }

    async fn rest(&self, requester: &Requester, repo: &str) -> Result<&'static str, ProviderError> {
        let (Some(rest), Some(token)) = (&self.rest, self.pipeline.tokens.github(&requester.prj)) else {
            return Ok("no_token");
        };
        let _slot = self.github.queue_slot(&token)?;
        Ok(if rest.read(&requester.prj, repo).await? { "done" } else { "unknown" })
    }

    async fn milestone(
        &self,
        requester: &Requester,
        milestone: i64,
        queued_ms: i64,
    ) -> Result<(&'static str, Option<Duration>), ProviderError> {
        let Some(account) = self.pipeline.tokens.taiga(&requester.prj) else { return Ok(("no_token", None)) };
        let _slot = self.taiga.queue_slot(&account)?;
        let figures = self.taiga.milestone(&account, milestone, queued_ms).await?;
        self.pipeline.store.enrich_milestone(requester.prj.as_str(), milestone, figures.fields.as_ref()).await?;
        Ok((if figures.fields.is_some() { "done" } else { "unknown" }, figures.repeat_after))
    }
}

impl Handler for Enricher {
    async fn handle(&self, messages: Arc<InFlight>) {
        let Some(message) = messages.messages().first() else { return };
        let (source, outcome, settlement) = self.look_up(&messages, message).await;
        metrics::counter!("ldconnect_enrich_total", "provider" => source, "outcome" => outcome).increment(1);
        if matches!(settlement, Settlement::Ack | Settlement::DeadLetter { .. }) {
            self.attempts.forget(messages.sequence(0));
        }
        messages.settle(0, settlement).await;
    }
}

/// When the look-up was queued, by the server's clock.
fn queued_ms(message: &Message) -> i64 {
    let published = message.info().map(|info| info.published.unix_timestamp_nanos() / 1_000_000);
    published.ok().and_then(|ms| i64::try_from(ms).ok()).unwrap_or_else(shared::time::now_ms)
}
