//! Facts of one process that other processes' status pages show: refused webhooks, LD Eval's answers, rate limits of
//! tokens.
//!
//! Each fact is one message of `LD_STATUS`, which keeps the newest message of each subject. A task of its own publishes
//! them ([`FactPublisher`]), a few a second at most: no request waits for a fact, and a flood of requests does not
//! become a flood of writes.
//!
//! ```text
//! ld.status.refused.<source>.<prj>.<reason>  {"at":1795455723511,"prj":"TeamA","reason":"json","times":2,"since":…,"delivery":"…"}
//! ld.status.refused.<source>              the same, of a project that is not known here
//! ld.status.refused.<source>-unverified[.<prj>.<reason>]  the same, of a request whose sender is not known: anyone can cause it
//! ld.status.ignored.<source>.<prj>        {"at":1795455723511,"prj":"TeamA","event":"ping"}
//! ld.status.told                          {"at":1795455723511,"prj":"TeamA","event_type":"push"}
//! ld.status.told.<prj>.<event type>       the same, of a team of the credentials file
//! ld.status.untold                        {"at":1795455723511,"error":"LD Eval answered 503 …"}
//! ld.status.token.<provider>.<hash>       {"at":…,"provider":"github","label":"amep","remaining":4999,"stopped_until":null}
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::ids::Project;
use crate::publish::{Outgoing, Publisher};

/// How often facts are published.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// How many at a time. With an fsync each that is little work for the server.
const BATCH: usize = 16;

/// How many may wait; further ones are dropped until there is room.
const MAX_WAITING: usize = 6_000;

/// How long publishing the last ones may take when the process stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// A webhook was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRefused {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The project of its URL, where that is a valid name.
    pub prj: Option<Project>,
    /// The reason as metrics name it, such as `signature`.
    pub reason: String,
    /// How often this ingress refused for this reason without an hour's pause, this time included.
    #[serde(default = "once")]
    pub times: u32,
    /// When the first of them was, in milliseconds since 1970.
    #[serde(default)]
    pub since: i64,
    /// The delivery's id that the sender shows, where the request named one.
    #[serde(default)]
    pub delivery: Option<String>,
    /// Those before it of the same project and reason, oldest first, as far as they are remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierRefusal>,
}

/// A refusal before the newest one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierRefusal {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The delivery's id that the sender shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
}

/// What earlier versions did not say.
const fn once() -> u32 {
    1
}

/// An authentic webhook of a kind that is not stored, such as GitHub's `ping`: its sender is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookIgnored {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The project.
    pub prj: Project,
    /// Its kind.
    pub event: String,
}

/// LD Eval accepted a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationAccepted {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The project.
    pub prj: String,
    /// The type of event.
    pub event_type: String,
}

/// LD Eval did not accept a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationFailed {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Why.
    pub error: String,
}

impl NotificationFailed {
    /// The error, for a sentence that begins with "LD Eval".
    #[must_use]
    pub fn why(&self) -> &str {
        self.error.trim_start_matches("LD Eval ")
    }
}

/// How much of a token's rate limit is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBudget {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// `github` or `taiga`.
    pub provider: String,
    /// The course, or `default`.
    pub label: String,
    /// How many requests are left, if the provider says so.
    pub remaining: Option<u64>,
    /// Until when it is not used, in milliseconds since 1970.
    pub stopped_until: Option<i64>,
}

/// Publishes facts, a few a second, the newest of each subject.
#[derive(Debug, Default)]
pub struct FactPublisher {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    facts: HashMap<String, Bytes>,
    order: VecDeque<String>,
}

impl FactPublisher {
    /// Takes a fact, to be published within seconds. Never waits.
    pub fn note(&self, subject: String, fact: &impl Serialize) {
        let Ok(payload) = serde_json::to_vec(fact) else { return };
        let mut waiting = self.lock();
        if let Some(older) = waiting.facts.get_mut(&subject) {
            *older = payload.into();
        } else if waiting.facts.len() < MAX_WAITING {
            waiting.order.push_back(subject.clone());
            waiting.facts.insert(subject, payload.into());
        }
    }

    /// Publishes until `stop`. While NATS is down facts wait, the newest of each.
    pub async fn run(&self, publisher: Publisher, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(PUBLISH_INTERVAL)).await.is_some() {
            // A stop may lose facts in flight, which the status page does not need.
            stop.run_until_cancelled(self.publish(&publisher)).await;
        }
        drop(tokio::time::timeout(SHUTDOWN_TIMEOUT, self.publish(&publisher)).await);
    }

    async fn publish(&self, publisher: &Publisher) {
        let published = self.next().into_iter().map(async |(subject, payload)| {
            let message = Outgoing { subject: subject.clone(), headers: HeaderMap::new(), payload: payload.clone() };
            publisher.publish(message).await.err().map(|error| (subject, payload, error))
        });
        for (subject, payload, error) in join_all(published).await.into_iter().flatten() {
            tracing::debug!(subject, %error, "a fact for the status page could not be published; it is tried again");
            self.requeue(subject, payload);
        }
    }

    /// The facts that are due.
    fn next(&self) -> Vec<(String, Bytes)> {
        let mut waiting = self.lock();
        let count = waiting.order.len().min(BATCH);
        let subjects: Vec<_> = waiting.order.drain(..count).collect();
        subjects.into_iter().filter_map(|subject| waiting.facts.remove_entry(&subject)).collect()
    }

    /// To the end of the queue, unless there is a newer one.
    fn requeue(&self, subject: String, payload: Bytes) {
        let mut waiting = self.lock();
        if waiting.facts.len() < MAX_WAITING && !waiting.facts.contains_key(&subject) {
            waiting.order.push_back(subject.clone());
            waiting.facts.insert(subject, payload);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_facts_a_turn_and_the_newest_of_each() {
        let facts = FactPublisher::default();
        for n in 0..100_000 {
            facts.note(format!("s{}", n % 20), &n);
        }
        let first = facts.next();
        assert_eq!(first.len(), BATCH);
        assert_eq!(first[0], ("s0".to_owned(), Bytes::from("99980")));
        facts.note("s0".into(), &1);
        // The four that were not published yet come before the one that was.
        let second: Vec<_> = facts.next().into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(second, ["s16", "s17", "s18", "s19", "s0"]);
    }

    #[test]
    fn invented_subjects_cannot_fill_the_memory() {
        let facts = FactPublisher::default();
        for n in 0..MAX_WAITING + 10 {
            facts.note(format!("s{n}"), &n);
        }
        assert_eq!(facts.lock().facts.len(), MAX_WAITING);
    }

    #[test]
    fn a_fact_that_could_not_be_published_does_not_replace_a_newer_one() {
        let facts = FactPublisher::default();
        facts.note("s".into(), &1);
        let (subject, old) = facts.next().remove(0);
        facts.note("s".into(), &2);
        facts.requeue(subject.clone(), old.clone());
        assert_eq!(facts.next(), [("s".to_owned(), Bytes::from("2"))]);
        facts.requeue(subject, old);
        assert_eq!(facts.next().len(), 1);
    }
}
