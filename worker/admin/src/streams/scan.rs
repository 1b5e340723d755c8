//! Reads many messages of a stream in batches: one round trip for hundreds, not for each.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, RetentionPolicy, Stream};
use bytes::Bytes;
use futures::StreamExt as _;

use crate::terminal::CommandError;

/// Messages of one request; with payloads also the bytes. One message always fits.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 40 * 1024 * 1024;

/// How long the server keeps the consumer of a command that died.
const KEPT: Duration = Duration::from_secs(60);

/// How many empty answers in a row are accepted while messages are expected.
const EMPTY_BATCHES: u32 = 5;

/// A message of a stream, as it is stored.
#[derive(Debug, Clone)]
pub struct Stored {
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub stored_at: i128,
    pub subject: String,
    pub headers: HeaderMap,
    /// Its payload; empty when only headers were asked for.
    pub payload: Bytes,
}

impl From<StreamMessage> for Stored {
    fn from(message: StreamMessage) -> Self {
        Self {
            sequence: message.sequence,
            stored_at: message.time.unix_timestamp_nanos(),
            subject: message.subject.to_string(),
            headers: message.headers,
            payload: message.payload,
        }
    }
}

impl Stored {
    /// A header, or an empty text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

/// The messages of a stream that match a filter, up to the last that was there when it began.
#[derive(Debug)]
pub struct Scan {
    stream: Stream,
    reader: Reader,
    last: u64,
    total: u64,
    left: u64,
}

#[derive(Debug)]
enum Reader {
    /// Hundreds of messages a round trip.
    Consumer(Box<PullConsumer>),
    /// One a round trip: a work queue has its one consumer, which is the workers'.
    Gets { filter: String, from: u64 },
}

impl Scan {
    /// Starts to read. An empty filter matches all.
    ///
    /// # Errors
    /// When the stream does not answer.
    pub async fn open(
        stream: &Stream,
        filter: &str,
        from: DeliverPolicy,
        headers_only: bool,
    ) -> Result<Self, CommandError> {
        let mut stream = stream.clone();
        let info = match stream.info().await {
            Ok(info) => info.clone(),
            Err(error) => return Err(failed(&stream, error)),
        };
        let last = info.state.last_sequence;
        if info.config.retention == RetentionPolicy::WorkQueue {
            let (filter, total) = (filter.to_owned(), info.state.messages);
            return Ok(Self { stream, reader: Reader::Gets { filter, from: 1 }, last, total, left: total });
        }
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: from,
            filter_subject: filter.to_owned(),
            inactive_threshold: KEPT,
            memory_storage: true,
            headers_only,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| failed(&stream, error))?;
        let total = consumer.cached_info().num_pending;
        Ok(Self { stream, reader: Reader::Consumer(Box::new(consumer)), last, total, left: total })
    }

    /// How many messages matched when it began; of a work queue, how many there were at all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// How many messages are still to be read.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The next messages, in their order; none at the end.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Stored>, CommandError> {
        let Self { stream, reader, last, left, .. } = self;
        let consumer = match reader {
            Reader::Gets { filter, from } => return get(stream, filter, from, *last, left).await,
            Reader::Consumer(consumer) => consumer,
        };
        for _ in 0..EMPTY_BATCHES {
            if *left == 0 {
                break;
            }
            let batch = batch(stream, consumer, *last, left).await?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            // Messages may have been deleted since: then there are no more.
            let info = consumer.get_info().await.map_err(|error| failed(stream, error))?;
            *left = (*left).min(info.num_pending);
        }
        if *left > 0 {
            return Err(failed(stream, "it has messages that it does not deliver"));
        }
        // The server removes it by itself if this fails.
        drop(stream.delete_consumer(&consumer.cached_info().name).await);
        Ok(Vec::new())
    }
}

async fn batch(
    stream: &Stream,
    consumer: &PullConsumer,
    last: u64,
    left: &mut u64,
) -> Result<Vec<Stored>, CommandError> {
    let asked = consumer.fetch().max_messages(BATCH).max_bytes(BATCH_BYTES).messages().await;
    let mut messages = asked.map_err(|error| failed(stream, error))?;
    let mut batch = Vec::new();
    while let Some(message) = messages.next().await {
        let message = match message {
            Ok(message) => message,
            // The next message does not fit into the request's bytes: it comes with the next batch.
            Err(_) if !batch.is_empty() => break,
            Err(error) => return Err(failed(stream, error)),
        };
        let Ok(info) = message.info() else { continue };
        let (sequence, pending) = (info.stream_sequence, info.pending);
        let stored_at = info.published.unix_timestamp_nanos();
        // What was stored since the scan began is not part of it.
        *left = if sequence < last { pending } else { 0 };
        if sequence > last {
            break;
        }
        let async_nats::jetstream::Message { message, .. } = message;
        batch.push(Stored {
            sequence,
            stored_at,
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        });
    }
    Ok(batch)
}

async fn get(
    stream: &Stream,
    filter: &str,
    from: &mut u64,
    last: u64,
    left: &mut u64,
) -> Result<Vec<Stored>, CommandError> {
    match stream.get_first_raw_message_by_subject(filter, *from).await {
        Ok(message) if message.sequence <= last => {
            *from = message.sequence + 1;
            *left = left.saturating_sub(1);
            Ok(vec![Stored::from(message)])
        }
        Ok(_) => Ok(Vec::new()),
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(Vec::new()),
        Err(error) => Err(failed(stream, error)),
    }
}

fn failed(stream: &Stream, error: impl std::fmt::Display) -> CommandError {
    CommandError::nats(format_args!("{} cannot be read", stream.cached_info().config.name), error)
}
