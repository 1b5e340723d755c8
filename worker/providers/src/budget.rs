//! Who may ask now: one request a token at a time, a few a provider, none while a token is stopped.
//!
//! GitHub asks for requests in a row rather than side by side, and only then is "no call until the
//! reset" true to the letter: nothing is under way when a limit is met.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::retry::Policy;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::report::Teller;
use crate::tokens::Payer;

/// How many requests a provider gets from this process at once, whoever asks.
const AT_ONCE: usize = 4;

/// How many look-ups of one token may hold a place: others of it wait in the queue, so that a course with
/// a thousand of them leaves places for the rest.
const SEATS: usize = 4;

/// How long a look-up waits in the queue when its token's places are taken.
const CROWDED: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(2));

/// How long a token rests when a limit does not say how long; GitHub asks for a minute at least, and longer
/// when it happens again.
const UNSAID: Policy = Policy::new(Duration::from_secs(120), Duration::from_secs(900));

/// How long a token rests after a failure of the provider, so that an outage is probed and not hammered.
const FAILED: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(60));

/// The tokens of one provider.
#[derive(Debug)]
pub struct Budget {
    provider: &'static str,
    teller: Teller,
    host: Semaphore,
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

/// What is known of one token.
#[derive(Debug)]
struct Line {
    seats: Arc<Semaphore>,
    turn: Arc<tokio::sync::Mutex<()>>,
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    limits: u32,
    failures: u32,
}

/// A place among the look-ups of a token that are worked on.
#[derive(Debug)]
pub struct Seat(#[expect(dead_code, reason = "it is held, not read")] OwnedSemaphorePermit);

/// The right to make one request.
#[derive(Debug)]
pub struct Turn<'b> {
    line: Arc<Line>,
    budget: &'b Budget,
    payer: Payer,
    _turn: OwnedMutexGuard<()>,
    _host: SemaphorePermit<'b>,
}

impl Budget {
    /// For a provider, by the name metrics have.
    #[must_use]
    pub fn new(provider: &'static str, teller: Teller) -> Self {
        Self { provider, teller, host: Semaphore::new(AT_ONCE), lines: Mutex::default() }
    }

    /// A place for a look-up.
    ///
    /// # Errors
    /// How long it should wait in the queue instead.
    pub fn seat(&self, payer: &Payer) -> Result<Seat, Duration> {
        let line = self.line(payer);
        line.resting().map_or(Ok(()), Err)?;
        Arc::clone(&line.seats).try_acquire_owned().map(Seat).map_err(|_| CROWDED.delay_for(1))
    }

    /// Waits until the token's requests before this one are answered.
    ///
    /// # Errors
    /// For how long the token must not be used.
    pub async fn turn(&self, payer: &Payer) -> Result<Turn<'_>, Duration> {
        let line = self.line(payer);
        let turn = Arc::clone(&line.turn).lock_owned().await;
        // Never closed; and the answer before this one may have been a limit.
        let Ok(host) = self.host.acquire().await else { return Err(CROWDED.delay_for(1)) };
        line.resting().map_or(Ok(()), Err)?;
        Ok(Turn { line, budget: self, payer: payer.clone(), _turn: turn, _host: host })
    }

    fn line(&self, payer: &Payer) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Line { seats: Arc::new(Semaphore::new(SEATS)), turn: Arc::default(), rest: Mutex::default() };
        Arc::clone(lines.entry(payer.id.clone()).or_insert_with(|| Arc::new(new())))
    }
}

impl Line {
    /// For how long it must not be used.
    fn resting(&self) -> Option<Duration> {
        let until = self.rest.lock().unwrap_or_else(PoisonError::into_inner).until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Turn<'_> {
    /// The provider answered; with how many requests are left, if it says so.
    pub fn answered(&self, remaining: Option<u64>) {
        *self.line.rest.lock().unwrap_or_else(PoisonError::into_inner) = Rest::default();
        self.show(remaining, None);
    }

    /// The token is at a limit: it rests until the reset, or ever longer when the limit does not say. Returns
    /// how long.
    pub fn stop(&self, wait: Option<Duration>, remaining: Option<u64>) -> Duration {
        let wait = self.rest(|rest| {
            rest.limits = rest.limits.saturating_add(1);
            wait.unwrap_or_else(|| UNSAID.delay_for(rest.limits))
        });
        self.show(remaining, Some(wait));
        wait
    }

    /// The provider failed: the token rests a moment, longer each time.
    pub fn failed(&self) {
        self.rest(|rest| {
            rest.failures = rest.failures.saturating_add(1);
            FAILED.delay_for(rest.failures)
        });
    }

    fn rest(&self, how_long: impl FnOnce(&mut Rest) -> Duration) -> Duration {
        let mut rest = self.line.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = how_long(&mut rest);
        rest.until = Some(Instant::now() + wait);
        wait
    }

    fn show(&self, remaining: Option<u64>, wait: Option<Duration>) {
        let Budget { provider, teller, .. } = self.budget;
        let labels = [("provider", (*provider).to_owned()), ("token", self.payer.label.clone())];
        metrics::gauge!("ldconnect_enrich_token_stopped", &labels).set(f64::from(u8::from(wait.is_some())));
        if let Some(remaining) = remaining {
            metrics::gauge!("ldconnect_enrich_token_remaining", &labels).set(remaining as f64);
        }
        teller.budget(provider, &self.payer, remaining, wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payer(id: &str) -> Payer {
        Payer { label: id.into(), id: id.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_token_is_not_used_before_its_reset_and_others_are() {
        let budget = Budget::new("x", Teller::silent());
        let (a, b) = (payer("a"), payer("b"));
        budget.turn(&a).await.unwrap().stop(Some(Duration::from_secs(30)), Some(0));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert!(budget.turn(&a).await.is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert!(budget.seat(&a).is_err());
        budget.turn(&b).await.unwrap().answered(None);
        tokio::time::advance(Duration::from_secs(1)).await;
        budget.turn(&a).await.unwrap().answered(Some(5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_a_token_is_under_way_and_whoever_waited_sees_its_limit() {
        let budget = Budget::new("x", Teller::silent());
        let a = payer("a");
        let first = budget.turn(&a).await.unwrap();
        let mut second = std::pin::pin!(budget.turn(&a));
        assert!(tokio::time::timeout(Duration::from_secs(5), &mut second).await.is_err());
        first.stop(Some(Duration::from_secs(30)), None);
        drop(first);
        assert!(second.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_does_not_say_how_long_grows_and_an_answer_forgets_it() {
        let budget = Budget::new("x", Teller::silent());
        let a = payer("a");
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = budget.turn(&a).await.unwrap().stop(None, None);
            tokio::time::advance(wait).await;
            waits.push(wait);
        }
        assert!(waits[0] >= Duration::from_secs(60) && waits[5] >= Duration::from_secs(450), "{waits:?}");
        budget.turn(&a).await.unwrap().answered(None);
        assert!(budget.turn(&a).await.unwrap().stop(None, None) <= Duration::from_secs(180));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowded_token_leaves_places_to_others() {
        let budget = Budget::new("x", Teller::silent());
        let seats: Vec<_> = (0..SEATS).map(|_| budget.seat(&payer("a")).unwrap()).collect();
        assert!(budget.seat(&payer("a")).is_err());
        budget.seat(&payer("b")).unwrap();
        drop(seats);
        budget.seat(&payer("a")).unwrap();
    }
}
