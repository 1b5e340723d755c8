//! What the page says, without its form: the state of everything, and what is wrong with it.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::credentials::Courses;
use shared::facts::{NotificationAccepted, NotificationFailed, TokenBudget, WebhookRefused};
use shared::source::Source;

use super::findings::{Finding, find};
use super::level::Level;
use super::observations::Observations;
use super::teams::{Row, rows, sort};

/// How long a token that is not used is shown, in milliseconds: it may have been replaced.
const TOKEN_AGE: i64 = 7 * 24 * 3_600_000;

/// Times are in milliseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// When this was read.
    pub at: i64,
    /// The level of the worst finding.
    pub level: Level,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// Trouble first, then listed teams.
    pub rows: Vec<Row>,
    /// The last refusal of a project that is not known, by source. Anyone can cause it.
    pub unknown_projects: BTreeMap<Source, WebhookRefused>,
    pub events_waiting: u64,
    /// When the oldest of them came.
    pub events_waiting_since: Option<i64>,
    pub notifications_waiting: u64,
    pub lookups_waiting: u64,
    /// Dead letters by reason.
    pub dead: BTreeMap<String, u64>,
    pub last_notified: Option<NotificationAccepted>,
    pub last_notification_failure: Option<NotificationFailed>,
    pub tokens: Vec<TokenBudget>,
    pub stream_bytes: u64,
    pub stream_max_bytes: Option<u64>,
    /// Events of the last day that the rows do not count yet.
    pub events_not_counted: u64,
}

impl Status {
    pub fn of(observed: Observations, courses: &Courses, now: i64) -> Self {
        let mut rows = rows(&observed, courses, now);
        let findings = find(&observed, courses, &mut rows, now);
        sort(&mut rows);
        let mut dead = BTreeMap::new();
        for (key, letters) in &observed.dead {
            *dead.entry(key.reason.clone()).or_default() += letters;
        }
        Self {
            at: now,
            level: findings.iter().map(Finding::level).max().unwrap_or(Level::Well),
            findings,
            rows,
            unknown_projects: observed.unknown,
            events_waiting: observed.queues.events,
            events_waiting_since: observed.queues.events_since,
            notifications_waiting: observed.queues.notifications,
            lookups_waiting: observed.queues.lookups,
            dead,
            last_notified: observed.accepted_by_eval,
            last_notification_failure: observed.refused_by_eval,
            tokens: newest(observed.tokens, now),
            stream_bytes: observed.queues.bytes,
            stream_max_bytes: u64::try_from(observed.queues.max_bytes).ok().filter(|max| *max > 0),
            events_not_counted: observed.behind,
        }
    }
}

/// The token of each course that was used last: an edited token is another one.
fn newest(mut tokens: Vec<TokenBudget>, now: i64) -> Vec<TokenBudget> {
    tokens.retain(|token| now - token.at < TOKEN_AGE);
    tokens.sort_by(|a, b| (&a.provider, &a.label, b.at).cmp(&(&b.provider, &b.label, a.at)));
    tokens.dedup_by(|a, b| (&a.provider, &a.label) == (&b.provider, &b.label));
    tokens
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
