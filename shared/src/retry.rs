//! Backoff: how long to wait before a retry. The only module that uses the `backoff` crate (its advisory
//! says unmaintained; the reason it stays is in `deny.toml`).

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// A validated retry policy: growing delays with jitter, without an end.
///
/// The caller decides when to stop. An outage of a dependency is retried without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    first: Duration,
    most: Duration,
}

impl Policy {
    /// A policy whose delays start around `first`, double, and stay around `most`; each is spread by ±50 %
    /// so that several processes do not retry at the same instant.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// Delays from the start.
    #[must_use]
    pub fn delays(self) -> Delays {
        Delays(ExponentialBackoff {
            current_interval: self.first,
            initial_interval: self.first,
            multiplier: 2.0,
            randomization_factor: 0.5,
            max_interval: self.most,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        })
    }

    /// The delay before attempt number `attempt` (from 1), jittered: for attempts counted elsewhere,
    /// such as JetStream's delivery count.
    #[must_use]
    pub fn delay_for(self, attempt: u32) -> Duration {
        let mut delays = self.delays();
        // 20 doublings are over any `most` that fits a day.
        for _ in 1..attempt.clamp(1, 20) {
            delays.next_delay();
        }
        delays.next_delay()
    }
}

/// The growing delays of one [`Policy`].
#[derive(Debug)]
pub struct Delays(ExponentialBackoff);

impl Delays {
    /// The next delay; longer than the last one, on average.
    pub fn next_delay(&mut self) -> Duration {
        // `None` means "give up", which a policy without an end never returns.
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit_and_start_over_after_a_success() {
        let mut delays = Policy::new(Duration::from_millis(100), Duration::from_secs(5)).delays();
        let first = delays.next_delay();
        assert!((50..=150).contains(&first.as_millis()), "{first:?}");
        let late = (0..20).map(|_| delays.next_delay()).last().unwrap();
        assert!((2_500..=7_500).contains(&late.as_millis()), "{late:?}");
        delays.reset();
        assert!(delays.next_delay() < Duration::from_millis(200));
    }

    #[test]
    fn a_later_attempt_waits_longer() {
        let policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));
        assert!(policy.delay_for(1) <= Duration::from_millis(1_500));
        assert!(policy.delay_for(5) >= Duration::from_secs(8));
        assert!(policy.delay_for(u32::MAX) <= Duration::from_secs(90));
    }
}
