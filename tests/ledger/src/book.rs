//! What the senders were answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What became of one delivery, as its sender knows it. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// When it was sent first.
    pub sent: Option<i64>,
    /// When it was first answered 200.
    pub acked: Option<i64>,
    /// When it was first answered 403.
    pub refused: Option<i64>,
    /// How often it was sent until it was answered for good.
    pub attempts: u32,
}

/// The senders' book.
#[derive(Debug)]
pub struct Book {
    outcomes: Mutex<Vec<Outcome>>,
    answers: Mutex<BTreeMap<String, u64>>,
    complaints: Mutex<Vec<String>>,
}

impl Book {
    /// A book for so many deliveries.
    #[must_use]
    pub fn new(deliveries: usize) -> Self {
        let outcomes = Mutex::new(vec![Outcome::default(); deliveries]);
        Self { outcomes, answers: Mutex::default(), complaints: Mutex::default() }
    }

    /// A delivery is about to be sent, for the first time or again.
    pub fn sends(&self, entry: usize) {
        self.change(entry, |outcome| {
            outcome.sent.get_or_insert_with(now);
            outcome.attempts += 1;
        });
    }

    /// A delivery was answered 200.
    pub fn acked(&self, entry: usize) {
        self.change(entry, |outcome| _ = outcome.acked.get_or_insert_with(now));
    }

    /// A delivery was answered 403.
    pub fn refused(&self, entry: usize) {
        self.change(entry, |outcome| _ = outcome.refused.get_or_insert_with(now));
    }

    /// Counts an answer, or how there was none.
    pub fn counts(&self, answer: &str) {
        *lock(&self.answers).entry(answer.to_owned()).or_default() += 1;
    }

    /// An answer broke the contract.
    pub fn complains(&self, text: String) {
        lock(&self.complaints).push(text);
    }

    /// What became of each delivery so far.
    #[must_use]
    pub fn outcomes(&self) -> Vec<Outcome> {
        lock(&self.outcomes).clone()
    }

    /// How many answers of each kind there were.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, u64> {
        lock(&self.answers).clone()
    }

    /// Answers that broke the contract.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.complaints).clone()
    }

    fn change(&self, entry: usize, change: impl FnOnce(&mut Outcome)) {
        if let Some(outcome) = lock(&self.outcomes).get_mut(entry) {
            change(outcome);
        }
    }
}

/// Milliseconds since 1970: the clock that all parties on this machine share.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a panicking holder left is still a count.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
