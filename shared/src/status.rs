//! What a process knows that another's status page shows: refusals, LD Eval's answers, token budgets.
//!
//! Each fact is one message of `LD_STATUS`, which keeps the newest one a subject. Facts are told by a task of
//! their own ([`Herald`]), a few a second whatever happens, so that nobody waits for them and a flood of
//! requests cannot become a flood of writes:
//!
//! ```text
//! ld.status.refused.<source>.<prj>        {"at":1795455723511,"prj":"TeamA","reason":"signature"}
//! ld.status.refused.<source>              the same, of a project that nobody here knows
//! ld.status.told                          {"at":1795455723511,"prj":"TeamA","event_type":"push"}
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

/// How often facts are told?
const EVERY: Duration = Duration::from_secs(1);

/// How many at a time? With an fsync each that is still next to nothing.
const AT_A_TIME: usize = 16;

/// How many may wait to be told? A team has three; further ones are dropped until there is room.
const WAITING_MOST: usize = 6_000;

/// How long the last ones may take when the process stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// A webhook got no 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Whose it said it was, where that is a name at all.
    pub prj: Option<Project>,
    /// The word metrics have for it, such as `signature`.
    pub reason: String,
}

/// LD Eval took a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Whose.
    pub prj: String,
    /// Of what.
    pub event_type: String,
}

/// LD Eval did not take one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untold {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Why.
    pub error: String,
}

impl Untold {
    /// Why, for a sentence that begins with LD Eval already.
    #[must_use]
    pub fn why(&self) -> &str {
        self.error.trim_start_matches("LD Eval ")
    }
}

/// What is left of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// As of when, in milliseconds since 1970.
    pub at: i64,
    /// `github` or `taiga`.
    pub provider: String,
    /// The course, or `default`.
    pub label: String,
    /// How many requests are left, if the provider says so.
    pub remaining: Option<u64>,
    /// Until when it rests, in milliseconds since 1970.
    pub stopped_until: Option<i64>,
}

/// Tells facts, a few a second, the newest of each subject.
#[derive(Debug, Default)]
pub struct Herald {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    facts: HashMap<String, Bytes>,
    turns: VecDeque<String>,
}

impl Herald {
    /// Takes a fact to be told soon. Costs next to nothing and never waits.
    pub fn note(&self, subject: String, fact: &impl Serialize) {
        let Ok(payload) = serde_json::to_vec(fact) else { return };
        let mut waiting = self.lock();
        if let Some(older) = waiting.facts.get_mut(&subject) {
            *older = payload.into();
        } else if waiting.facts.len() < WAITING_MOST {
            waiting.turns.push_back(subject.clone());
            waiting.facts.insert(subject, payload.into());
        }
    }

    /// Tells until `stop`. While NATS is away facts wait, the newest of each.
    pub async fn run(&self, publisher: Publisher, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            // Dropped on the way they are lost, which a status page survives.
            stop.run_until_cancelled(self.tell(&publisher)).await;
        }
        drop(tokio::time::timeout(FAREWELL, self.tell(&publisher)).await);
    }

    async fn tell(&self, publisher: &Publisher) {
        let told = self.next().into_iter().map(async |(subject, payload)| {
            let message = Outgoing { subject: subject.clone(), headers: HeaderMap::new(), payload: payload.clone() };
            publisher.publish(message).await.err().map(|error| (subject, payload, error))
        });
        for (subject, payload, error) in join_all(told).await.into_iter().flatten() {
            tracing::debug!(subject, %error, "a fact for the status page could not be told; it is tried again");
            self.back(subject, payload);
        }
    }

    /// Whose turn it is.
    fn next(&self) -> Vec<(String, Bytes)> {
        let mut waiting = self.lock();
        let count = waiting.turns.len().min(AT_A_TIME);
        let turns: Vec<_> = waiting.turns.drain(..count).collect();
        turns.into_iter().filter_map(|subject| waiting.facts.remove_entry(&subject)).collect()
    }

    /// To the end of the queue, unless a newer one came meanwhile.
    fn back(&self, subject: String, payload: Bytes) {
        let mut waiting = self.lock();
        if waiting.facts.len() < WAITING_MOST && !waiting.facts.contains_key(&subject) {
            waiting.turns.push_back(subject.clone());
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
        let herald = Herald::default();
        for n in 0..100_000 {
            herald.note(format!("s{}", n % 20), &n);
        }
        let first = herald.next();
        assert_eq!(first.len(), AT_A_TIME);
        assert_eq!(first[0], ("s0".to_owned(), Bytes::from("99980")));
        herald.note("s0".into(), &1);
        // The four that did not have their turn come before the one that had.
        let second: Vec<_> = herald.next().into_iter().map(|(subject, _)| subject).collect();
        assert_eq!(second, ["s16", "s17", "s18", "s19", "s0"]);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let herald = Herald::default();
        for n in 0..WAITING_MOST + 10 {
            herald.note(format!("s{n}"), &n);
        }
        assert_eq!(herald.lock().facts.len(), WAITING_MOST);
    }

    #[test]
    fn a_fact_that_could_not_be_told_does_not_replace_a_newer_one() {
        let herald = Herald::default();
        herald.note("s".into(), &1);
        let (subject, old) = herald.next().remove(0);
        herald.note("s".into(), &2);
        herald.back(subject.clone(), old.clone());
        assert_eq!(herald.next(), [("s".to_owned(), Bytes::from("2"))]);
        herald.back(subject, old);
        assert_eq!(herald.next().len(), 1);
    }
}
