//! Makes the look-ups that wait in `LD_ENRICH`.
//!
//! A look-up is acknowledged when what was learned is written and LD Eval's notifications are queued;
//! whatever dies before that, it is made again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use futures::FutureExt as _;
use shared::retry::{Delays, Policy};
use shared::throttle::Throttle;
use shared::topology::{ACK_WAIT, StreamName};
use shared::trace;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::claim::{Claim, Claims};
use super::lookup::{Asker, Lookup};
use super::settle::{Outcome, Settler};
use crate::notify;
use crate::pipeline::Pipeline;
use crate::pipeline::queue::Puller;
use worker_event::effect::Origin;
use worker_providers::NotYet;
use worker_providers::config::EnrichArgs;
use worker_providers::github::Github;
use worker_providers::report::Teller;
use worker_providers::taiga::Taiga;

/// How long a pull waits at the server before it is asked again.
const POLL: Duration = Duration::from_secs(1);

/// How long to wait before the topology is looked at again after a pull failed.
const REBIND: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// How long a look-up under way may take after the soft stop; then another worker gets it.
const STOPPING: Duration = Duration::from_secs(5);

/// Makes look-ups.
#[derive(Debug)]
pub struct Enricher {
    pipeline: Arc<Pipeline>,
    github: Github,
    taiga: Taiga,
    places: usize,
    settler: Settler,
    claims: Claims,
    pulls: Throttle,
}

impl Enricher {
    /// Asks at the addresses of the settings, with the tokens of the pipeline.
    ///
    /// # Errors
    /// When an HTTP client cannot be made.
    pub fn new(pipeline: Arc<Pipeline>, args: &EnrichArgs, teller: Teller) -> Result<Self, reqwest::Error> {
        Ok(Self {
            settler: Settler::new(pipeline.clone()),
            pipeline,
            github: Github::new(&args.github_api_url, teller.clone())?,
            taiga: Taiga::new(args.taiga_api(), args.taiga_auth(), teller)?,
            places: args.enrich_concurrency.get(),
            claims: Claims::default(),
            pulls: Throttle::new(Duration::from_secs(30)),
        })
    }

    /// Works until the soft stop.
    ///
    /// # Errors
    /// Never; it outlives every outage.
    pub async fn run(self: Arc<Self>, soft: CancellationToken) -> Result<(), Infallible> {
        let mut rebind = REBIND.delays();
        while !soft.is_cancelled() {
            let Some(bound) = soft.run_until_cancelled(self.bind()).await else { break };
            let failed = match bound {
                Ok(mut puller) => {
                    let failed = self.pump(&mut puller, &soft, &mut rebind).await;
                    puller.close().await;
                    failed
                }
                Err(error) => Some(error),
            };
            let Some(error) = failed else { continue };
            if let Some(held_back) = self.pulls.open() {
                tracing::warn!(%error, held_back, "cannot pull look-ups; looking at streams and consumers again");
            }
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
        let consumer = topology.consumer(jetstream, StreamName::Enrich).await.map_err(|error| error.to_string())?;
        Puller::new(jetstream, &consumer).await.map_err(|error| error.to_string())
    }

    /// Permit before pull: what is pulled is worked on at once.
    async fn pump(
        self: &Arc<Self>,
        puller: &mut Puller,
        soft: &CancellationToken,
        rebind: &mut Delays,
    ) -> Option<String> {
        let places = Arc::new(Semaphore::new(self.places));
        let failed = loop {
            let free = tokio::select! {
                biased;
                () = soft.cancelled() => break None,
                permit = places.acquire() => { drop(permit); places.available_permits().max(1) }
            };
            let pulled = tokio::select! {
                biased;
                () = soft.cancelled() => break None,
                pulled = puller.pull(free, POLL) => pulled,
            };
            match pulled {
                Ok(messages) => {
                    rebind.reset();
                    self.pulls.reset();
                    for message in messages {
                        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
                        let (enricher, soft) = (Arc::clone(self), soft.clone());
                        tokio::spawn(async move {
                            enricher.handle(&message, &soft).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => break Some(error.to_string()),
            }
        };
        // What is under way is finished or handed back, in either case.
        let all = u32::try_from(self.places).unwrap_or(u32::MAX);
        drop(places.acquire_many(all).await);
        failed
    }

    /// Makes one look-up and answers JetStream for it.
    async fn handle(&self, message: &Message, soft: &CancellationToken) {
        let stopping = async {
            soft.cancelled().await;
            tokio::time::sleep(STOPPING).await;
        };
        let (source, outcome) = match serde_json::from_slice::<Lookup>(&message.payload) {
            Err(error) => ("none", Outcome::Nonsense(error.to_string())),
            Ok(lookup) => {
                let origin = Origin::of(message.headers.as_ref());
                let mut span = trace::begin("look up", trace::StepKind::Client, origin.traceparent.as_deref());
                span.set("source", lookup.source().as_str());
                span.set("delivery.id", origin.id().to_owned());
                // What is asked, and what LD Eval is told then, comes of this step.
                let lookup = lookup.with_origin(Origin { traceparent: span.traceparent(), ..origin });
                let made = trace::within(span.traceparent(), self.make(&lookup, message));
                let outcome = tokio::select! {
                    outcome = AssertUnwindSafe(made).catch_unwind() => match outcome {
                        Ok(Ok(word)) => Outcome::Done(word),
                        Ok(Err(not_yet)) => Outcome::NotYet(not_yet),
                        Err(_) => Outcome::NotYet(NotYet::Unreadable("the worker panicked on it".to_owned())),
                    },
                    () = keep_alive(message) => Outcome::HandBack,
                    () = stopping => Outcome::HandBack,
                };
                tracing::debug!(
                    delivery.id = lookup.asker().origin.id(),
                    source = lookup.source().as_str(),
                    ?outcome,
                    "looked up what a delivery left open"
                );
                (lookup.source().as_str(), outcome)
            }
        };
        self.settler.settle(message, source, outcome).await;
    }

    /// Asks, writes, tells.
    async fn make(&self, lookup: &Lookup, message: &Message) -> Result<&'static str, NotYet> {
        let (word, then) = match lookup {
            Lookup::Commits { asker, repo, shas } => {
                (self.commits(asker, repo, shas, self.settler.attempts_of(message) + 1).await?, None)
            }
            Lookup::Milestone { asker, milestone } => self.milestone(asker, *milestone, queued_ms(message)).await?,
        };
        if word != "no_token" {
            let told = lookup.notifications();
            let told: BTreeSet<_> = told.iter().collect();
            let queued = notify::queue(&self.pipeline.publisher, &self.pipeline.topology, told).await;
            queued.map_err(|error| NotYet::Failing(format!("notifications cannot be queued: {error}")))?;
        }
        then.map_or(Ok(word), |wait| Err(NotYet::Wait(wait)))
    }

    async fn commits(&self, asker: &Asker, repo: &str, shas: &[String], attempt: u32) -> Result<&'static str, NotYet> {
        let Some(token) = self.pipeline.tokens.github(&asker.prj) else { return Ok("no_token") };
        let _seat = self.github.seat(&token)?;
        let _claim = Claim::take(&self.claims, &asker.prj, shas)?;
        let store = &self.pipeline.store;
        let unknown = store.commits_to_look_up(asker.prj.as_str(), shas).await?;
        if unknown.is_empty() {
            return Ok("known");
        }
        let mut search = self.github.search(&token, repo, unknown, attempt);
        while let Some((facts, then)) = search.next().await {
            store.enrich_commits(asker.prj.as_str(), &facts).await?;
            if let Some(then) = then {
                return Err(then);
            }
        }
        Ok("done")
    }

    async fn milestone(
        &self,
        asker: &Asker,
        milestone: i64,
        queued_ms: i64,
    ) -> Result<(&'static str, Option<Duration>), NotYet> {
        let Some(account) = self.pipeline.tokens.taiga(&asker.prj) else { return Ok(("no_token", None)) };
        let _seat = self.taiga.seat(&account)?;
        let figures = self.taiga.milestone(&account, milestone, queued_ms).await?;
        self.pipeline.store.enrich_milestone(asker.prj.as_str(), milestone, figures.fields.as_ref()).await?;
        Ok((if figures.fields.is_some() { "done" } else { "unknown" }, figures.again))
    }
}

/// When the look-up was queued, by the server's clock; with nothing to go by, now.
fn queued_ms(message: &Message) -> i64 {
    let published = message.info().map(|info| info.published.unix_timestamp_nanos() / 1_000_000);
    published.ok().and_then(|ms| i64::try_from(ms).ok()).unwrap_or_else(shared::time::now_ms)
}

/// Tells JetStream again and again that a look-up is being worked on.
async fn keep_alive(message: &Message) {
    loop {
        tokio::time::sleep(ACK_WAIT / 3).await;
        // Without a connection there is nobody to tell; the message then comes again, which is harmless.
        drop(message.ack_with(AckKind::Progress).await);
    }
}
