//! Finds the event that kills workers, without blaming its neighbours.
//!
//! A redelivered event may have been handed back, put off, or in the batch of a worker that died. Only a death says
//! anything about it, and a worker that dies leaves no word. So whatever is redelivered is marked in `LD_STATUS` before
//! it is worked on, and the mark is removed on every outcome, also after an outage and before a hand-back. A mark that
//! is still there when its event comes again is a death:
//!
//! 1. Redelivered events are worked on together, under one mark for the group.
//! 2. Events of a group whose mark is left are worked on one by one, alone in the process, each under a mark of its own.
//!    Those with the fewest deaths come first, so that events behind a killer are processed too.
//! 3. At [`MAX_DEATHS`] an event is a dead letter.
//!
//! MongoDB has to take a write before a mark is made: a worker that is killed during an outage leaves none.
//!
//! ```text
//! ld.status.suspect.group.<id>        {"worker":"x7…","sequences":[4711,4712]}
//! ld.status.suspect.event.<sequence>  {"worker":"x7…","published":1795455723511000000,"deaths":1}     being worked on
//!                                     {"worker":null,"published":1795455723511000000,"deaths":1}      only the count
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use shared::publish::{Outgoing, Publisher};
use shared::topology::{StreamName, Topology};
use tokio::sync::RwLock;

/// One death alone can be a coincidence, such as a node that fails or a person who kills the worker; so can two. Each costs
/// an ack wait of 20 s and a restart. Three times alone in the process is the event.
pub const MAX_DEATHS: u32 = 3;

/// Marks of groups older than this are removed: their events have been settled since.
const GROUP_TTL_MS: i64 = 24 * 3600 * 1000;

/// A mark cannot be read, stored or removed: NATS is away.
#[derive(Debug, thiserror::Error)]
#[error("NATS: a mark of suspects cannot be {what}: {error}")]
pub struct MarkError {
    what: &'static str,
    error: String,
}

impl MarkError {
    fn new(what: &'static str, error: impl ToString) -> Self {
        Self { what, error: error.to_string() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKey {
    pub sequence: u64,
    /// When it was published, in nanoseconds since 1970. A stream that is created again has the same sequences again.
    pub published: i128,
}

/// Marks suspects, and reads the marks of other workers.
#[derive(Debug)]
pub struct Suspects {
    publisher: Publisher,
    topology: Topology,
    jetstream: Context,
    /// Of this process. Its own marks are no deaths.
    worker: String,
    groups: AtomicU64,
    /// Held for writing by an event that is worked on alone.
    pub(super) alone: RwLock<()>,
}

/// A mark of this worker that has to be removed.
#[derive(Debug)]
pub struct Mark {
    subject: String,
    /// Of an event that died before: what remains after removing the mark.
    then: Option<EventMark>,
}

/// The marks that workers left.
#[derive(Debug, Default)]
pub struct Marks {
    groups: HashSet<u64>,
    events: HashMap<u64, EventMark>,
}

#[derive(Debug, Serialize, Deserialize)]
struct GroupMark {
    worker: String,
    sequences: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct EventMark {
    /// Who works on it.
    worker: Option<String>,
    published: i128,
    deaths: u32,
}

impl Marks {
    /// Whether an event has to be worked on alone, and how many workers died of it alone.
    #[must_use]
    pub fn deaths(&self, event: EventKey) -> Option<u32> {
        match self.events.get(&event.sequence).filter(|mark| mark.published == event.published) {
            Some(mark) => Some(mark.deaths),
            None => self.groups.contains(&event.sequence).then_some(0),
        }
    }
}

impl Suspects {
    #[must_use]
    pub fn new(publisher: Publisher, topology: Topology, jetstream: Context) -> Self {
        // An inbox is unique in the cluster. So is its last token, which is a token of a subject, too.
        let inbox = jetstream.client().new_inbox();
        let worker = inbox.rsplit('.').next().unwrap_or(&inbox).to_owned();
        Self { publisher, topology, jetstream, worker, groups: AtomicU64::default(), alone: RwLock::default() }
    }

    /// The marks that other workers left on these events.
    ///
    /// # Errors
    /// When NATS does not answer.
    pub async fn find(&self) -> Result<Marks, MarkError> {
        let outage = |error: &dyn std::fmt::Display| MarkError::new("read", error);
        let stream = self.stream().await?;
        let subjects = stream.info_with_subjects(self.topology.suspect_filter()).await;
        let subjects: Vec<(String, usize)> =
            subjects.map_err(|error| outage(&error))?.try_collect().await.map_err(|error| outage(&error))?;
        let mut found = Marks::default();
        for (subject, _) in subjects {
            let message = match stream.get_last_raw_message_by_subject(&subject).await {
                Ok(message) => message,
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => continue,
                Err(error) => return Err(outage(&error)),
            };
            match self.topology.words(StreamName::Status, &subject)[..] {
                ["suspect", "group", _] => {
                    let Ok(mark) = serde_json::from_slice::<GroupMark>(&message.payload) else { continue };
                    let marked_ms = i64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
                    if shared::time::now_ms() - marked_ms > GROUP_TTL_MS {
                        remove(&stream, &subject).await?;
                    } else if mark.worker != self.worker {
                        found.groups.extend(mark.sequences);
                    }
                }
                ["suspect", "event", sequence] => {
                    let Ok(mut mark) = serde_json::from_slice::<EventMark>(&message.payload) else { continue };
                    // Its worker neither finished nor removed the mark, and the event was delivered again: it died.
                    if mark.worker.as_ref().is_some_and(|worker| *worker != self.worker) {
                        mark.deaths += 1;
                    }
                    if let Ok(sequence) = sequence.parse() {
                        found.events.insert(sequence, mark);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Marks events that are worked on together.
    ///
    /// # Errors
    /// When the mark is not known to be stored.
    pub async fn mark_group(&self, events: &[EventKey]) -> Result<Mark, MarkError> {
        let number = self.groups.fetch_add(1, Ordering::Relaxed);
        let subject = self.topology.suspects_subject(&format!("{}-{number}", self.worker));
        let sequences = events.iter().map(|event| event.sequence).collect();
        self.store(&subject, &GroupMark { worker: self.worker.clone(), sequences }).await?;
        Ok(Mark { subject, then: None })
    }

    /// Marks an event that is worked on alone.
    ///
    /// # Errors
    /// When the mark is not known to be stored.
    pub async fn mark_event(&self, event: EventKey, deaths: u32) -> Result<Mark, MarkError> {
        let subject = self.topology.suspect_subject(event.sequence);
        let mark = EventMark { worker: Some(self.worker.clone()), published: event.published, deaths };
        self.store(&subject, &mark).await?;
        Ok(Mark { subject, then: Some(EventMark { worker: None, ..mark }) })
    }

    /// Removes a mark. `is_settled`: the event does not come again, so that its deaths need not be remembered.
    ///
    /// # Errors
    /// When it is not known to be removed.
    pub async fn remove(&self, mark: Mark, is_settled: bool) -> Result<(), MarkError> {
        match mark.then {
            Some(then) if !is_settled => self.store(&mark.subject, &then).await,
            _ => remove(&self.stream().await?, &mark.subject).await,
        }
    }

    /// Removes what is remembered of an event that is settled without being worked on.
    ///
    /// # Errors
    /// When it is not known to be removed.
    pub async fn clear(&self, event: EventKey) -> Result<(), MarkError> {
        remove(&self.stream().await?, &self.topology.suspect_subject(event.sequence)).await
    }

    async fn stream(&self) -> Result<Stream, MarkError> {
        let stream = self.jetstream.get_stream(self.topology.stream(StreamName::Status)).await;
        stream.map_err(|error| MarkError::new("read", error))
    }

    async fn store(&self, subject: &str, mark: &impl Serialize) -> Result<(), MarkError> {
        let payload = serde_json::to_vec(mark).map_err(|error| MarkError::new("stored", error))?;
        let message = Outgoing { subject: subject.to_owned(), headers: HeaderMap::new(), payload: payload.into() };
        self.publisher.publish(message).await.map(drop).map_err(|error| MarkError::new("stored", error))
    }
}

async fn remove(stream: &Stream, subject: &str) -> Result<(), MarkError> {
    stream.purge().filter(subject).await.map(drop).map_err(|error| MarkError::new("removed", error))
}
