//! Durable publishing: a message counts as published when JetStream has acknowledged it.
//!
//! A message leaves at once, on its own, as long as few are under way. Behind many, messages wait, and
//! those that wait **travel together** in one atomic batch and share its fsyncs (with `sync_interval:
//! always`, a batch costs a handful whatever its size, a message on its own costs one), as soon as they
//! are so many that a batch is faster; how many that are is measured (`pace`). Nobody waits for company.
//! A batch is all or nothing, so when the server refuses one (a duplicate `Nats-Msg-Id` refuses it whole)
//! its messages are published singly, each with an answer of its own. Servers before 2.12 and streams
//! without `allow_atomic` get every message singly.

mod pace;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::{Request, RequestErrorKind};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::future::join_all;
use serde::Deserialize;
use tokio::sync::oneshot;

use self::pace::Pace;
use crate::envelope::header;

/// The largest batch; the server's own limit is 1,000.
const BATCH_MOST: usize = 500;

/// A batch is closed when it holds this many bytes; the server keeps it in memory until its commit.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long an acknowledgement is waited for. Callers with a deadline of their own put it around.
const ACK_TIMEOUT: Duration = Duration::from_secs(8);

/// A message to be published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// With `Nats-Msg-Id` among them, if duplicates are to be dropped.
    pub headers: HeaderMap,
    /// What.
    pub payload: Bytes,
}

/// How a publish ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Stored now.
    Stored,
    /// The stream already had a message with this `Nats-Msg-Id`.
    Duplicate,
}

/// Why a message is not known to be stored. It may be, when the acknowledgement was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No stream listens on the subject (or JetStream is off): it was deleted, or not yet created.
    #[error("no stream listens on the subject: JetStream is off or the stream was deleted")]
    NoStream,
    /// JetStream refused the message.
    #[error("JetStream refused the message: {description} ({code})")]
    Refused {
        /// JetStream's error code, such as 10077 (maximum bytes exceeded).
        code: u64,
        /// Its text.
        description: String,
    },
    /// The payload exceeds the server's `max_payload`.
    #[error("the message exceeds the NATS server's max_payload: raise it to 32MB as in nats/nats-server.conf")]
    TooLarge,
    /// Neither stored nor refused within the time.
    #[error("no acknowledgement within {} s: NATS is down, frozen or overloaded", ACK_TIMEOUT.as_secs())]
    Timeout,
    /// The client is closed or the answer is not one of JetStream's.
    #[error("the connection to NATS failed: {0}")]
    Connection(String),
}

/// Publishes from any number of tasks over one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    client: Client,
    queue: Arc<Mutex<Queue>>,
    batches: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    singles: usize,
    batch: bool,
    /// How many batches there were. A message on its own that met one does not tell what it costs alone.
    begun: u64,
    pace: Pace,
}

/// What may be sent now.
#[derive(Debug)]
enum Turn {
    Single(Job),
    Batch(Vec<Job>),
}

#[derive(Debug)]
struct Job {
    message: Outgoing,
    answer: oneshot::Sender<Result<Published, PublishError>>,
}

impl Publisher {
    /// A publisher over a client. JetStream's timeout settings do not matter here.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, queue: Arc::default(), batches: Arc::default() }
    }

    /// Publishes one message, in company when there is some.
    ///
    /// A batch is of one stream, so a publisher whose messages go to two streams would travel singly: use
    /// one a stream.
    ///
    /// # Errors
    /// When the message is not known to be stored; see [`PublishError`].
    pub async fn publish(&self, message: Outgoing) -> Result<Published, PublishError> {
        let (answer, answered) = oneshot::channel();
        lock(&self.queue).waiting.push_back(Job { message, answer });
        self.go_on();
        answered.await.unwrap_or_else(|_| Err(PublishError::Connection("the publishing task ended".into())))
    }

    /// Publishes several messages of one stream in as few batches as possible; all are stored on success.
    ///
    /// # Errors
    /// The first error; some of the messages may be stored all the same.
    pub async fn publish_all(&self, messages: Vec<Outgoing>) -> Result<(), PublishError> {
        let mut messages = VecDeque::from(messages);
        while !messages.is_empty() {
            let group = take_group(&mut messages, |message| message);
            for result in self.send(group).await {
                result?;
            }
        }
        Ok(())
    }

    /// Starts whatever may be sent now.
    fn go_on(&self) {
        // Asked for only when it matters: the client reads the server's version with a regular expression.
        let batches = || self.client.is_server_compatible(2, 12, 0);
        loop {
            let Some(turn) = lock(&self.queue).next(batches) else { return };
            // A task of its own: the caller may give up, its companions must not.
            tokio::spawn(self.clone().take(turn));
        }
    }

    async fn take(self, turn: Turn) {
        let place = Place { publisher: &self, batch: matches!(turn, Turn::Batch(_)) };
        match turn {
            Turn::Single(Job { message, answer }) => {
                let began = Began::now(&self.queue);
                let result = self.single(message).await;
                if result.is_ok() {
                    began.done(&mut lock(&self.queue), 1);
                }
                // The next one first: whoever asked may take a moment to look at the answer, or have given up.
                drop(place);
                drop(answer.send(result));
            }
            Turn::Batch(group) => {
                let (messages, answers): (Vec<_>, Vec<_>) =
                    group.into_iter().map(|job| (job.message, job.answer)).unzip();
                let results = self.send_batch(messages).await;
                drop(place);
                for (answer, result) in answers.into_iter().zip(results) {
                    drop(answer.send(result));
                }
            }
        }
    }

    /// Publishes a group, batched when that pays, and answers for each message in order.
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        let pays = lock(&self.queue).pace.batch_pays(messages.len(), Instant::now());
        if pays && self.client.is_server_compatible(2, 12, 0) {
            return self.send_batch(messages).await;
        }
        let (began, count) = (Began::now(&self.queue), messages.len());
        let results = self.singly(messages).await;
        if results.iter().all(Result::is_ok) {
            began.done(&mut lock(&self.queue), count);
        }
        results
    }

    /// Publishes a batch; singly when the server refuses it.
    async fn send_batch(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        let begin = Instant::now();
        match self.batch(&messages).await {
            Ok(()) => {
                let now = Instant::now();
                lock(&self.queue).pace.batch_took(messages.len(), now.duration_since(begin), now);
                vec![Ok(Published::Stored); messages.len()]
            }
            // Refused as a whole, nothing stored: each message gets its own answer.
            Err(PublishError::Refused { code, description }) => {
                tracing::debug!(code, description, size = messages.len(), "batch refused, publishing singly");
                self.singly(messages).await
            }
            Err(error) => vec![Err(error); messages.len()],
        }
    }

    async fn singly(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        join_all(messages.into_iter().map(|message| self.single(message))).await
    }

    async fn batch(&self, messages: &[Outgoing]) -> Result<(), PublishError> {
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        // An inbox is unique in the cluster; the last token alone is, too, and fits the 64 characters allowed.
        let inbox = self.client.new_inbox();
        let id = format!("{}-{number}", inbox.rsplit('.').next().unwrap_or(&inbox));
        let last = messages.len() - 1;
        for (i, message) in messages.iter().enumerate() {
            let mut headers = message.headers.clone();
            headers.insert("Nats-Batch-Id", id.as_str());
            headers.insert("Nats-Batch-Sequence", (i + 1).to_string().as_str());
            let (subject, payload) = (message.subject.clone(), message.payload.clone());
            if i < last {
                let sent = self.client.publish_with_headers(subject, headers, payload).await;
                sent.map_err(|error| PublishError::Connection(error.to_string()))?;
            } else {
                headers.insert("Nats-Batch-Commit", "1");
                return self.request(subject, headers, payload).await.map(drop);
            }
        }
        Ok(())
    }

    async fn single(&self, message: Outgoing) -> Result<Published, PublishError> {
        let Outgoing { subject, headers, payload } = message;
        let ack = self.request(subject, headers, payload).await?;
        Ok(if ack.duplicate { Published::Duplicate } else { Published::Stored })
    }

    async fn request(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<Ack, PublishError> {
        let request = Request::new().headers(headers).payload(payload).timeout(Some(ACK_TIMEOUT));
        let reply = self.client.send_request(subject, request).await.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => PublishError::NoStream,
            RequestErrorKind::TimedOut => PublishError::Timeout,
            RequestErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
            _ => PublishError::Connection(error.to_string()),
        })?;
        let ack: Ack = serde_json::from_slice(&reply.payload)
            .map_err(|error| PublishError::Connection(format!("the acknowledgement cannot be read: {error}")))?;
        match ack.error {
            None => Ok(ack),
            Some(error) => {
                Err(PublishError::Refused { code: error.err_code, description: error.description.unwrap_or_default() })
            }
        }
    }
}

/// What JetStream answers to a publish: a sequence, or an error.
#[derive(Debug, Deserialize)]
struct Ack {
    #[serde(default)]
    duplicate: bool,
    error: Option<AckError>,
}

#[derive(Debug, Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    description: Option<String>,
}

impl Queue {
    /// Takes the next turn, if there is one.
    fn next(&mut self, batches: impl Fn() -> bool) -> Option<Turn> {
        // Who has given up was answered 503; publishing now would only add a duplicate.
        while self.waiting.front().is_some_and(|job| job.answer.is_closed()) {
            self.waiting.pop_front();
        }
        // One batch at a time: behind it the next company forms, and the larger, the cheaper.
        if self.batch {
            return None;
        }
        if self.pace.batch_pays(self.waiting.len(), Instant::now()) && batches() {
            self.waiting.retain(|job| !job.answer.is_closed());
            let group = take_group(&mut self.waiting, |job| &job.message);
            self.batch = !group.is_empty();
            self.begun += u64::from(self.batch);
            return self.batch.then_some(Turn::Batch(group));
        }
        let job = if self.singles < self.pace.singles_at_once(Instant::now()) {
            self.waiting.pop_front()?
        } else {
            return None;
        };
        self.singles += 1;
        Some(Turn::Single(job))
    }
}

/// When messages were sent on their own, and beside what.
struct Began {
    at: Instant,
    singles: usize,
    batch: bool,
    begun: u64,
}

impl Began {
    fn now(queue: &Mutex<Queue>) -> Self {
        let queue = lock(queue);
        Self { at: Instant::now(), singles: queue.singles, batch: queue.batch, begun: queue.begun }
    }

    /// So many messages were acknowledged.
    fn done(&self, queue: &mut Queue, messages: usize) {
        if !self.batch && self.begun == queue.begun {
            let now = Instant::now();
            let under_way = self.singles.max(messages);
            queue.pace.singles_took(messages, now.duration_since(self.at), under_way, now);
        }
    }
}

/// Gives a place back, also when its task panics, and starts what waits for it.
struct Place<'a> {
    publisher: &'a Publisher,
    batch: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        {
            let mut queue = lock(&self.publisher.queue);
            if self.batch {
                queue.batch = false;
            } else {
                queue.singles -= 1;
            }
        }
        self.publisher.go_on();
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what may travel together from the front: bounded in number and bytes, each message id once.
fn take_group<T>(waiting: &mut VecDeque<T>, message: impl Fn(&T) -> &Outgoing) -> Vec<T> {
    let mut ids = HashSet::new();
    let mut bytes = 0;
    let mut group = Vec::new();
    while let Some(next) = waiting.front().map(&message) {
        bytes += next.payload.len();
        // A second one of the same id would refuse the batch: it waits for the next, and is a duplicate there.
        let repeated = next.headers.get(header::MSG_ID).is_some_and(|id| !ids.insert(id.as_str().to_owned()));
        if !group.is_empty() && (repeated || bytes > BATCH_BYTES || group.len() == BATCH_MOST) {
            break;
        }
        group.extend(waiting.pop_front());
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, bytes: usize) -> Outgoing {
        let mut headers = HeaderMap::new();
        headers.insert(header::MSG_ID, id);
        Outgoing { subject: "s".into(), headers, payload: vec![0; bytes].into() }
    }

    fn sizes(messages: Vec<Outgoing>) -> Vec<usize> {
        let mut waiting = VecDeque::from(messages);
        std::iter::from_fn(|| Some(take_group(&mut waiting, |m| m).len()).filter(|n| *n > 0)).collect()
    }

    #[test]
    fn the_same_message_id_never_travels_twice_in_one_batch() {
        assert_eq!(sizes(vec![message("a", 1), message("b", 1), message("a", 1), message("c", 1)]), [2, 2]);
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes_but_one_message_always_goes() {
        let many = (0..1_100).map(|i| message(&i.to_string(), 1)).collect();
        assert_eq!(sizes(many), [500, 500, 100]);
        let large = (0..3).map(|i| message(&i.to_string(), BATCH_BYTES + 1)).collect();
        assert_eq!(sizes(large), [1, 1, 1]);
    }
}
