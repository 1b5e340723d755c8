//! The one place that answers JetStream for a look-up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use shared::retry::Policy;

use crate::pipeline::Pipeline;
use crate::pipeline::dead_letter;
use worker_event::reason::Reason;
use worker_providers::NotYet;

/// How a look-up waits after an answer that does not help.
const LATER: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(900));

/// How it waits after a failure of the provider, whose own rest is its token's (`budget`).
const FAILED: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// A look-up whose token rests comes to a worker at least this often, without a request: its token may have
/// been replaced in the teachers' file meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often a look-up that is refused is made before its documents are left as they are.
const REFUSED_MOST: u32 = 6;

/// How often a look-up whose answers cannot be read is made before it goes to the dead letters.
const UNREADABLE_MOST: u32 = 8;

/// How many look-ups that failed are counted at most; beyond that, counting starts over.
const COUNTED: usize = 10_000;

/// What becomes of a look-up's message.
#[derive(Debug)]
pub enum Outcome {
    /// Acknowledge; with the word metrics have for it.
    Done(&'static str),
    /// Later.
    NotYet(NotYet),
    /// It is no look-up.
    Nonsense(String),
    /// This worker stops.
    HandBack,
}

/// Carries out outcomes.
#[derive(Debug)]
pub struct Settler {
    pipeline: Arc<Pipeline>,
    /// Failed attempts by stream sequence. JetStream's own count would include every wait for a reset.
    attempts: Mutex<HashMap<u64, u32>>,
}

impl Settler {
    /// With the pipeline's dead letters.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline, attempts: Mutex::default() }
    }

    /// Answers JetStream. `source` is the provider's name in metrics.
    pub async fn settle(&self, message: &Message, source: &'static str, outcome: Outcome) {
        let (word, kind) = match outcome {
            Outcome::Done(word) => (word, AckKind::Ack),
            Outcome::HandBack => ("handed_back", AckKind::Nak(None)),
            Outcome::NotYet(NotYet::Wait(wait)) => ("waits", AckKind::Nak(Some(wait.min(LONGEST_WAIT)))),
            Outcome::NotYet(NotYet::Failing(error)) => {
                let attempt = self.count(message);
                tracing::debug!(%error, attempt, "a look-up failed; it is made again later");
                ("failed", AckKind::Nak(Some(FAILED.delay_for(attempt))))
            }
            Outcome::NotYet(NotYet::Refused(error)) => {
                let attempt = self.count(message);
                if attempt < REFUSED_MOST {
                    ("refused", AckKind::Nak(Some(LATER.delay_for(attempt))))
                } else {
                    tracing::warn!(%error, attempt, subject = %message.subject, "a look-up is refused again and again; its documents stay as they are, check what the token may see");
                    ("given_up", AckKind::Ack)
                }
            }
            Outcome::NotYet(NotYet::Unreadable(error)) => {
                let attempt = self.count(message);
                if attempt < UNREADABLE_MOST {
                    tracing::debug!(%error, attempt, "an answer cannot be read; the look-up is made again later");
                    ("unreadable", AckKind::Nak(Some(LATER.delay_for(attempt))))
                } else {
                    self.bury(message, &error, attempt).await
                }
            }
            Outcome::Nonsense(error) => self.bury(message, &error, 1).await,
        };
        metrics::counter!("ldconnect_enrich_total", "provider" => source, "outcome" => word).increment(1);
        if matches!(kind, AckKind::Ack) {
            self.forget(message);
        }
        if let Err(error) = message.ack_with(kind).await {
            tracing::debug!(%error, "an answer to JetStream was lost; the look-up is made again");
        }
    }

    async fn bury(&self, message: &Message, error: &str, attempt: u32) -> (&'static str, AckKind) {
        let Pipeline { publisher, topology, .. } = &*self.pipeline;
        match dead_letter::publish(publisher, topology, message, Reason::EnrichUnreadable, error).await {
            Ok(()) => {
                tracing::error!(%error, attempt, subject = %message.subject, "a look-up cannot be made and went to LD_DEAD; look at it with `worker dead-letters`");
                ("dead", AckKind::Ack)
            }
            Err(_) => ("failed", AckKind::Nak(Some(LATER.delay_for(attempt)))),
        }
    }

    /// One attempt more has failed; how many that makes.
    fn count(&self, message: &Message) -> u32 {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= COUNTED {
            attempts.clear();
        }
        let count = attempts.entry(sequence(message)).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// How many attempts have failed so far.
    #[must_use]
    pub fn attempts_of(&self, message: &Message) -> u32 {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.get(&sequence(message)).copied().unwrap_or(0)
    }

    fn forget(&self, message: &Message) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(&sequence(message));
    }
}

fn sequence(message: &Message) -> u64 {
    message.info().map_or(0, |info| info.stream_sequence)
}
