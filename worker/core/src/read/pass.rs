//! One pass over a stream: a consumer in memory, read once, without acknowledgements.

use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::Stream;
use futures::StreamExt as _;

/// How many messages are asked for at once.
const PORTION: u64 = 1_000;

/// A stream could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{stream} cannot be read: {cause}")]
pub struct Unreadable {
    stream: String,
    cause: Box<dyn std::error::Error + Send + Sync>,
}

impl Unreadable {
    pub fn new(stream: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { stream: stream.to_owned(), cause: cause.into() }
    }
}

/// What is read, and how much of it.
#[derive(Debug)]
pub struct Pass {
    pub filters: Vec<String>,
    pub from: DeliverPolicy,
    pub headers_only: bool,
    pub most: u64,
    pub until: Option<Instant>,
}

impl Pass {
    /// The newest message of each subject.
    pub const fn newest(filters: Vec<String>, most: u64) -> Self {
        Self { filters, from: DeliverPolicy::LastPerSubject, headers_only: false, most, until: None }
    }

    /// Reads the messages, and says how many are left.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn read(self, stream: &Stream) -> Result<(Vec<Message>, u64), Unreadable> {
        let opened = Opened::new(stream, self.filters, self.from, self.headers_only).await?;
        let there = opened.pending();
        let messages = opened.read(there.min(self.most), self.until).await;
        opened.close().await;
        messages.map(|messages| {
            let left = there.saturating_sub(messages.len() as u64);
            (messages, left)
        })
    }
}

/// From this time on, in milliseconds since 1970.
pub fn since(ms: i64) -> DeliverPolicy {
    let start = async_nats::datetime::from_nanos(i128::from(ms) * 1_000_000);
    start.map_or(DeliverPolicy::All, |start_time| DeliverPolicy::ByStartTime { start_time })
}

/// A consumer for one reading.
pub(super) struct Opened<'s> {
    stream: &'s Stream,
    consumer: PullConsumer,
}

impl<'s> Opened<'s> {
    pub(super) async fn new(
        stream: &'s Stream,
        mut filters: Vec<String>,
        from: DeliverPolicy,
        headers_only: bool,
    ) -> Result<Self, Unreadable> {
        let mut config = pull::Config {
            description: Some("One look at a page".to_owned()),
            deliver_policy: from,
            headers_only,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        };
        match filters.as_mut_slice() {
            [one] => config.filter_subject = std::mem::take(one),
            _ => config.filter_subjects = filters,
        }
        let consumer = stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| Unreadable::new(&stream.cached_info().config.name, error))?;
        Ok(Self { stream, consumer })
    }

    /// How many messages there were when it was opened.
    pub(super) fn pending(&self) -> u64 {
        self.consumer.cached_info().num_pending
    }

    async fn read(&self, wanted: u64, until: Option<Instant>) -> Result<Vec<Message>, Unreadable> {
        let unreadable = |cause| Unreadable::new(&self.stream.cached_info().config.name, cause);
        let mut messages = Vec::new();
        while (messages.len() as u64) < wanted {
            let portion = (wanted - messages.len() as u64).min(PORTION) as usize;
            let batch = self.consumer.fetch().max_messages(portion).messages().await;
            let mut batch = batch.map_err(|error| unreadable(error.into()))?;
            let before = messages.len();
            while let Some(message) = batch.next().await {
                messages.push(message.map_err(unreadable)?);
            }
            // Nothing came: what was counted has been removed meanwhile.
            if messages.len() == before || until.is_some_and(|until| Instant::now() > until) {
                break;
            }
        }
        Ok(messages)
    }

    /// Should this fail, the server removes the consumer after `inactive_threshold`.
    pub(super) async fn close(self) {
        drop(self.stream.delete_consumer(&self.consumer.cached_info().name).await);
    }
}
