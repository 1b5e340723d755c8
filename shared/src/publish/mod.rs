//! Durable publishing: a message counts as published when JetStream has acknowledged it.
//!
//! A message is sent singly, at once, while few are in flight. Of more, those of all tasks that are ready now go together:
//! one write of the client instead of one each. Behind many, messages wait where a batch may be faster. Those that wait
//! are sent as one **atomic batch** once a batch of their number is faster; from which number on that is, is measured
//! (`pace`). No message waits for others to come.
//!
//! A batch shares its fsyncs: with `sync_interval: always` it costs a handful whatever its size, and a single message
//! costs one. It is all or nothing. When the server refuses one (a duplicate `Nats-Msg-Id` refuses it whole), its
//! messages are published singly, each with its own result. Servers before 2.12 and streams without `allow_atomic`
//! get every message singly.

mod outcome;
mod pace;
mod replies;

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{OnceCell, oneshot};

use self::pace::Pace;
use self::replies::{Place, Replies, Waiter};
use crate::envelope::header;

pub use self::outcome::{PublishError, Published};

/// The largest batch; the server's own limit is 1,000.
const MAX_BATCH: usize = 500;

/// A batch is closed when it holds this many bytes; the server keeps it in memory until its commit.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// With fewer in flight, a message is sent by its own task.
const FEW: usize = 4;

/// A batch follows another when it begins within this time after the other's end.
const FOLLOWS: Duration = Duration::from_millis(50);

/// A message to be published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The subject.
    pub subject: String,
    /// With `Nats-Msg-Id` among them, if duplicates are to be dropped.
    pub headers: HeaderMap,
    /// The bytes.
    pub payload: Bytes,
}

/// Publishes from any number of tasks over one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    queue: Mutex<Queue>,
    batches: AtomicU64,
    replies: OnceCell<Replies<Slot>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Messages with a slot, for [`Publisher::send_outbox`].
    outbox: Vec<(Job, Sample)>,
    singles_in_flight: usize,
    batch_in_flight: bool,
    /// When the last batch ended.
    batch_ended: Option<Instant>,
    /// Batches started so far. A single publish that overlapped a batch is not used as a latency sample.
    batches_started: u64,
    pace: Pace,
}

/// A message whose owner waits for its result.
#[derive(Debug)]
struct Job {
    message: Outgoing,
    result: oneshot::Sender<Result<Published, PublishError>>,
}

/// What is sent next.
#[derive(Debug)]
enum Dispatch {
    /// The message that was put into the outbox.
    Single,
    Batch(Vec<Job>),
}

impl Publisher {
    /// A publisher over a client. JetStream's timeout settings do not matter here.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Inner { client, queue: Mutex::default(), batches: AtomicU64::new(0), replies: OnceCell::new() }))
    }

    /// Publishes one message, singly or in a batch.
    ///
    /// A batch is of one stream: the server refuses one whose messages go to two. Use a publisher for each stream.
    ///
    /// # Errors
    /// When the message is not known to be stored; see [`PublishError`].
    pub async fn publish(&self, message: Outgoing) -> Result<Published, PublishError> {
        let (owner, result) = oneshot::channel();
        let job = Job { message, result: owner };
        match self.enter(job) {
            // Boxed: it would make every caller's future larger.
            Some((job, slot)) => Box::pin(self.send_job(job, Some(slot))).await,
            None => self.send_waiting(),
        }
        outcome(result).await
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

    /// A slot for a message that its owner sends; else it waits.
    fn enter(&self, job: Job) -> Option<(Job, Slot)> {
        let mut queue = self.queue();
        if queue.waiting.is_empty()
            && queue.singles_in_flight < FEW
            && let Some(sample) = queue.single(Instant::now())
        {
            return Some((job, Slot::new(self, Some(sample))));
        }
        queue.waiting.push_back(job);
        None
    }

    /// Sends all that may be in flight now.
    fn send_waiting(&self) {
        // Evaluated only when it matters: the client reads the server's version with a regular expression.
        let batches = || self.0.client.is_server_compatible(2, 12, 0);
        loop {
            let (next, in_outbox) = {
                let mut queue = self.queue();
                (queue.next(batches), queue.outbox.len())
            };
            match next {
                None => return,
                // The task of the first one sends it too.
                Some(Dispatch::Single) if in_outbox > 1 => {}
                // Tasks of their own: one owner may give up, the others must get their results.
                Some(Dispatch::Single) => drop(tokio::spawn(self.clone().send_outbox())),
                Some(Dispatch::Batch(jobs)) => drop(tokio::spawn(self.clone().run_batch(jobs))),
            }
        }
    }

    /// Sends the messages of the outbox.
    async fn send_outbox(self) {
        // Other tasks that are ready add theirs first.
        tokio::task::yield_now().await;
        let jobs = std::mem::take(&mut self.queue().outbox);
        let slots = jobs.into_iter().map(|(job, sample)| (job, Slot::new(&self, Some(sample))));
        for (job, slot) in slots.collect::<Vec<_>>() {
            self.send_job(job, Some(slot)).await;
        }
    }

    async fn run_batch(self, jobs: Vec<Job>) {
        let slot = Slot::new(&self, None);
        let (messages, owners): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.message, job.result)).unzip();
        let results = self.send_batch(messages).await;
        // Free the slot before the results are delivered, so that the next batch does not wait for that.
        drop(slot);
        for (owner, result) in owners.into_iter().zip(results) {
            drop(owner.send(result));
        }
    }

    /// Publishes a group, as a batch when that is faster; a result for each message, in order.
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        let batched = self.queue().pace.batch_is_faster(messages.len(), Instant::now());
        if batched && self.0.client.is_server_compatible(2, 12, 0) {
            return self.send_batch(messages).await;
        }
        let (sample, count) = (self.queue().sample(Instant::now()), messages.len());
        let results = self.singly(messages).await;
        if results.iter().all(Result::is_ok) {
            sample.finish(&mut self.queue(), count);
        }
        results
    }

    /// Publishes a batch; singly when the server refuses it.
    async fn send_batch(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        let (begin, size) = (Instant::now(), messages.len());
        match self.batch(&messages).await {
            Ok(()) => {
                let now = Instant::now();
                let mut queue = self.queue();
                // While a batch is in flight its senders wait, and their next messages come after it. So of batches that
                // follow one another, the time between them counts too.
                let since = queue.batch_ended.filter(|end| begin.saturating_duration_since(*end) < FOLLOWS);
                queue.pace.batch_took(size, now.duration_since(since.unwrap_or(begin)), now);
                queue.batch_ended = Some(now);
                vec![Ok(Published::Stored); size]
            }
            // Refused as a whole, and nothing is stored: each message gets its own result.
            Err(PublishError::Refused { code, description }) => {
                tracing::debug!(code, description, size, "batch refused, publishing singly");
                let started = Instant::now();
                let results = self.singly(messages).await;
                if results.iter().all(Result::is_ok) {
                    let now = Instant::now();
                    let pace = &mut self.queue().pace;
                    // Among duplicates, batches are refused and single messages fast: no batch is tried for a while.
                    pace.batch_took(size, now.duration_since(begin), now);
                    pace.singles_took(size, started, size, now);
                }
                results
            }
            Err(error) => vec![Err(error); size],
        }
    }

    async fn singly(&self, messages: Vec<Outgoing>) -> Vec<Result<Published, PublishError>> {
        join_all(messages.into_iter().map(|message| self.single(message))).await
    }

    async fn batch(&self, messages: &[Outgoing]) -> Result<(), PublishError> {
        let number = self.0.batches.fetch_add(1, Ordering::Relaxed);
        // An inbox is unique in the cluster; the last token alone is, too, and fits the 64 characters allowed.
        let inbox = self.0.client.new_inbox();
        let id = format!("{}-{number}", inbox.rsplit('.').next().unwrap_or(&inbox));
        let last = messages.len() - 1;
        for (i, message) in messages.iter().enumerate() {
            let mut headers = message.headers.clone();
            headers.insert("Nats-Batch-Id", id.as_str());
            headers.insert("Nats-Batch-Sequence", (i + 1).to_string().as_str());
            let (subject, payload) = (message.subject.clone(), message.payload.clone());
            if i < last {
                let sent = self.0.client.publish_with_headers(subject, headers, payload).await;
                sent.map_err(|error| PublishError::Connection(error.to_string()))?;
            } else {
                headers.insert("Nats-Batch-Commit", "1");
                return self.single(Outgoing { subject, headers, payload }).await.map(drop);
            }
        }
        Ok(())
    }

    /// Sends one message and waits for its acknowledgement.
    async fn single(&self, message: Outgoing) -> Result<Published, PublishError> {
        let (owner, result) = oneshot::channel();
        self.send_job(Job { message, result: owner }, None).await;
        outcome(result).await
    }

    /// Sends a message; its owner gets the result.
    async fn send_job(&self, Job { message, result }: Job, slot: Option<Slot>) {
        // An owner that has given up has answered 503; publishing now would only add a duplicate.
        if result.is_closed() {
            return;
        }
        let waiter = Waiter::new(result, slot);
        let replies = match self.0.replies.get_or_try_init(|| Replies::open(&self.0.client)).await {
            Ok(replies) => replies.waiting().clone(),
            Err(error) => return waiter.finish(Err(error)),
        };
        let Some(number) = replies.expect(waiter) else { return };
        let Outgoing { subject, headers, payload } = message;
        let reply = replies.subject(number);
        let sent = self.0.client.publish_with_reply_and_headers(subject, reply, headers, payload).await;
        if let Err(error) = sent {
            replies.failed(
                number,
                match error.kind() {
                    PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge,
                    _ => PublishError::Connection(error.to_string()),
                },
            );
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn outcome(result: oneshot::Receiver<Result<Published, PublishError>>) -> Result<Published, PublishError> {
    result.await.unwrap_or_else(|_| Err(PublishError::Connection("the client was closed".into())))
}

impl Queue {
    /// What to send next, if a slot is free.
    fn next(&mut self, batches: impl Fn() -> bool) -> Option<Dispatch> {
        // Its owner has given up, and ingress has answered 503; publishing now would only add a duplicate.
        while self.waiting.front().is_some_and(|job| job.result.is_closed()) {
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() || self.batch_in_flight {
            return None;
        }
        let now = Instant::now();
        if self.pace.batch_is_faster(self.waiting.len(), now) && batches() {
            self.waiting.retain(|job| !job.result.is_closed());
            let mut group = take_group(&mut self.waiting, |job| &job.message);
            if self.pace.batch_is_faster(group.len(), now) {
                self.batch_in_flight = true;
                self.batches_started += 1;
                return Some(Dispatch::Batch(group));
            }
            // A message id that repeats ended it.
            while let Some(job) = group.pop() {
                self.waiting.push_front(job);
            }
        }
        let sample = self.single(now)?;
        self.outbox.extend(self.waiting.pop_front().map(|job| (job, sample)));
        Some(Dispatch::Single)
    }

    /// Takes a slot for a single message, if one is free.
    fn single(&mut self, now: Instant) -> Option<Sample> {
        // One batch in flight: behind it the next one fills, and a larger batch costs less a message.
        let demand = self.singles_in_flight + self.waiting.len() + 1;
        if self.batch_in_flight || self.singles_in_flight >= self.pace.singles_at_once(demand, now) {
            return None;
        }
        self.singles_in_flight += 1;
        Some(self.sample(now))
    }

    fn sample(&self, now: Instant) -> Sample {
        Sample {
            started: now,
            singles_in_flight: self.singles_in_flight,
            beside_a_batch: self.batch_in_flight,
            batches_started: self.batches_started,
        }
    }
}

/// A measurement of messages that are sent singly.
#[derive(Debug, Clone, Copy)]
struct Sample {
    started: Instant,
    singles_in_flight: usize,
    beside_a_batch: bool,
    batches_started: u64,
}

impl Sample {
    /// So many messages were acknowledged.
    fn finish(&self, queue: &mut Queue, messages: usize) {
        if !self.beside_a_batch && self.batches_started == queue.batches_started {
            let in_flight = self.singles_in_flight.max(messages);
            queue.pace.singles_took(messages, self.started, in_flight, Instant::now());
        }
    }
}

/// A place among those in flight, of a batch or (with a sample) of a single message. Dropping it, also in a panic, sends
/// what waits for it.
#[derive(Debug)]
struct Slot {
    publisher: Publisher,
    single: Option<Sample>,
    acknowledged: bool,
}

impl Slot {
    fn new(publisher: &Publisher, single: Option<Sample>) -> Self {
        Self { publisher: publisher.clone(), single, acknowledged: false }
    }
}

impl Place for Slot {
    fn finish(mut self, acknowledged: bool) {
        self.acknowledged = acknowledged;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let is_anyone_waiting = {
            let mut queue = self.publisher.queue();
            match &self.single {
                None => queue.batch_in_flight = false,
                Some(sample) => {
                    queue.singles_in_flight -= 1;
                    if self.acknowledged {
                        sample.finish(&mut queue, 1);
                    }
                }
            }
            !queue.waiting.is_empty()
        };
        if is_anyone_waiting {
            self.publisher.send_waiting();
        }
    }
}

/// Takes one batch from the front: bounded in number and bytes, each message id once.
fn take_group<T>(waiting: &mut VecDeque<T>, message: impl Fn(&T) -> &Outgoing) -> Vec<T> {
    let mut ids = HashSet::new();
    let mut bytes = 0;
    let mut group = Vec::new();
    while let Some(next) = waiting.front().map(&message) {
        bytes += next.payload.len();
        // The server would refuse a batch with a second message of the same id. It waits for the next batch, and is a
        // duplicate there.
        let repeated = next.headers.get(header::MSG_ID).is_some_and(|id| !ids.insert(id.as_str().to_owned()));
        if !group.is_empty() && (repeated || bytes > MAX_BATCH_BYTES || group.len() == MAX_BATCH) {
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
    fn a_message_id_is_at_most_once_in_a_batch() {
        assert_eq!(sizes(vec![message("a", 1), message("b", 1), message("a", 1), message("c", 1)]), [2, 2]);
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes_but_one_message_always_goes() {
        let many = (0..1_100).map(|i| message(&i.to_string(), 1)).collect();
        assert_eq!(sizes(many), [500, 500, 100]);
        let large = (0..3).map(|i| message(&i.to_string(), MAX_BATCH_BYTES + 1)).collect();
        assert_eq!(sizes(large), [1, 1, 1]);
    }
}
