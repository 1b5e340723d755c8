//! The one place that answers JetStream for an event.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::{AckKind, Message};
use shared::envelope::header;
use shared::retry::Policy;
use shared::trace;

use super::Pipeline;
use crate::pipeline::dead_letter;
use worker_event::reason::Reason;

/// How long an event waits when its dead letter could not be written.
const DEAD_LETTER_LATER: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// What becomes of an event.
#[derive(Debug)]
pub enum Verdict {
    /// Its effects are durable and its notifications queued: acknowledge.
    Done,
    /// It can never be processed: to the dead letters, then acknowledge.
    Dead {
        /// What it is listed under.
        reason: Reason,
        /// What is wrong.
        error: String,
    },
    /// This worker stops: somebody else's, at once.
    HandBack,
}

impl Verdict {
    /// To the dead letters.
    pub fn dead(reason: Reason, error: impl ToString) -> Self {
        Self::Dead { reason, error: error.to_string() }
    }
}

/// Carries out verdicts.
#[derive(Debug)]
pub struct Settler<'a>(&'a Pipeline, SystemTime);

impl<'a> Settler<'a> {
    pub(super) fn new(pipeline: &'a Pipeline) -> Self {
        Self(pipeline, SystemTime::now())
    }

    /// Answers JetStream. An answer that is lost costs a redelivery, which is harmless.
    pub(super) async fn settle(&self, message: &Message, verdict: Verdict) {
        self.tell(message, &verdict);
        let kind = match verdict {
            Verdict::Done => AckKind::Ack,
            Verdict::HandBack => AckKind::Nak(None),
            Verdict::Dead { reason, error } if self.0.buries => self.bury(message, reason, &error).await,
            Verdict::Dead { reason, error } => {
                self.0.left_out.add(reason);
                let sequence = message.info().map_or(0, |info| info.stream_sequence);
                tracing::warn!(
                    dead.reason = reason.as_str(),
                    stream.sequence = sequence,
                    error,
                    "left out an event that cannot be processed"
                );
                AckKind::Ack
            }
        };
        if let Err(error) = message.ack_with(kind).await {
            tracing::debug!(%error, "an answer to JetStream was lost; the event comes again");
        }
    }

    /// The delivery's story, for logs and traces: since its batch was begun.
    fn tell(&self, message: &Message, verdict: &Verdict) {
        if !trace::is_exporting() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let outcome = match verdict {
            Verdict::Done => "stored",
            Verdict::Dead { .. } => "dead",
            Verdict::HandBack => "handed_back",
        };
        let text = |name| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
        let delivery = text(header::DELIVERY).unwrap_or("unknown");
        tracing::debug!(delivery.id = delivery, subject = message.subject.as_str(), outcome, "settled an event");
        let about = [("delivery.id", delivery), ("subject", message.subject.as_str()), ("outcome", outcome)];
        trace::record("store", self.1, text(header::TRACEPARENT), &about);
    }

    /// Writes the dead letter; the event is acknowledged only after that.
    async fn bury(&self, message: &Message, reason: Reason, error: &str) -> AckKind {
        let info = message.info().ok();
        let (sequence, attempts) = info.map_or((0, 1), |info| (info.stream_sequence, info.delivered));
        match dead_letter::publish(&self.0.publisher, &self.0.topology, message, reason, error).await {
            Ok(()) => {
                crate::meters::dead(&self.0.topology, message.subject.as_str());
                let headers = message.headers.as_ref();
                let delivery = headers.and_then(|headers| headers.get(header::DELIVERY)).map(|id| id.as_str());
                tracing::error!(
                    delivery.id = delivery,
                    dead.reason = reason.as_str(),
                    stream.sequence = sequence,
                    subject = message.subject.as_str(),
                    attempts,
                    "an event cannot be processed and went to LD_DEAD; look at it with `worker dead-letters`"
                );
                AckKind::Ack
            }
            Err(failure) => {
                tracing::warn!(stream.sequence = sequence, %failure, "a dead letter could not be written; the event comes again");
                AckKind::Nak(Some(DEAD_LETTER_LATER.delay_for(u32::try_from(attempts).unwrap_or(1))))
            }
        }
    }
}
