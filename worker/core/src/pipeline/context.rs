//! What all consumers of a worker share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::Context as JetStream;
use shared::publish::Publisher;
use shared::throttle::Throttle;
use shared::topology::{EnsureError, Topology};
use worker_event::normalise::Settings;
use worker_event::reason::Reason;
use worker_providers::Tokens;

use super::blocked::BlockedCollections;
use super::new_projects::NewProjects;
use super::size::MemoryBudget;
use super::suspects::Suspects;
use crate::notify::queue::NotificationQueue;
use crate::store::{LARGE, RulesCache, Store};

/// An outage is logged once per interval, for all batches together.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A large batch this long ago means that there is a backlog: large batches follow one another.
const BACKLOG_TTL: Duration = Duration::from_secs(1);

/// Whose events are processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `worker run`: new events.
    Live,
    /// `worker replay`: events that were processed before.
    Replay {
        /// LD Eval is notified.
        notify: bool,
    },
}

impl Mode {
    /// Whether LD Eval is notified of an event. `worker backfill` notifies by itself, once at its end; the replay of a
    /// backfill does not.
    #[must_use]
    pub const fn notifies(self, backfill: bool) -> bool {
        match self {
            Self::Live => !backfill,
            Self::Replay { notify } => notify,
        }
    }

    /// Whether an event that cannot be processed is written to `LD_DEAD`. A replayed one is there already.
    #[must_use]
    pub const fn writes_dead_letters(self) -> bool {
        matches!(self, Self::Live)
    }
}

/// Clients, names and state that all consumers share.
#[derive(Debug)]
pub struct Pipeline {
    pub store: Store,
    /// For `LD_ENRICH`, `LD_DEAD` and `LD_STATUS`.
    pub publisher: Publisher,
    pub topology: Topology,
    pub jetstream: JetStream,
    /// For look-ups.
    pub tokens: Tokens,
    /// People whose names are removed from events.
    pub forgotten: RulesCache,
    /// What an operator has set about documents.
    pub settings: Settings,
    /// How many projects may appear; `None` where the bound does not apply.
    pub new_projects: Option<NewProjects>,
    /// Events per batch at most.
    pub batch: usize,
    pub mode: Mode,
    /// Events that a replay could not process.
    pub left_out: LeftOut,
    pub backlog: Backlog,
    /// One log line per interval for outages of MongoDB or NATS.
    pub outages: Throttle,
    pub notifications: NotificationQueue,
    pub memory: MemoryBudget,
    pub blocked: BlockedCollections,
    pub suspects: Suspects,
    /// This process, in `ld_probe` and at NATS.
    pub who: String,
    /// One log line per interval for failing pulls.
    pub pulls: Throttle,
    /// One log line per interval for dead letters of unsigned events, which anybody can cause.
    pub unsigned_dead: Throttle,
    /// When the topology was last checked.
    checked: tokio::sync::Mutex<Option<Instant>>,
}

impl Pipeline {
    /// For live events, without look-ups.
    #[must_use]
    pub fn new(
        who: &str,
        store: Store,
        publisher: Publisher,
        topology: Topology,
        jetstream: JetStream,
        batch: usize,
    ) -> Self {
        Self {
            who: who.to_owned(),
            notifications: NotificationQueue::new(
                Publisher::new(jetstream.client()),
                topology.clone(),
                jetstream.clone(),
            ),
            memory: MemoryBudget::default(),
            blocked: BlockedCollections::default(),
            suspects: Suspects::new(Publisher::new(jetstream.client()), topology.clone(), jetstream.clone()),
            store,
            publisher,
            topology,
            jetstream,
            tokens: Tokens::none(),
            forgotten: RulesCache::default(),
            settings: Settings::default(),
            new_projects: None,
            batch,
            mode: Mode::Live,
            left_out: LeftOut::default(),
            backlog: Backlog::default(),
            outages: Throttle::new(LOG_INTERVAL),
            pulls: Throttle::new(LOG_INTERVAL),
            unsigned_dead: Throttle::new(LOG_INTERVAL),
            checked: tokio::sync::Mutex::default(),
        }
    }

    /// Creates missing streams, and repairs the others. Calls at the same time check once.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn ensure_topology(&self) -> Result<(), EnsureError> {
        let called = Instant::now();
        let mut checked = self.checked.lock().await;
        if checked.is_none_or(|at| at < called) {
            // With a stream that NATS cannot repair, work goes on; readiness says so.
            let ensured = match *checked {
                None => self.topology.ensure(&self.jetstream).await,
                Some(_) => self.topology.repair(&self.jetstream).await,
            };
            match ensured {
                Ok(()) | Err(EnsureError::Unfit(_)) => {}
                Err(error) => return Err(error),
            }
            *checked = Some(Instant::now());
        }
        Ok(())
    }
}

/// Counts events that a replay cannot process, by reason.
#[derive(Debug, Default)]
pub struct LeftOut(Mutex<BTreeMap<&'static str, u64>>);

impl LeftOut {
    pub(super) fn add(&self, reason: Reason) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason.as_str()).or_default() += 1;
    }

    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether many events wait.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Large batches that are being processed.
    large: AtomicUsize,
    /// When the last one was.
    last: Mutex<Option<Instant>>,
}

/// A batch that is being processed.
#[derive(Debug)]
#[must_use = "the batch counts until this is dropped"]
pub(super) struct Processing<'b>(Option<&'b Backlog>);

impl Backlog {
    /// A batch of so many events is processed from now on.
    pub(super) fn begin(&self, batch: usize) -> Processing<'_> {
        let is_large = batch >= LARGE;
        if is_large {
            self.large.fetch_add(1, Ordering::Relaxed);
        }
        Processing(is_large.then_some(self))
    }

    /// Many events wait: work done now for LD Eval is repeated in a moment.
    pub fn is_being_processed(&self) -> bool {
        self.large.load(Ordering::Relaxed) > 0 || self.last().is_some_and(|last| last.elapsed() < BACKLOG_TTL)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Processing<'_> {
    fn drop(&mut self) {
        if let Some(backlog) = self.0 {
            *backlog.last() = Some(Instant::now());
            backlog.large.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
