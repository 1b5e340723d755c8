//! One pass over a stream: a consumer in memory, read once, without acknowledgements.

use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
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
    pub(super) fn new(stream: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { stream: stream.to_owned(), cause: cause.into() }
    }
}

/// What is read, and how much of it.
#[derive(Debug)]
pub(super) struct Pass {
    pub filters: Vec<String>,
    pub from: DeliverPolicy,
    pub headers_only: bool,
    pub most: u64,
    pub until: Option<Instant>,
}

impl Pass {
    /// The newest message of each subject.
    pub(super) const fn newest(filters: Vec<String>, most: u64) -> Self {
        Self { filters, from: DeliverPolicy::LastPerSubject, headers_only: false, most, until: None }
    }

    /// Reads the messages, and says how many are left.
    pub(super) async fn read(self, stream: &Stream) -> Result<(Vec<Message>, u64), Unreadable> {
        let Self { mut filters, from, headers_only, most, until } = self;
        let name = stream.cached_info().config.name.clone();
        let unreadable = |cause| Unreadable::new(&name, cause);
        let mut config = pull::Config {
            description: Some("One look at the status page".to_owned()),
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
        let consumer = stream.create_consumer(config).await.map_err(|error| unreadable(error.into()))?;
        let there = consumer.cached_info().num_pending;
        let wanted = there.min(most);
        let mut messages = Vec::new();
        let read = async {
            while (messages.len() as u64) < wanted {
                let portion = (wanted - messages.len() as u64).min(PORTION) as usize;
                let batch = consumer.fetch().max_messages(portion).messages().await;
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
            Ok(())
        };
        let read = read.await;
        // Should this fail, the server removes the consumer after `inactive_threshold`.
        drop(stream.delete_consumer(&consumer.cached_info().name).await);
        read.map(|()| {
            let left = there.saturating_sub(messages.len() as u64);
            (messages, left)
        })
    }
}
