//! What becomes of a look-up that gave no result, and how often it is made.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shared::retry::Policy;
use worker_event::reason::Reason;
use worker_providers::ProviderError;

use crate::pipeline::settle::Settlement;

/// Delay after a reply that does not help.
const RETRY: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(900));

/// Delay after a failure of the provider, beside the cooldown of the token.
const UNAVAILABLE_RETRY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// A look-up whose token is in cooldown is redelivered at least this often: the token may have been replaced in the
/// credentials file.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A look-up that is refused this often is dropped; its documents stay as they are.
const REFUSED_MAX: u32 = 6;

/// A look-up whose replies cannot be read this often is a dead letter.
const UNREADABLE_MAX: u32 = 8;

/// Counted look-ups at most. With more, counting starts over.
const COUNTED_MAX: usize = 10_000;

/// Failed attempts by stream sequence. JetStream's own count includes every wait for a rate limit.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<u64, u32>>);

impl Attempts {
    /// The outcome, by its name in metrics, and what becomes of the message.
    pub fn failed(&self, sequence: u64, error: ProviderError) -> (&'static str, Settlement) {
        match error {
            ProviderError::Limited(wait) => ("waits", Settlement::RetryAfter(wait.min(WAIT_MAX))),
            ProviderError::Unavailable(error) => {
                let attempt = self.count(sequence);
                tracing::debug!(%error, attempt, "a look-up failed; it is retried");
                ("failed", Settlement::RetryAfter(UNAVAILABLE_RETRY.delay_for(attempt)))
            }
            ProviderError::Refused(error) => {
                let attempt = self.count(sequence);
                if attempt < REFUSED_MAX {
                    return ("refused", Settlement::RetryAfter(RETRY.delay_for(attempt)));
                }
                tracing::warn!(%error, attempt, "a look-up was refused again and again and is dropped; its documents stay as they are, check what the token may read");
                ("given_up", Settlement::Ack)
            }
            ProviderError::Unreadable(error) => {
                let attempt = self.count(sequence);
                if attempt < UNREADABLE_MAX {
                    tracing::debug!(%error, attempt, "a reply cannot be read; the look-up is retried");
                    return ("unreadable", Settlement::RetryAfter(RETRY.delay_for(attempt)));
                }
                ("dead", Settlement::dead(Reason::EnrichUnreadable, error))
            }
        }
    }

    fn count(&self, sequence: u64) -> u32 {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= COUNTED_MAX {
            attempts.clear();
        }
        let count = attempts.entry(sequence).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// How many have failed so far.
    #[must_use]
    pub fn of(&self, sequence: u64) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&sequence).copied().unwrap_or(0)
    }

    /// Of a look-up that is settled.
    pub fn forget(&self, sequence: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_outages_never_end_a_look_up_and_refusals_do() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            let limited = attempts.failed(1, ProviderError::Limited(Duration::from_secs(3600)));
            assert_eq!(limited, ("waits", Settlement::RetryAfter(WAIT_MAX)));
            let away = attempts.failed(2, ProviderError::Unavailable("x".into()));
            assert!(matches!(away, ("failed", Settlement::RetryAfter(_))));
        }
        let last = |sequence, error: fn(String) -> ProviderError, most| {
            (0..most).map(|_| attempts.failed(sequence, error("x".into()))).last().unwrap()
        };
        assert_eq!(last(3, ProviderError::Refused, REFUSED_MAX).1, Settlement::Ack);
        let dead = last(4, ProviderError::Unreadable, UNREADABLE_MAX).1;
        assert_eq!(dead, Settlement::dead(Reason::EnrichUnreadable, "x"));
    }
}
