//! Pulls batches: waits for one message, then takes what else is there.
//!
//! A single event does not wait for a batch, and a backlog is pulled in large ones. Nothing is buffered between batches.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{Context, Message};
use async_nats::{Client, StatusCode, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use shared::topology::Topology;
use tokio::time::{Instant, timeout_at};

use super::settle;

/// How long a pull waits at the server. Also how long an idle worker takes to stop.
pub const POLL: Duration = Duration::from_secs(1);

/// Bytes of one pull at most, as they are in the stream, beside the message it waited for.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A pull is lost when its reply is this much later than the server's own timeout.
const SLACK: Duration = Duration::from_secs(2);

/// Why nothing can be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The connection is closed, or the subscription could not be made.
    #[error("the connection to NATS failed: {0}")]
    Connection(String),
    /// The server says no: the consumer or its stream is gone, or JetStream is off.
    #[error("the server refused a pull: {0}")]
    Refused(String),
}

/// A subscription to a durable consumer.
#[derive(Debug)]
pub struct Puller {
    client: Client,
    context: Context,
    subject: String,
    inbox: String,
    replies: Subscriber,
    pulls: u64,
    pending: Option<PullRequest>,
    received: Vec<Message>,
}

/// A request that is not answered in full yet: the server may still send messages for it.
#[derive(Debug)]
struct PullRequest {
    reply: String,
    left: usize,
    until: Instant,
}

impl Puller {
    /// Subscribes. The consumer is shared with other workers.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn new(context: &Context, topology: &Topology, consumer: &PullConsumer) -> Result<Self, PullError> {
        let client = context.client();
        let inbox = client.new_inbox();
        let replies =
            client.subscribe(format!("{inbox}.*")).await.map_err(|error| PullError::Connection(error.to_string()))?;
        let subject = topology.pull_subject(consumer.cached_info());
        let context = context.clone();
        Ok(Self { client, context, subject, inbox, replies, pulls: 0, pending: None, received: Vec::new() })
    }

    /// Waits up to `wait` for a message and returns it with up to `most - 1` others that are there.
    ///
    /// Cancel safe: messages that were received by then are kept for the next pull or for [`close`](Self::close).
    ///
    /// # Errors
    /// When the server refuses or the connection is closed.
    pub async fn pull(&mut self, most: usize, wait: Duration) -> Result<Vec<Message>, PullError> {
        let request = serde_json::json!({ "batch": 1, "expires": u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX) });
        self.request(request, 1, wait + SLACK).await?;
        self.collect().await?;
        if !self.received.is_empty() && most > 1 {
            let request = serde_json::json!({ "batch": most - 1, "no_wait": true, "max_bytes": MAX_BYTES });
            // There is a batch already: an error is reported by the next pull.
            if self.request(request, most - 1, SLACK).await.is_ok() {
                drop(self.collect().await);
            }
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Sends one pull request for `most` messages.
    async fn request(&mut self, request: serde_json::Value, most: usize, wait: Duration) -> Result<(), PullError> {
        self.pulls += 1;
        let reply = format!("{}.{}", self.inbox, self.pulls);
        self.client
            .publish_with_reply(self.subject.clone(), reply.clone(), request.to_string().into())
            .await
            .map_err(|error| PullError::Connection(error.to_string()))?;
        self.pending = Some(PullRequest { reply, left: most, until: Instant::now() + wait });
        Ok(())
    }

    /// Receives until the request is answered in full or lost.
    async fn collect(&mut self) -> Result<(), PullError> {
        while let Some(PullRequest { reply, left, until }) = &mut self.pending {
            let next = match timeout_at(*until, self.replies.next()).await {
                Ok(Some(next)) => next,
                Ok(None) => return Err(PullError::Connection("the subscription ended".into())),
                Err(_) => {
                    self.pending = None;
                    return Ok(());
                }
            };
            match next.status {
                None => {
                    self.received.push(Message { message: next, context: self.context.clone() });
                    *left -= 1;
                    if *left == 0 {
                        self.pending = None;
                    }
                }
                // The end of an earlier pull.
                Some(_) if next.subject.as_str() != reply => {}
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                // Nothing there, or not within the time: both are an answer.
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => self.pending = None,
                Some(status) => {
                    self.pending = None;
                    let text = next.description.as_deref().unwrap_or("no text");
                    return Err(PullError::Refused(format!("{text} ({status})")));
                }
            }
        }
        Ok(())
    }

    /// Ends the subscription and hands back messages that were received in the meantime.
    ///
    /// First it waits for a pull that was cancelled: a message that the server sends to a closed inbox is redelivered
    /// only after the ack wait.
    pub async fn close(mut self) {
        drop(self.collect().await);
        while let Some(Some(next)) = self.replies.next().now_or_never() {
            if next.status.is_none() {
                self.received.push(Message { message: next, context: self.context.clone() });
            }
        }
        settle::release(&self.received).await;
    }
}
