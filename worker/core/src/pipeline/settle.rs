//! Acknowledges messages: the only file that does.
//!
//! A handler gets messages [`InFlight`] and settles each of them once. What it leaves open is negatively acknowledged
//! when it returns, so that another worker gets it at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::{AckKind, Message};
use futures::future::join_all;
use shared::envelope::header;
use shared::retry::Policy;
use shared::topology::{ACK_WAIT, StreamName};
use tokio_util::sync::CancellationToken;
use worker_event::reason::Reason;

use super::context::Pipeline;
use super::dead_letter;
use super::suspects::EventKey;

/// Delay of a message whose dead letter could not be written.
const DEAD_LETTER_RETRY: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// Releasing messages takes no longer: without a connection the client's buffer may be full.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Done: acknowledge.
    Ack,
    /// Not now: redeliver after this time.
    RetryAfter(Duration),
    /// Never: write a dead letter, then acknowledge.
    DeadLetter {
        reason: Reason,
        /// What is wrong, for a person.
        error: String,
    },
    /// This worker stops: redeliver to another one at once.
    HandBack,
}

impl Settlement {
    pub fn dead(reason: Reason, error: impl ToString) -> Self {
        Self::DeadLetter { reason, error: error.to_string() }
    }
}

/// When a handler has to stop: at the hard stop, or some time after the soft stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Pull nothing more.
    pub soft: CancellationToken,
    /// Hand back what is in flight.
    pub hard: CancellationToken,
    /// What is in flight is handed back this long after the soft stop; `None`: only at the hard stop.
    pub finish_within: Option<Duration>,
}

impl Stop {
    async fn reached(&self) {
        let soon = async {
            match self.finish_within {
                Some(time) => {
                    self.soft.cancelled().await;
                    tokio::time::sleep(time).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.hard.cancelled() => {}
            () = soon => {}
        }
    }
}

/// Messages that a handler works on.
#[derive(Debug)]
pub struct InFlight {
    messages: Vec<Message>,
    is_settled: Mutex<Vec<bool>>,
    pipeline: Arc<Pipeline>,
    stop: Stop,
    /// When they were pulled.
    pub began: SystemTime,
}

impl InFlight {
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>, messages: Vec<Message>, stop: Stop) -> Self {
        let is_settled = Mutex::new(vec![false; messages.len()]);
        Self { messages, is_settled, pipeline, stop, began: SystemTime::now() }
    }

    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// How often a message has been delivered, this time included.
    #[must_use]
    pub fn delivered(&self, index: usize) -> i64 {
        self.messages.get(index).and_then(|message| message.info().ok()).map_or(1, |info| info.delivered)
    }

    /// Its sequence in its stream.
    #[must_use]
    pub fn sequence(&self, index: usize) -> u64 {
        self.messages.get(index).and_then(|message| message.info().ok()).map_or(0, |info| info.stream_sequence)
    }

    /// Which event it is, whatever its stream was before.
    #[must_use]
    pub fn key(&self, index: usize) -> EventKey {
        let info = self.messages.get(index).and_then(|message| message.info().ok());
        let published = info.map_or(0, |info| info.published.unix_timestamp_nanos());
        EventKey { sequence: self.sequence(index), published }
    }

    #[must_use]
    pub fn is_settled(&self, index: usize) -> bool {
        self.open().get(index).copied().unwrap_or(true)
    }

    /// `None` when the worker must stop before `work` is done.
    pub async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.stop.reached() => None,
        }
    }

    /// Settles a message. Of a second settlement nothing happens.
    pub async fn settle(&self, index: usize, settlement: Settlement) {
        let Some(message) = self.messages.get(index) else { return };
        let already = match self.open().get_mut(index) {
            Some(settled) => std::mem::replace(settled, true),
            None => return,
        };
        if !already {
            settle(&self.pipeline, message, settlement).await;
        }
    }

    /// Settles several messages at the same time.
    pub async fn settle_all(&self, settlements: impl IntoIterator<Item = (usize, Settlement)>) {
        join_all(settlements.into_iter().map(|(index, settlement)| self.settle(index, settlement))).await;
    }

    /// Sends in-progress acknowledgements every few seconds. Never returns.
    pub(super) async fn keep_alive(&self) {
        loop {
            tokio::time::sleep(ACK_WAIT / 3).await;
            let open = self.open().clone();
            for (message, _) in self.messages.iter().zip(open).filter(|(_, settled)| !settled) {
                let Some(reply) = message.reply.clone() else { continue };
                // Without a connection the message is redelivered, which is harmless.
                drop(message.context.client().publish(reply, AckKind::Progress.into()).await);
            }
        }
    }

    /// Settles what is still open.
    pub(super) async fn hand_back(&self) {
        let open: Vec<usize> =
            (0..).zip(self.open().iter()).filter(|(_, settled)| !**settled).map(|(i, _)| i).collect();
        self.settle_all(open.into_iter().map(|index| (index, Settlement::HandBack))).await;
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<bool>> {
        self.is_settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands back messages that no handler got.
pub(super) async fn release(messages: &[Message]) {
    let all = async {
        for message in messages {
            acknowledge(message, AckKind::Nak(None)).await;
        }
    };
    drop(tokio::time::timeout(RELEASE_TIMEOUT, all).await);
}

async fn settle(pipeline: &Pipeline, message: &Message, settlement: Settlement) {
    let kind = match settlement {
        Settlement::Ack => AckKind::Ack,
        Settlement::RetryAfter(delay) => AckKind::Nak(Some(delay)),
        Settlement::HandBack => AckKind::Nak(None),
        Settlement::DeadLetter { reason, error } => dead_letter(pipeline, message, reason, &error).await,
    };
    acknowledge(message, kind).await;
}

async fn acknowledge(message: &Message, kind: AckKind) {
    if let Err(error) = message.ack_with(kind).await {
        tracing::debug!(%error, subject = message.subject.as_str(), "an acknowledgement was lost; the message is redelivered");
    }
}

/// Writes the dead letter. Only then is the message acknowledged.
async fn dead_letter(pipeline: &Pipeline, message: &Message, reason: Reason, error: &str) -> AckKind {
    let info = message.info().ok();
    let (sequence, attempts) = info.map_or((0, 1), |info| (info.stream_sequence, info.delivered));
    let headers = message.headers.as_ref();
    let delivery = headers.and_then(|headers| headers.get(header::DELIVERY)).map(|id| id.as_str());
    if !pipeline.mode.writes_dead_letters() {
        pipeline.left_out.add(reason);
        tracing::warn!(
            delivery.id = delivery,
            dead.reason = reason.as_str(),
            stream.sequence = sequence,
            %error,
            "left out an event that cannot be processed"
        );
        return AckKind::Ack;
    }
    match dead_letter::publish(&pipeline.publisher, &pipeline.topology, message, reason, error).await {
        Ok(()) => {
            if !pipeline.topology.words(StreamName::Events, message.subject.as_str()).is_empty() {
                crate::meters::dead(&pipeline.topology, message.subject.as_str());
            }
            let is_unsigned = headers.is_some_and(|headers| headers.get(header::UNSIGNED).is_some());
            let more = if is_unsigned { pipeline.unsigned_dead.open() } else { Some(0) };
            let redriven_from =
                headers.and_then(|headers| headers.get(dead_letter::REDRIVEN_FROM)).map(|id| id.as_str());
            if let Some(more) = more {
                tracing::error!(
                    delivery.id = delivery,
                    dead.reason = reason.as_str(),
                    dead.redriven_from = redriven_from,
                    stream.sequence = sequence,
                    subject = message.subject.as_str(),
                    attempts = dead_letter::attempts(message),
                    more,
                    %error,
                    "a message cannot be processed and went to LD_DEAD; look at it with `worker dead-letters`"
                );
            }
            AckKind::Ack
        }
        Err(failure) => {
            tracing::warn!(stream.sequence = sequence, %failure, "a dead letter could not be written; the message is redelivered");
            AckKind::Nak(Some(DEAD_LETTER_RETRY.delay_for(u32::try_from(attempts).unwrap_or(1))))
        }
    }
}
