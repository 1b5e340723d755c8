//! The loop from the stream to the documents.
//!
//! `WORKER_CONCURRENCY` lanes run side by side; each pulls a batch, works on it until it is settled, and
//! only then pulls again. So nothing is pulled without a place to work on it, and while MongoDB or NATS
//! is away nothing is pulled at all: every lane is busy waiting with the batch it has, telling JetStream
//! by in-progress acks that it is alive.
//!
//! The loop knows acks and no documents; [`process`] knows documents and no acks; [`settle`] alone
//! turns a [`Verdict`] into an answer to JetStream.

pub mod queue;
pub mod process;
pub mod settle;
pub mod dead_letter;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Context as JetStream, Message};
use async_nats::{Client, Subject};
use futures::future::join_all;
use shared::publish::Publisher;
use shared::retry::Policy;
use shared::throttle::Throttle;
use shared::topology::{ACK_WAIT, StreamName, Topology};
use tokio_util::sync::CancellationToken;

use self::process::{Attempt, Outage};
use self::queue::Puller;
use self::settle::{Settler, Verdict};
use crate::store::Known;
use crate::store::{LARGE, Store};
use worker_event::normalise::Settings;
use worker_event::reason::Reason;
use worker_providers::Tokens;

/// How long a pull waits at the server before it is asked again; also how long an idle worker takes to stop.
pub const POLL: Duration = Duration::from_secs(1);

/// How long to wait before the topology is looked at again after a pull failed.
const REBIND: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// How long to wait before a batch is tried again while something is away.
const OUTAGE: Policy = Policy::new(Duration::from_millis(100), Duration::from_secs(5));

/// An outage is told once per this interval, by all lanes together.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// From which delivery on an event is worked on alone: its companions may have been innocent of the
/// deaths that brought it back.
const SUSPECT: i64 = 5;

/// At which delivery an event goes to the dead letters untried: every worker that took it died of it.
/// Outages do not count, because a waiting lane keeps its messages.
const HOPELESS: i64 = 25;

/// What every lane works with.
#[derive(Debug)]
pub struct Pipeline {
    /// Documents.
    pub store: Store,
    /// To `LD_NOTIFY` and `LD_DEAD`.
    pub publisher: Publisher,
    /// Names.
    pub topology: Topology,
    /// For consumers.
    pub jetstream: JetStream,
    /// With whose tokens what events leave open is looked up.
    pub tokens: Tokens,
    /// Who is to be forgotten.
    pub forgotten: Known,
    /// What a person has set about documents.
    pub settings: Settings,
    /// Largest batch.
    pub batch: usize,
    /// Whether LD Eval is told; a replay can do without.
    pub notifies: bool,
    /// Whether a backfill's events notify one by one: `worker backfill` itself tells LD Eval at its end, a replay does not.
    pub tells_of_backfills: bool,
    /// Whether what cannot be processed goes to the dead letters; a replay's is there already.
    pub buries: bool,
    /// What could not be processed and is no dead letter, because this is a replay.
    pub left_out: LeftOut,
    /// Whether a backlog is being worked off.
    pub backlog: Backlog,
    /// One line an interval for outages of MongoDB or NATS.
    pub outages: Throttle,
    /// One line an interval for failing pulls.
    pub pulls: Throttle,
}

impl Pipeline {
    /// A pipeline over open clients, which leaves nothing to look up.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher, topology: Topology, jetstream: JetStream, batch: usize) -> Self {
        let (outages, pulls) = (Throttle::new(TELL_EVERY), Throttle::new(TELL_EVERY));
        let (tokens, forgotten, backlog) = (Tokens::none(), Known::default(), Backlog::default());
        Self {
            store,
            publisher,
            topology,
            jetstream,
            tokens,
            forgotten,
            settings: Settings::default(),
            batch,
            notifies: true,
            tells_of_backfills: false,
            buries: true,
            left_out: LeftOut::default(),
            backlog,
            outages,
            pulls,
        }
    }
}

/// Counts events that a replay cannot process, by reason.
#[derive(Debug, Default)]
pub struct LeftOut(Mutex<BTreeMap<&'static str, u64>>);

impl LeftOut {
    fn add(&self, reason: Reason) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.as_str()).or_default() += 1;
    }

    /// How many there were of each reason.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Remembers when a large batch was last worked on: they follow one another while there is a backlog.
#[derive(Debug, Default)]
pub struct Backlog(Mutex<Option<Instant>>);

impl Backlog {
    fn look(&self, messages: &[Message]) {
        if messages.len() >= LARGE {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Whether events wait in large numbers, and what is done now will be overtaken in a moment.
    pub fn is_worked_off(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|last| last.elapsed() < POLL)
    }
}

/// One lane: pulls and works until the soft stop; at the hard stop hands back what it has.
///
/// # Errors
/// Never; a lane outlives every outage.
pub async fn lane(pipeline: Arc<Pipeline>, soft: CancellationToken, hard: CancellationToken) -> Result<(), Infallible> {
    let mut delays = REBIND.delays();
    while !soft.is_cancelled() {
        let bound = soft.run_until_cancelled(bind(&pipeline)).await;
        let Some(bound) = bound else { return Ok(()) };
        let failed = match bound {
            Ok(mut puller) => {
                let failed = pump(&pipeline, &mut puller, &soft, &hard, &mut delays).await;
                // What the server sent meanwhile goes to another worker at once, not after the ack wait.
                puller.close().await;
                failed
            }
            Err(error) => Some(error),
        };
        let Some(error) = failed else { continue };
        if let Some(held_back) = pipeline.pulls.open() {
            tracing::warn!(%error, held_back, "cannot pull events; looking at streams and consumers again");
        }
        tokio::select! {
            () = tokio::time::sleep(delays.next_delay()) => {}
            () = soft.cancelled() => {}
        }
    }
    Ok(())
}

/// Makes sure that streams and consumer are there, and subscribes.
async fn bind(pipeline: &Pipeline) -> Result<Puller, String> {
    pipeline.topology.ensure(&pipeline.jetstream).await.map_err(|error| error.to_string())?;
    let consumer = pipeline.topology.consumer(&pipeline.jetstream, StreamName::Events).await;
    let consumer = consumer.map_err(|error| error.to_string())?;
    Puller::new(&pipeline.jetstream, &consumer).await.map_err(|error| error.to_string())
}

/// Pulls and works until the soft stop (`None`) or until pulling fails.
async fn pump(
    pipeline: &Pipeline,
    puller: &mut Puller,
    soft: &CancellationToken,
    hard: &CancellationToken,
    delays: &mut shared::retry::Delays,
) -> Option<String> {
    loop {
        let pulled = tokio::select! {
            biased;
            () = soft.cancelled() => return None,
            pulled = puller.pull(pipeline.batch, POLL) => pulled,
        };
        match pulled {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => {
                if pipeline.pulls.reset() {
                    tracing::info!("events are pulled again");
                }
                work(pipeline, messages, hard).await;
            }
            Err(error) => return Some(error.to_string()),
        }
        delays.reset();
    }
}

/// Works on a batch until every message is settled; at the hard stop hands back what is not.
pub async fn work(pipeline: &Pipeline, messages: Vec<Message>, hard: &CancellationToken) {
    let settler = Settler::new(pipeline);
    pipeline.backlog.look(&messages);
    let delivered = |message: &Message| message.info().map_or(1, |info| info.delivered);
    if messages.iter().any(|message| delivered(message) > 1) {
        let again = messages.iter().filter(|message| delivered(message) > 1).count();
        metrics::counter!("ldconnect_redeliveries_total").increment(again as u64);
    }
    let (suspects, batch): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| delivered(message) >= SUSPECT);
    let keep_alive = KeepAlive::new(suspects.iter().chain(&batch));
    let all = async {
        work_together(pipeline, &settler, batch, hard).await;
        for message in suspects {
            if delivered(&message) >= HOPELESS {
                let error = format!("delivered {HOPELESS} times, and no worker lived to settle it");
                settler.settle(&message, Verdict::dead(Reason::RedeliveredTooOften, error)).await;
            } else {
                work_together(pipeline, &settler, vec![message], hard).await;
            }
        }
    };
    tokio::select! {
        () = all => {}
        () = keep_alive.keep_on() => {}
    }
}

/// Works on messages as one batch; falls back to one by one when the batch as a whole is refused.
async fn work_together(pipeline: &Pipeline, settler: &Settler<'_>, messages: Vec<Message>, hard: &CancellationToken) {
    if messages.is_empty() {
        return;
    }
    let mut delays = OUTAGE.delays();
    loop {
        let began = Instant::now();
        // A hanging server must not keep the events: an attempt may be given up anywhere.
        let Some(attempt) = hard.run_until_cancelled(process::attempt(pipeline, &messages)).await else {
            join_all(messages.iter().map(|message| settler.settle(message, Verdict::HandBack))).await;
            return;
        };
        match attempt {
            Ok(Attempt::Settled(verdicts)) => {
                metrics::histogram!("ldconnect_store_seconds").record(began.elapsed().as_secs_f64());
                metrics::histogram!("ldconnect_batch_events").record(messages.len() as f64);
                if pipeline.outages.reset() {
                    tracing::info!("MongoDB and NATS take writes again");
                }
                pipeline.backlog.look(&messages);
                let settled = messages.iter().zip(verdicts).map(|(message, verdict)| settler.settle(message, verdict));
                join_all(settled).await;
                return;
            }
            Ok(Attempt::Poisoned { reason, error }) => {
                if let [message] = messages.as_slice() {
                    settler.settle(message, Verdict::dead(reason, error)).await;
                } else {
                    tracing::warn!(
                        reason = reason.as_str(),
                        size = messages.len(),
                        "a batch was refused as a whole; trying its events one by one"
                    );
                    for message in messages {
                        Box::pin(work_together(pipeline, settler, vec![message], hard)).await;
                    }
                }
                return;
            }
            Err(Outage(error)) => {
                if let Some(held_back) = pipeline.outages.open() {
                    tracing::warn!(%error, held_back, "waiting with a batch until MongoDB and NATS take writes; nothing is pulled meanwhile");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(delays.next_delay()) => {}
            () = hard.cancelled() => {
                join_all(messages.iter().map(|message| settler.settle(message, Verdict::HandBack))).await;
                return;
            }
        }
    }
}

/// Tells JetStream that messages are still being worked on.
struct KeepAlive {
    client: Option<Client>,
    /// Where each message is answered: no more of it than that, because a message's headers take more room than
    /// its payload.
    replies: Vec<Subject>,
}

impl KeepAlive {
    fn new<'a>(messages: impl Iterator<Item = &'a Message> + Clone) -> Self {
        let client = messages.clone().next().map(|message| message.context.client());
        Self { client, replies: messages.filter_map(|message| message.reply.clone()).collect() }
    }

    /// Tells it again and again; never returns.
    async fn keep_on(&self) {
        loop {
            tokio::time::sleep(ACK_WAIT / 3).await;
            for reply in &self.replies {
                let Some(client) = &self.client else { continue };
                // Without a connection there is nobody to tell; the message then comes again, which is harmless.
                drop(client.publish(reply.clone(), AckKind::Progress.into()).await);
            }
        }
    }
}
