//! What became of deliveries: the workers' progress, dead letters and notifications that wait, read once for all of them.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{Context, Message};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use shared::envelope::header;
use shared::facts::NotificationAccepted;
use shared::ids::Project;
use shared::time::parse_instant;
use shared::topology::{StreamName, Topology};
use worker_event::effect::{Notification, event_types};

use super::delivery::Delivery;
use crate::pipeline::dead_letter;
use crate::read::{Newest, Pass, Unreadable};

/// How many dead letters are looked at, the newest.
const LETTERS: usize = 2_000;

/// How many waiting notifications are looked at. Of a single project there never are as many.
const WAITING: usize = 500;

/// How many facts about accepted notifications are read.
const FACTS: u64 = 20_000;

/// How many requests for them are under way at a time.
const REQUESTS: usize = 16;

/// How far an event has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No worker has taken it yet.
    Waiting,
    /// A worker has it, or had it and tries again later.
    Processing,
    /// It is processed: what it says is stored.
    Processed,
    /// It could not be processed.
    Dead(Letter),
}

/// Whether LD Eval was notified of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Notified {
    /// It is not processed, or never will be.
    NotYet,
    /// It was read from a provider's API: LD Eval is notified once for all of what was read.
    NotOfItself,
    /// A notification that covers it waits.
    Waiting,
    /// LD Eval refused it for good.
    Refused(Letter),
    /// LD Eval accepted all there was to notify.
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub state: State,
    pub notified: Notified,
}

/// A dead letter, without payload. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Its id, which it keeps when it fails again after a redrive.
    pub id: u64,
    /// One word: see [`Reason`](worker_event::reason::Reason).
    pub reason: String,
    /// For a person.
    pub error: String,
    pub at: i64,
    pub attempts: u64,
}

/// Everything that decides what became of deliveries, as of one look.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    progress: Progress,
    /// Processed although an earlier event is not: see [`Self::is_stored`].
    stored: BTreeSet<u64>,
    /// By sequence in the event stream.
    dead: BTreeMap<u64, Letter>,
    /// Notifications that LD Eval refused, by project and delivery.
    refused: BTreeMap<(String, String), Letter>,
    waiting: BTreeSet<Notice>,
    /// When LD Eval last accepted such notifications.
    accepted: BTreeMap<Notice, i64>,
}

/// How far the workers have come in the event stream.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Everything up to here is settled.
    settled: u64,
    /// Everything up to here has been taken by a worker.
    taken: u64,
}

/// What a notification says, without its author: the newest of an author replaces older ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Notice {
    prj: String,
    event_type: String,
}

impl Notice {
    fn new(prj: &str, event_type: &str) -> Self {
        Self { prj: prj.to_owned(), event_type: event_type.to_owned() }
    }
}

impl Outcomes {
    /// Reads what there is of a project, or of all.
    ///
    /// # Errors
    /// When NATS does not answer or refuses.
    pub async fn read(jetstream: &Context, topology: &Topology, prj: Option<&Project>) -> Result<Self, Unreadable> {
        // First: the notifications of an event wait before it is processed.
        let progress = progress(jetstream, topology).await?;
        let (letters, waiting) =
            futures::try_join!(letters(jetstream, topology, prj), waiting(jetstream, topology, prj))?;
        // After those that wait: what is accepted in between is found.
        let accepted = accepted(jetstream, topology, prj).await?;
        let mut outcomes = Self { progress, waiting, accepted, ..Self::default() };
        for letter in &letters {
            outcomes.record(topology, letter);
        }
        Ok(outcomes)
    }

    fn record(&mut self, topology: &Topology, message: &Message) {
        let (Some(headers), Ok(info)) = (&message.headers, message.info()) else { return };
        let text = |name| text(headers, name);
        let letter = Letter {
            id: dead_letter::id(info.stream_sequence, headers),
            reason: text(dead_letter::REASON).to_owned(),
            error: text(dead_letter::ERROR).to_owned(),
            at: parse_instant(text(dead_letter::AT)).unwrap_or(0),
            attempts: text(dead_letter::ATTEMPTS).parse().unwrap_or(0),
        };
        let was = text(dead_letter::SUBJECT);
        if !topology.words(StreamName::Events, was).is_empty() {
            if let Ok(sequence) = text(dead_letter::SEQUENCE).parse() {
                self.dead.insert(sequence, letter);
            }
        } else if !topology.words(StreamName::Notify, was).is_empty() {
            let key = (text(header::PROJECT).to_owned(), text(header::DELIVERY).to_owned());
            self.refused.insert(key, letter);
        }
    }

    /// Its documents are there: so it is processed, although an earlier event is not.
    pub fn is_stored(&mut self, delivery: &Delivery) {
        self.stored.insert(delivery.sequence);
    }

    /// Whether a notification of a project may wait.
    #[must_use]
    pub fn may_wait(&self, prj: &Project) -> bool {
        self.waiting.len() >= WAITING || self.waiting.iter().any(|notice| notice.prj == prj.as_str())
    }

    /// When LD Eval last accepted a notification of a project and type, in milliseconds since 1970.
    #[must_use]
    pub fn last_accepted(&self, prj: &str, event_type: &str) -> Option<i64> {
        self.accepted.get(&Notice::new(prj, event_type)).copied()
    }

    /// What became of a delivery.
    #[must_use]
    pub fn of(&self, delivery: &Delivery) -> Outcome {
        let state = match self.dead.get(&delivery.sequence) {
            Some(letter) => State::Dead(letter.clone()),
            None if delivery.sequence <= self.progress.settled => State::Processed,
            None if self.stored.contains(&delivery.sequence) => State::Processed,
            None if delivery.sequence <= self.progress.taken => State::Processing,
            None => State::Waiting,
        };
        let notified = if state == State::Processed { self.notified(delivery) } else { Notified::NotYet };
        Outcome { state, notified }
    }

    fn notified(&self, delivery: &Delivery) -> Notified {
        let prj = delivery.prj.as_str();
        // One that was accepted later than this delivery came covered it.
        let waits = |event_type: &&str| {
            let notice = Notice::new(prj, event_type);
            let accepted = self.accepted.get(&notice);
            self.waiting.contains(&notice) && accepted.is_none_or(|at| *at < delivery.received_at)
        };
        if delivery.read_at.is_some() {
            Notified::NotOfItself
        } else if let Some(letter) = self.refused.get(&(prj.to_owned(), delivery.id.clone())) {
            Notified::Refused(letter.clone())
        } else if event_types(&delivery.event).iter().any(waits) {
            Notified::Waiting
        } else {
            Notified::Done
        }
    }
}

async fn stream(jetstream: &Context, name: &str) -> Result<Stream, Unreadable> {
    jetstream.get_stream(name).await.map_err(|error| Unreadable::new(name, error))
}

async fn progress(jetstream: &Context, topology: &Topology) -> Result<Progress, Unreadable> {
    let consumer = topology.consumer(jetstream, StreamName::Events).await;
    let consumer = consumer.map_err(|error| Unreadable::new("the workers’ consumer", error))?;
    let info = consumer.cached_info();
    let taken = info.delivered.stream_sequence;
    // What was removed from the stream keeps the floor below what was taken, although nothing is left to settle.
    let settled = if info.num_ack_pending == 0 { taken } else { info.ack_floor.stream_sequence };
    Ok(Progress { settled, taken })
}

async fn letters(jetstream: &Context, topology: &Topology, prj: Option<&Project>) -> Result<Vec<Message>, Unreadable> {
    let stream = stream(jetstream, &topology.stream(StreamName::Dead)).await?;
    let filters = vec![topology.dead_filter(None, prj)];
    Newest { filters, since: None, until: None, headers_only: true, count: LETTERS }.read(&stream).await
}

async fn waiting(
    jetstream: &Context,
    topology: &Topology,
    prj: Option<&Project>,
) -> Result<BTreeSet<Notice>, Unreadable> {
    let name = topology.stream(StreamName::Notify);
    let stream = stream(jetstream, &name).await?;
    let filter = prj.map_or_else(|| topology.all_of(StreamName::Notify), |prj| topology.notify_filter(prj));
    let subjects = stream.info_with_subjects(filter).await.map_err(|error| Unreadable::new(&name, error))?;
    let subjects: Vec<(String, usize)> =
        subjects.take(WAITING).try_collect().await.map_err(|error| Unreadable::new(&name, error))?;
    // A work queue has one consumer, which is the workers': so they are read one by one. One that is gone was accepted.
    let payloads = futures::stream::iter(subjects)
        .map(|(subject, _)| {
            let stream = &stream;
            async move { stream.get_last_raw_message_by_subject(&subject).await.ok() }
        })
        .buffer_unordered(REQUESTS);
    let payloads: Vec<_> = payloads.collect().await;
    let notices = payloads.into_iter().flatten().filter_map(|message| {
        let notification: Notification = serde_json::from_slice(&message.payload).ok()?;
        Some(Notice { prj: notification.prj, event_type: notification.event_type })
    });
    Ok(notices.collect())
}

/// When LD Eval last accepted notifications of teams of the credentials file.
async fn accepted(
    jetstream: &Context,
    topology: &Topology,
    prj: Option<&Project>,
) -> Result<BTreeMap<Notice, i64>, Unreadable> {
    let stream = stream(jetstream, &topology.stream(StreamName::Status)).await?;
    let (messages, _) = Pass::newest(vec![topology.notified_filter(prj)], FACTS).read(&stream).await?;
    let facts = messages.iter().filter_map(|message| serde_json::from_slice(&message.payload).ok());
    Ok(facts.map(|NotificationAccepted { at, prj, event_type }| (Notice { prj, event_type }, at)).collect())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.as_str())
}

#[cfg(test)]
mod tests {
    use shared::source::Source;

    use super::*;

    fn delivery(sequence: u64, event: &str) -> Delivery {
        Delivery {
            sequence,
            received_at: 0,
            source: Source::Github,
            prj: Project::new("A").unwrap(),
            event: event.to_owned(),
            id: format!("d{sequence}"),
            quality_model: None,
            bytes: 2,
            is_signed: true,
            again_of: None,
            read_at: None,
        }
    }

    fn letter(reason: &str) -> Letter {
        Letter { id: 1, reason: reason.to_owned(), error: String::new(), at: 0, attempts: 1 }
    }

    #[test]
    fn a_delivery_waits_is_processed_or_is_a_dead_letter() {
        let outcomes = Outcomes {
            progress: Progress { settled: 10, taken: 12 },
            dead: BTreeMap::from([(9, letter("unreadable"))]),
            ..Outcomes::default()
        };
        let state = |sequence| outcomes.of(&delivery(sequence, "push")).state;
        assert_eq!([8, 11, 13].map(state), [State::Processed, State::Processing, State::Waiting]);
        assert_eq!(state(9), State::Dead(letter("unreadable")));
        assert_eq!(outcomes.of(&delivery(9, "push")).notified, Notified::NotYet);
        let mut outcomes = outcomes;
        outcomes.is_stored(&delivery(11, "push"));
        assert_eq!(outcomes.of(&delivery(11, "push")).state, State::Processed);
    }

    #[test]
    fn ld_eval_is_notified_once_nothing_of_the_events_types_waits() {
        let notice = |event_type| Notice::new("A", event_type);
        let outcomes = Outcomes {
            progress: Progress { settled: 10, taken: 10 },
            refused: BTreeMap::from([(("A".to_owned(), "d3".to_owned()), letter("eval_refused"))]),
            waiting: BTreeSet::from([notice("userstory"), notice("issue")]),
            accepted: BTreeMap::from([(notice("issue"), 1)]),
            ..Outcomes::default()
        };
        let notified = |delivery: &Delivery| outcomes.of(delivery).notified;
        assert_eq!(notified(&delivery(1, "push")), Notified::Done);
        assert_eq!(notified(&delivery(2, "task")), Notified::Waiting);
        assert_eq!(notified(&delivery(3, "push")), Notified::Refused(letter("eval_refused")));
        assert_eq!(notified(&delivery(5, "issue")), Notified::Done, "one was accepted after it came");
        assert_eq!(notified(&Delivery { received_at: 2, ..delivery(5, "issue") }), Notified::Waiting);
        assert_eq!(notified(&Delivery { read_at: Some(1), ..delivery(4, "task") }), Notified::NotOfItself);
    }
}
