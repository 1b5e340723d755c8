//! The streams as they must be, and what is wrong with them that NATS cannot change.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use async_nats::jetstream::stream::Info;
use shared::throttle::Throttle;
use shared::topology::EnsureError;

use crate::pipeline::Pipeline;
use crate::problem::{Part, Problem};

/// From this share of its limit on, a warning says that the oldest dead letters will be removed.
const NEARLY_FULL: f64 = 0.8;

/// From this share of its limit on, the server removes the oldest to make room: a large dead letter may not fit sooner.
const FULL: f64 = 0.9;

/// How often that is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(3600);

/// Creates and repairs streams. A stream that NATS cannot repair is a problem, and workers go on with it: what waits in
/// it must be processed before an operator can delete it.
///
/// # Errors
/// When the server does not answer or refuses.
pub async fn repair(pipeline: &Pipeline) -> Result<Vec<Problem>, EnsureError> {
    match pipeline.topology.repair(&pipeline.jetstream).await {
        Ok(()) => Ok(Vec::new()),
        Err(EnsureError::Unfit(unfit)) => {
            let problem = |one: &shared::topology::Unfit| {
                Problem::new(Part::Nats, format!("the stream {} {}", one.stream, one.what), one.advice())
            };
            Ok(unfit.iter().map(problem).collect())
        }
        Err(error) => Err(error),
    }
}

/// Watches the limit of the dead letters.
#[derive(Debug)]
pub struct DeadLetterLimit {
    last: Mutex<Option<Fill>>,
    nearly_full: Throttle,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Fill {
    first: u64,
    messages: u64,
    last: u64,
    share: f64,
}

impl Default for DeadLetterLimit {
    fn default() -> Self {
        Self { last: Mutex::default(), nearly_full: Throttle::new(LOG_INTERVAL) }
    }
}

impl DeadLetterLimit {
    /// Counts what was removed since the last check, and warns before it happens.
    pub fn look(&self, info: &Info) {
        let state = &info.state;
        let share = if info.config.max_bytes > 0 { state.bytes as f64 / info.config.max_bytes as f64 } else { 0.0 };
        let now = Fill { first: state.first_sequence, messages: state.messages, last: state.last_sequence, share };
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        let gone = before.map_or(0, |before| gone(before, now));
        metrics::counter!("ldconnect_dead_letters_dropped_total").increment(gone);
        if share >= NEARLY_FULL
            && let Some(_more) = self.nearly_full.open()
        {
            tracing::warn!(
                bytes = state.bytes,
                max_bytes = info.config.max_bytes,
                "the dead letters fill most of their stream, and the oldest go when it is full; redrive or purge them \
                 (`worker dead-letters`), or raise LD_DEAD_MAX_BYTES"
            );
        }
    }
}

/// How many messages the server removed between two checks because the stream was full. What a command removed at the
/// same time counts too; what it removed from a stream that was not full does not.
fn gone(before: Fill, now: Fill) -> u64 {
    if before.share < FULL || now.share < FULL || now.first <= before.first {
        return 0;
    }
    let came = now.last.saturating_sub(before.last);
    (before.messages + came).saturating_sub(now.messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_from_a_full_stream_is_counted_and_a_purge_is_not() {
        let full = Fill { first: 1, messages: 100, last: 100, share: 0.99 };
        assert_eq!(gone(full, Fill { first: 8, messages: 100, last: 107, ..full }), 7);
        assert_eq!(gone(full, Fill { first: 90, messages: 11, last: 100, share: 0.1 }), 0);
        assert_eq!(gone(full, Fill { last: 101, messages: 101, ..full }), 0);
    }
}
