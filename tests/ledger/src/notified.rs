//! What LD Eval's stand-in accepted, and when first and last.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use super::book::{lock, now};
use super::plan::notification_key;
use harness::eval::Notification;

/// When a notification came, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// For the first time.
    pub first: i64,
    /// For the last time.
    pub last: i64,
}

/// Everything that was accepted, by key.
#[derive(Debug)]
pub struct Notified {
    times: Mutex<HashMap<String, Times>>,
    total: Mutex<u64>,
    /// The same instant on both clocks.
    begin: (Instant, i64),
}

impl Default for Notified {
    fn default() -> Self {
        Self { times: Mutex::default(), total: Mutex::default(), begin: (Instant::now(), now()) }
    }
}

impl Notified {
    /// Notes a notification, if it was accepted.
    pub fn note(&self, notification: &Notification) {
        if !notification.is_accepted() {
            return;
        }
        *lock(&self.total) += 1;
        let (kind, author, model) = notification.triple();
        let key = notification_key(notification.text("prj"), kind, author, model);
        // When it came, not when it was answered: a slow stand-in answers much later.
        let since = notification.at.saturating_duration_since(self.begin.0).as_millis();
        let at = self.begin.1 + i64::try_from(since).unwrap_or(i64::MAX);
        let mut times = lock(&self.times);
        let times = times.entry(key).or_insert(Times { first: at, last: at });
        // A slow notification may be noted after a later one.
        (times.first, times.last) = (times.first.min(at), times.last.max(at));
    }

    /// When each key was accepted.
    #[must_use]
    pub fn times(&self) -> HashMap<String, Times> {
        lock(&self.times).clone()
    }

    /// How many notifications were accepted.
    #[must_use]
    pub fn total(&self) -> u64 {
        *lock(&self.total)
    }
}
