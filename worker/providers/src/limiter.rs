//! Request permits: one request per token at a time, a few per provider, none while a token is in cooldown.
//!
//! GitHub asks for sequential requests. They also make "no call until the reset" exact: no other request of the token
//! is in flight when a limit is reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::retry::Policy;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::report::Reporter;
use crate::tokens::CredentialId;

/// Requests of all tokens together that one provider gets from this process at a time.
const CONCURRENT_REQUESTS: usize = 4;

/// Look-ups of one token that are worked on at a time. Its others go back to the stream, so that a course with a
/// thousand look-ups leaves slots for the other courses.
const SLOTS_PER_CREDENTIAL: usize = 4;

/// Delay of a look-up in the stream when all slots of its token are taken.
const SLOTS_TAKEN: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(2));

/// Cooldown after a limit without a reset time. GitHub asks for at least a minute, and longer when it repeats.
const UNKNOWN_RESET: Policy = Policy::new(Duration::from_secs(120), Duration::from_secs(900));

/// Cooldown after a failure of the provider: an outage gets few requests.
const FAILURE_BACKOFF: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(60));

/// Hands out the permits of one provider.
#[derive(Debug)]
pub struct RateLimiter {
    provider: &'static str,
    reporter: Reporter,
    host: Semaphore,
    states: Mutex<HashMap<String, Arc<TokenState>>>,
}

#[derive(Debug)]
struct TokenState {
    slots: Arc<Semaphore>,
    sequential: Arc<tokio::sync::Mutex<()>>,
    cooldown: Mutex<Cooldown>,
}

#[derive(Debug, Default)]
struct Cooldown {
    until: Option<Instant>,
    limits: u32,
    failures: u32,
}

/// One of the `SLOTS_PER_CREDENTIAL`.
#[derive(Debug)]
pub struct QueueSlot(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

#[derive(Debug)]
pub struct RequestPermit<'b> {
    state: Arc<TokenState>,
    limiter: &'b RateLimiter,
    credential: CredentialId,
    _sequential: OwnedMutexGuard<()>,
    _host: SemaphorePermit<'b>,
}

impl RateLimiter {
    /// `provider` is its name in metrics.
    #[must_use]
    pub fn new(provider: &'static str, reporter: Reporter) -> Self {
        Self { provider, reporter, host: Semaphore::new(CONCURRENT_REQUESTS), states: Mutex::default() }
    }

    /// A slot for a look-up.
    ///
    /// # Errors
    /// How long the look-up should wait in the stream instead.
    pub fn queue_slot(&self, credential: &CredentialId) -> Result<QueueSlot, Duration> {
        let state = self.state(credential);
        state.cooldown_left().map_or(Ok(()), Err)?;
        Arc::clone(&state.slots).try_acquire_owned().map(QueueSlot).map_err(|_| SLOTS_TAKEN.delay_for(1))
    }

    /// Waits until the token's earlier requests are answered.
    ///
    /// # Errors
    /// How long the token must not be used.
    pub async fn permit(&self, credential: &CredentialId) -> Result<RequestPermit<'_>, Duration> {
        let state = self.state(credential);
        let sequential = Arc::clone(&state.sequential).lock_owned().await;
        // The semaphore is never closed.
        let Ok(host) = self.host.acquire().await else { return Err(SLOTS_TAKEN.delay_for(1)) };
        // Only now: the reply to the request before this one may have been a limit.
        state.cooldown_left().map_or(Ok(()), Err)?;
        Ok(RequestPermit { state, limiter: self, credential: credential.clone(), _sequential: sequential, _host: host })
    }

    fn state(&self, credential: &CredentialId) -> Arc<TokenState> {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || TokenState {
            slots: Arc::new(Semaphore::new(SLOTS_PER_CREDENTIAL)),
            sequential: Arc::default(),
            cooldown: Mutex::default(),
        };
        Arc::clone(states.entry(credential.id.clone()).or_insert_with(|| Arc::new(new())))
    }
}

impl TokenState {
    fn cooldown_left(&self) -> Option<Duration> {
        let until = self.cooldown.lock().unwrap_or_else(PoisonError::into_inner).until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl RequestPermit<'_> {
    /// The provider answered. `remaining` is how many requests it says are left.
    pub fn answered(&self, remaining: Option<u64>) {
        *self.state.cooldown.lock().unwrap_or_else(PoisonError::into_inner) = Cooldown::default();
        self.show(remaining, None);
    }

    /// The token reached a limit. Returns its cooldown: until the reset, or growing when the reset is not said.
    pub fn stop(&self, wait: Option<Duration>, remaining: Option<u64>) -> Duration {
        let wait = self.cool_down(|cooldown| {
            cooldown.limits = cooldown.limits.saturating_add(1);
            wait.unwrap_or_else(|| UNKNOWN_RESET.delay_for(cooldown.limits))
        });
        self.show(remaining, Some(wait));
        wait
    }

    /// The provider failed. The cooldown grows with each failure.
    pub fn failed(&self) {
        self.cool_down(|cooldown| {
            cooldown.failures = cooldown.failures.saturating_add(1);
            FAILURE_BACKOFF.delay_for(cooldown.failures)
        });
    }

    fn cool_down(&self, how_long: impl FnOnce(&mut Cooldown) -> Duration) -> Duration {
        let mut cooldown = self.state.cooldown.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = how_long(&mut cooldown);
        cooldown.until = Some(Instant::now() + wait);
        wait
    }

    fn show(&self, remaining: Option<u64>, wait: Option<Duration>) {
        let RateLimiter { provider, reporter, .. } = self.limiter;
        let labels = [("provider", (*provider).to_owned()), ("token", self.credential.label.clone())];
        metrics::gauge!("ldconnect_enrich_token_stopped", &labels).set(f64::from(u8::from(wait.is_some())));
        if let Some(remaining) = remaining {
            metrics::gauge!("ldconnect_enrich_token_remaining", &labels).set(remaining as f64);
        }
        reporter.token_budget(provider, &self.credential, remaining, wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(id: &str) -> CredentialId {
        CredentialId { label: id.into(), id: id.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limited_token_is_not_used_before_its_reset_and_others_are() {
        let limiter = RateLimiter::new("x", Reporter::silent());
        let (a, b) = (credential("a"), credential("b"));
        limiter.permit(&a).await.unwrap().stop(Some(Duration::from_secs(30)), Some(0));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(limiter.permit(&a).await.is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert!(limiter.queue_slot(&a).is_err());
        limiter.permit(&b).await.unwrap().answered(None);
        tokio::time::advance(Duration::from_secs(1)).await;
        limiter.permit(&a).await.unwrap().answered(Some(5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_a_token_is_in_flight_and_the_next_sees_its_limit() {
        let limiter = RateLimiter::new("x", Reporter::silent());
        let a = credential("a");
        let first = limiter.permit(&a).await.unwrap();
        let mut second = std::pin::pin!(limiter.permit(&a));
        assert!(tokio::time::timeout(Duration::from_secs(5), &mut second).await.is_err());
        first.stop(Some(Duration::from_secs(30)), None);
        drop(first);
        assert!(second.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_without_a_reset_grows_until_a_request_is_answered() {
        let limiter = RateLimiter::new("x", Reporter::silent());
        let a = credential("a");
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = limiter.permit(&a).await.unwrap().stop(None, None);
            tokio::time::advance(wait).await;
            waits.push(wait);
        }
        assert!(waits[0] >= Duration::from_secs(60) && waits[5] >= Duration::from_secs(450), "{waits:?}");
        limiter.permit(&a).await.unwrap().answered(None);
        assert!(limiter.permit(&a).await.unwrap().stop(None, None) <= Duration::from_secs(180));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_with_many_look_ups_leaves_slots_to_others() {
        let limiter = RateLimiter::new("x", Reporter::silent());
        let slots: Vec<_> = (0..SLOTS_PER_CREDENTIAL).map(|_| limiter.queue_slot(&credential("a")).unwrap()).collect();
        assert!(limiter.queue_slot(&credential("a")).is_err());
        limiter.queue_slot(&credential("b")).unwrap();
        drop(slots);
        limiter.queue_slot(&credential("a")).unwrap();
    }
}
