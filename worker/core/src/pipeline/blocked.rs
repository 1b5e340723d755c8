//! Collections that MongoDB does not write to while it writes to others: a view, a time series, a validator, a foreign
//! unique index.
//!
//! Their events are retried after growing delays and hold no slot meanwhile. Retries count for nothing, and once a person
//! has corrected the collection, the next one stores the events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared::retry::Policy;

use crate::problem::{Part, Problem};
use crate::store::Blocked;

/// Delay of the events of a blocked collection; with its jitter at most 30 s.
const RETRY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(20));

/// A collection without a failed attempt for this long is no longer blocked: another worker has stored its events.
const TTL: Duration = Duration::from_secs(90);

/// A blocked collection is logged once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The collections that are blocked now, as this worker knows.
#[derive(Debug, Default)]
pub struct BlockedCollections(Mutex<BTreeMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    blocked: Arc<Blocked>,
    attempts: u32,
    last: Instant,
    logged: Option<Instant>,
}

impl BlockedCollections {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, entry| entry.last.elapsed() < TTL);
        all
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// An attempt to write to it failed. Returns the delay of its events.
    pub(super) fn failed(&self, blocked: &Arc<Blocked>) -> Duration {
        let mut all = self.lock();
        let now = Instant::now();
        let new = || Entry { blocked: Arc::clone(blocked), attempts: 0, last: now, logged: None };
        let entry = all.entry(blocked.collection.clone()).or_insert_with(new);
        entry.blocked = Arc::clone(blocked);
        entry.attempts = entry.attempts.saturating_add(1);
        entry.last = now;
        if entry.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            entry.logged = Some(now);
            let Blocked { collection, cause, remedy } = &**blocked;
            tracing::warn!(collection, error = %cause, remedy, "a collection cannot be written; its events wait, all others go on");
        }
        let delay = RETRY.delay_for(entry.attempts);
        show(&all);
        delay
    }

    /// Events were written to a collection.
    pub(super) fn written(&self, collection: &str) {
        let mut all = self.lock();
        if all.remove(collection).is_some() {
            tracing::info!(collection, "the collection can be written again");
            show(&all);
        }
    }

    /// For `/readyz`, the status page and `doctor`.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let all = self.lock();
        show(&all);
        let problem = |(name, entry): (&String, &Entry)| {
            Problem::new(Part::Collection(name.clone()), &entry.blocked.cause, entry.blocked.remedy)
        };
        all.iter().map(problem).collect()
    }
}

fn show(all: &BTreeMap<String, Entry>) {
    metrics::gauge!("ldconnect_blocked_collections").set(all.len() as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_30_s_and_a_written_collection_is_no_problem_any_more() {
        let all = BlockedCollections::default();
        let blocked = |name: &str| {
            Arc::new(Blocked { collection: name.into(), cause: "it is a view".into(), remedy: "Drop it." })
        };
        let delays: Vec<_> = (0..10).map(|_| all.failed(&blocked("a"))).collect();
        assert!(delays[0] <= Duration::from_millis(1_500) && delays[9] >= Duration::from_secs(10), "{delays:?}");
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(30)), "{delays:?}");
        all.failed(&blocked("b"));
        let said: Vec<_> = all.problems().iter().map(ToString::to_string).collect();
        assert_eq!(said, ["a", "b"].map(|name| format!("the collection {name}: it is a view. Drop it.")));
        all.written("a");
        assert_eq!(all.problems().len(), 1);
        all.written("b");
        assert!(all.is_empty());
    }
}
