//! What one pass read, before it is judged. What could not be read is absent.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream::Message;
use serde::de::DeserializeOwned;
use shared::facts::{NotificationAccepted, NotificationFailed, TokenBudget, WebhookRefused};
use shared::ids::Project;
use shared::source::Source;
use shared::topology::{StreamName, Topology, source_of};

use super::activity::Heard;
use super::reconciled::Reconciled;
use crate::problem::Problem;

/// How many refusals of projects are kept that are not listed.
const OTHER_REFUSALS: usize = 1_000;

/// How many tokens are kept.
const TOKENS: usize = 500;

/// Refusals by source and project.
pub type Refusals = BTreeMap<(Source, Project), WebhookRefused>;

/// What dead letters are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadKey {
    pub reason: String,
    pub source: String,
    pub prj: String,
    /// It is of no unsigned event, which anyone can cause.
    pub verified: bool,
}

#[derive(Debug, Default)]
pub struct Observations {
    /// Why NATS could not be read.
    pub nats: Option<String>,
    pub problems: Vec<Problem>,
    /// What is wrong with the credentials file.
    pub credentials_file: Option<String>,
    pub heard: BTreeMap<(Source, Project), Heard>,
    /// Whether `heard` goes back far enough to know each source's rhythm.
    pub has_rhythms: bool,
    /// Events of the last day that are not counted yet.
    pub behind: u64,
    /// Refusals of requests whose signature was right.
    pub refused: Refusals,
    /// Refusals of requests whose sender is not known: anyone can cause them.
    pub unverified: Refusals,
    /// The last refusal for a project that ingress did not know. Anyone can cause it.
    pub unknown: BTreeMap<Source, WebhookRefused>,
    pub accepted_by_eval: Option<NotificationAccepted>,
    pub refused_by_eval: Option<NotificationFailed>,
    pub tokens: Vec<TokenBudget>,
    pub queues: Queues,
    pub dead: BTreeMap<DeadKey, u64>,
    /// Each team's last reconciliation.
    pub reconciled: BTreeMap<(Source, Project), Reconciled>,
}

/// What waits, and how full the event stream is.
#[derive(Debug, Clone, Default)]
pub struct Queues {
    /// Events that are not stored yet.
    pub events: u64,
    /// When the oldest of them came.
    pub events_since: Option<i64>,
    pub notifications: u64,
    pub lookups: u64,
    /// Bytes of the event stream.
    pub bytes: u64,
    /// Its limit; zero or less is none.
    pub max_bytes: i64,
    /// All dead letters, however many of them were read by subject.
    pub dead: u64,
}

impl Observations {
    /// Records a fact of the stream of facts.
    pub fn record(&mut self, topology: &Topology, message: &Message) {
        fn fact<T: DeserializeOwned>(message: &Message) -> Option<T> {
            serde_json::from_slice(&message.payload).ok()
        }
        match topology.words(StreamName::Status, message.subject.as_str())[..] {
            ["told"] => self.accepted_by_eval = fact(message),
            ["untold"] => self.refused_by_eval = fact(message),
            ["token", ..] => self.tokens.extend(fact(message)),
            ["refused", source] => {
                let (source, _) = source_of(source);
                if let (Ok(source), Some(refused)) = (source.parse(), fact::<WebhookRefused>(message)) {
                    newest(&mut self.unknown, source, refused);
                }
            }
            // Earlier versions wrote no reason into the subject.
            ["refused", source, prj, ..] => {
                let (source, is_verified) = source_of(source);
                let refusals = if is_verified { &mut self.refused } else { &mut self.unverified };
                if let (Ok(source), Ok(prj), Some(refused)) = (source.parse(), Project::new(prj), fact(message)) {
                    newest(refusals, (source, prj), refused);
                }
            }
            _ => {}
        }
    }

    /// Keeps what is listed, and of the rest the newest.
    pub fn bound(&mut self, listed: &BTreeSet<Project>) {
        for refusals in [&mut self.refused, &mut self.unverified] {
            let others = refusals.iter().filter(|((_, prj), _)| !listed.contains(prj));
            let mut others: Vec<_> = others.map(|(key, refused)| (refused.at, key.clone())).collect();
            if others.len() > OTHER_REFUSALS {
                others.sort_unstable();
                for (_, key) in others.drain(..others.len() - OTHER_REFUSALS) {
                    refusals.remove(&key);
                }
            }
        }
        self.tokens.sort_by_key(|token| std::cmp::Reverse(token.at));
        self.tokens.truncate(TOKENS);
    }
}

fn newest<K: Ord>(refusals: &mut BTreeMap<K, WebhookRefused>, key: K, refused: WebhookRefused) {
    match refusals.entry(key) {
        Entry::Occupied(known) if known.get().at >= refused.at => {}
        Entry::Occupied(mut known) => {
            known.insert(refused);
        }
        Entry::Vacant(place) => {
            place.insert(refused);
        }
    }
}
