//! Pulling: waits for one message, then takes what else is there.
//!
//! A lone event is not kept waiting for a batch, and a backlog comes in large ones. Everything that is
//! received belongs to the batch; nothing is buffered between batches.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Context, Message};
use async_nats::{Client, StatusCode, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};

/// How many bytes one pull takes at most, beside the message it waited for: bounds a lane's memory.
const BYTES: usize = 8 * 1024 * 1024;

/// How much longer than the server we wait before we take a pull for lost.
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

/// One lane's subscription to a durable consumer.
#[derive(Debug)]
pub struct Puller {
    client: Client,
    context: Context,
    subject: String,
    inbox: String,
    replies: Subscriber,
    pulls: u64,
    asked: Option<Asked>,
    taken: Vec<Message>,
}

/// A pull that is not answered in full yet: the server may still send messages for it.
#[derive(Debug)]
struct Asked {
    reply: String,
    left: usize,
    until: Instant,
}

impl Puller {
    /// Subscribes. The consumer is shared with other lanes and workers.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn new(context: &Context, consumer: &PullConsumer) -> Result<Self, PullError> {
        let client = context.client();
        let inbox = client.new_inbox();
        let replies =
            client.subscribe(format!("{inbox}.*")).await.map_err(|error| PullError::Connection(error.to_string()))?;
        let info = consumer.cached_info();
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", info.stream_name, info.name);
        let context = context.clone();
        Ok(Self { client, context, subject, inbox, replies, pulls: 0, asked: None, taken: Vec::new() })
    }

    /// Waits up to `wait` for a message and returns it with up to `most - 1` others that are there.
    ///
    /// May be cancelled: what had come by then is kept, for the next pull or for [`close`](Self::close).
    ///
    /// # Errors
    /// When the server refuses or the connection is closed.
    pub async fn pull(&mut self, most: usize, wait: Duration) -> Result<Vec<Message>, PullError> {
        let request = serde_json::json!({ "batch": 1, "expires": u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX) });
        self.ask(request, 1, wait + SLACK).await?;
        self.collect().await?;
        if !self.taken.is_empty() && most > 1 {
            let request = serde_json::json!({ "batch": most - 1, "no_wait": true, "max_bytes": BYTES });
            // What has come is a batch already: a refusal now is told by the next pull.
            if self.ask(request, most - 1, SLACK).await.is_ok() {
                drop(self.collect().await);
            }
        }
        Ok(std::mem::take(&mut self.taken))
    }

    /// Sends one pull request for `most` messages.
    async fn ask(&mut self, request: serde_json::Value, most: usize, wait: Duration) -> Result<(), PullError> {
        self.pulls += 1;
        let reply = format!("{}.{}", self.inbox, self.pulls);
        self.client
            .publish_with_reply(self.subject.clone(), reply.clone(), request.to_string().into())
            .await
            .map_err(|error| PullError::Connection(error.to_string()))?;
        self.asked = Some(Asked { reply, left: most, until: Instant::now() + wait });
        Ok(())
    }

    /// Receives until the pull under way is answered in full, or is taken for lost.
    async fn collect(&mut self) -> Result<(), PullError> {
        while let Some(Asked { reply, left, until }) = &mut self.asked {
            let next = match timeout_at(*until, self.replies.next()).await {
                Ok(Some(next)) => next,
                Ok(None) => return Err(PullError::Connection("the subscription ended".into())),
                Err(_) => {
                    self.asked = None;
                    return Ok(());
                }
            };
            match next.status {
                None => {
                    self.taken.push(Message { message: next, context: self.context.clone() });
                    *left -= 1;
                    if *left == 0 {
                        self.asked = None;
                    }
                }
                // The end of an earlier pull.
                Some(_) if next.subject.as_str() != reply => {}
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                // Nothing there, or not within the time: both are an answer.
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => self.asked = None,
                Some(status) => {
                    self.asked = None;
                    let text = next.description.as_deref().unwrap_or("no text");
                    return Err(PullError::Refused(format!("{text} ({status})")));
                }
            }
        }
        Ok(())
    }

    /// Ends the subscription and hands back what had come in the meantime.
    ///
    /// A pull that was cancelled is first waited for, because a message that the server sends to an inbox
    /// which is just being closed is lost until its ack wait is over.
    pub async fn close(mut self) {
        drop(self.collect().await);
        while let Some(Some(next)) = self.replies.next().now_or_never() {
            if next.status.is_none() {
                self.taken.push(Message { message: next, context: self.context.clone() });
            }
        }
        let hand_back = async {
            for message in &self.taken {
                drop(message.ack_with(AckKind::Nak(None)).await);
            }
        };
        // Without a connection even the client's buffer may be full.
        drop(timeout(SLACK, hand_back).await);
    }
}
