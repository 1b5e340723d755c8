//! What became of an accepted delivery, station by station: in the stream, stored, LD Eval notified, looked up, or a dead letter.

use bson::Bson;
use serde::Serialize;
use shared::envelope::header;
use shared::time::now_ms;
use shared::topology::StreamName;
use worker_event::effect::{Effect, Key, Kind, Notification, State as Object};
use worker_event::normalise::Settings;

use super::contents::read_normalised;
use super::delivery::Delivery;
use super::outcome::{self, Letter, Outcomes};
use super::reader::Reader;
use crate::notify::queue::subjects_of;
use crate::read::Unreadable;
use crate::store::StoredDocument;

/// How long after its receipt a written event's notification may not be queued yet, in milliseconds.
const QUEUED_WITHIN: i64 = 5_000;

/// How far a delivery came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not accepted: it is in no stream.
    Refused,
    /// Durable in the stream; no worker has settled it.
    Received,
    /// Its documents are written. LD Eval has not accepted the notification, or there is none.
    Stored,
    /// LD Eval accepted the notification, or a newer one that replaced it.
    Notified,
    /// The same, and its documents have what the look-ups bring.
    Enriched,
    /// It, or its notification, is a dead letter.
    Dead,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Refused, Self::Received, Self::Stored, Self::Notified, Self::Enriched, Self::Dead];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Received => "received",
            Self::Stored => "stored",
            Self::Notified => "notified",
            Self::Enriched => "enriched",
            Self::Dead => "dead",
        }
    }
}

/// A document that the delivery concerns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Touched {
    #[serde(skip)]
    pub kind: Kind,
    /// Its natural key; empty of what several documents show.
    #[serde(skip)]
    pub id: Key,
    pub collection: String,
    /// The same for people, such as `issue_id 7`.
    pub key: String,
    /// What the delivery says of it.
    pub says: Says,
    /// What is in MongoDB now; absent where that could not be read.
    pub now: Option<Now>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Says {
    /// The object's state, or a link of it.
    State,
    /// It is gone.
    Removed,
    /// What it shows of a milestone or an epic, or the name of its repository.
    View,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Now {
    /// The document shows what this delivery says.
    Ours,
    /// It shows what another delivery says: a newer one, of a commit an older one.
    Other(String),
    /// There is no such document.
    Absent,
}

/// A notification that the delivery led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notified {
    pub event_type: String,
    /// A person's login.
    pub author_login: String,
    pub quality_model: Option<String>,
    pub accepted: bool,
    /// When LD Eval accepted one of this project and type last, if that was after the delivery.
    pub last_accepted: Option<i64>,
}

/// What became of a delivery. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Story {
    #[serde(flatten)]
    pub delivery: Delivery,
    pub state: State,
    /// Nothing more will become of it.
    pub complete: bool,
    pub documents: Vec<Touched>,
    /// Documents beyond those that were looked at.
    pub more_documents: usize,
    pub notifications: Vec<Notified>,
    pub dead_letter: Option<Letter>,
    /// Why no document can come of it.
    pub error: Option<String>,
}

impl Story {
    /// Whether workers are done with it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state > State::Received
    }

    /// When LD Eval accepted its last notification, as far as that is known.
    #[must_use]
    pub fn notified_at(&self) -> Option<i64> {
        self.notifications.iter().filter_map(|notified| notified.last_accepted).max()
    }
}

/// What a delivery says, before what became of it.
#[derive(Default)]
struct Meaning {
    documents: Vec<(Kind, Key, Says)>,
    views: Vec<Touched>,
    notifications: Vec<Notification>,
    error: Option<String>,
}

impl Reader {
    /// What became of a delivery. Looks at no more than `most` of its documents.
    ///
    /// # Errors
    /// When NATS does not answer or refuses. Where MongoDB does not, the story has no documents.
    pub async fn story(&self, outcomes: &Outcomes, delivery: Delivery, most: usize) -> Result<Story, Unreadable> {
        let meaning = self.meaning(&delivery).await;
        let shown = self.shown(&delivery, &meaning, most).await;
        let outcome = outcomes.of(&delivery);
        let is_processed = outcome.state == outcome::State::Processed;
        let is_ours = |shown: &Option<StoredDocument>| {
            shown.as_ref().is_some_and(|shown| shown.delivery.as_deref() == Some(delivery.id.as_str()))
        };
        // One that is written may wait for its acknowledgement, with others of its batch.
        let written = shown.as_ref().is_ok_and(|shown| shown.iter().any(is_ours));
        // A notification is queued a moment after the documents are written. The acknowledgement, which says so, may have to
        // wait for earlier events.
        let is_queued = is_processed || (written && now_ms() - delivery.received_at > QUEUED_WITHIN);
        let mut notifications = Vec::new();
        for notification in &meaning.notifications {
            let waits = !is_processed || outcomes.may_wait(&delivery.prj);
            let notified = self.notified(outcomes, &delivery, notification, waits).await?;
            notifications.push(Notified { accepted: notified.accepted && is_queued, ..notified });
        }
        let dead_letter = match (outcome.state, outcome.notified) {
            (outcome::State::Dead(letter), _) | (_, outcome::Notified::Refused(letter)) => Some(letter),
            _ => None,
        };
        let settled = written || is_processed;
        let is_notified = notifications.iter().all(|notified| notified.accepted);
        let looked_up = shown.as_ref().is_ok_and(|shown| {
            shown.iter().any(Option::is_some) && shown.iter().flatten().all(|shown| shown.is_enriched)
        });
        let state = match (dead_letter.is_some(), settled, notifications.is_empty(), is_notified) {
            (true, ..) => State::Dead,
            (_, false, ..) => State::Received,
            (_, _, true, _) | (_, _, _, false) => State::Stored,
            _ if looked_up => State::Enriched,
            _ => State::Notified,
        };
        let complete = settled && is_notified || state == State::Dead;
        let mut documents: Vec<Touched> = meaning
            .documents
            .iter()
            .take(most)
            .enumerate()
            .map(|(i, (kind, key, says))| {
                let now = shown.as_ref().ok().and_then(|shown| shown.get(i)).map(|now| match now {
                    None => Now::Absent,
                    Some(found) if is_ours(&Some(found.clone())) => Now::Ours,
                    Some(found) => Now::Other(found.delivery.clone().unwrap_or_default()),
                });
                touched(*kind, delivery.prj.as_str(), key, *says, now)
            })
            .collect();
        documents.extend(meaning.views);
        Ok(Story {
            state,
            complete,
            more_documents: meaning.documents.len().saturating_sub(most),
            documents,
            notifications,
            dead_letter,
            error: meaning.error,
            delivery,
        })
    }

    /// The delivery's headers, sorted, and its payload as it was signed.
    ///
    /// # Errors
    /// When NATS does not answer or refuses, or the event is no longer there.
    pub async fn contents(&self, sequence: u64) -> Result<(Vec<(String, String)>, Vec<u8>), Unreadable> {
        let stream = self.stream(StreamName::Events).await?;
        let name = self.topology.stream(StreamName::Events);
        let message = stream.get_raw_message(sequence).await.map_err(|error| Unreadable::new(&name, error))?;
        let payload = shared::envelope::payload(&message.headers, &message.payload).unwrap_or(message.payload);
        let headers = message.headers.iter();
        let mut headers: Vec<_> = headers
            .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.as_str().to_owned())))
            .collect();
        headers.sort();
        Ok((headers, payload.into()))
    }

    async fn meaning(&self, delivery: &Delivery) -> Meaning {
        let Ok(stream) = self.stream(StreamName::Events).await else { return Meaning::default() };
        // Keys and notifications do not depend on the settings about documents.
        let mut normalised = match read_normalised(&stream, delivery, &Settings::default()).await {
            Ok(normalised) => normalised,
            Err(error) => return Meaning { error: Some(error), ..Meaning::default() },
        };
        if let Ok(rules) = self.forgotten.current(&self.store).await {
            rules.apply(delivery.prj.as_str(), &mut normalised);
        }
        let mut meaning = Meaning::default();
        for effect in normalised.effects {
            meaning.add(delivery.prj.as_str(), effect);
        }
        // Reconciliation notifies once at its end.
        if delivery.read_at.is_none() {
            meaning.notifications = normalised.notifications;
        }
        meaning
    }

    async fn shown(
        &self,
        delivery: &Delivery,
        meaning: &Meaning,
        most: usize,
    ) -> Result<Vec<Option<StoredDocument>>, ()> {
        let mut shown = Vec::new();
        for (kind, key, _) in meaning.documents.iter().take(most) {
            shown.push(self.store.shown(*kind, delivery.prj.as_str(), key).await.map_err(|_| ())?);
        }
        Ok(shown)
    }

    async fn notified(
        &self,
        outcomes: &Outcomes,
        delivery: &Delivery,
        notification: &Notification,
        may_wait: bool,
    ) -> Result<Notified, Unreadable> {
        let Notification { event_type, author_login, quality_model, .. } = notification.clone();
        let last = outcomes.last_accepted(delivery.prj.as_str(), &event_type);
        let last_accepted = last.filter(|at| *at >= delivery.received_at);
        let mut accepted = true;
        if may_wait {
            let stream = self.stream(StreamName::Notify).await?;
            for subject in subjects_of(&self.topology, &delivery.prj, notification) {
                // What is not there went out.
                let Ok(waiting) = stream.get_last_raw_message_by_subject(&subject).await else { continue };
                let of = waiting.headers.get(header::DELIVERY).map_or("", |id| id.as_str());
                // A newer one replaced it: it had not gone out, unless one was accepted meanwhile.
                accepted = of != delivery.id && last_accepted.is_some();
            }
        }
        Ok(Notified { event_type, author_login, quality_model, accepted, last_accepted })
    }
}

impl Meaning {
    fn add(&mut self, prj: &str, effect: Effect) {
        let view = |kind: Kind, key: String| Touched {
            collection: kind.collection(prj),
            key,
            kind,
            id: Key::new(),
            says: Says::View,
            now: None,
        };
        let (kind, key, says) = match effect {
            Effect::State(Object { kind, key, .. }) => (kind, key, Says::State),
            Effect::Gone { kind, key, .. } => (kind, key, Says::Removed),
            Effect::Superseded { kind, key, .. } => (kind, key, Says::State),
            Effect::Linked { story, .. } | Effect::Unlinked { story, .. } => {
                (Kind::UserStory, vec![story], Says::State)
            }
            Effect::Milestone { id, .. } | Effect::MilestoneGone { id, .. } => {
                self.views.push(view(Kind::UserStory, format!("milestone_id {}", plain(&id))));
                self.views.push(view(Kind::Task, format!("milestone_id {}", plain(&id))));
                return;
            }
            Effect::EpicName { id, .. } => {
                self.views.push(view(Kind::UserStory, format!("epic_id {}", plain(&id))));
                return;
            }
            Effect::Renamed { to, .. } => {
                self.views.push(view(Kind::GithubIssue, format!("repo_name {to}")));
                self.views.push(view(Kind::PullRequest, format!("repo_name {to}")));
                return;
            }
        };
        match self.documents.iter_mut().find(|(one, other, _)| *one == kind && *other == key) {
            // That it is gone says more than that its state before is not shown.
            Some((.., before)) if says == Says::Removed => *before = says,
            Some(_) => {}
            None => self.documents.push((kind, key, says)),
        }
    }
}

fn touched(kind: Kind, prj: &str, key: &Key, says: Says, now: Option<Now>) -> Touched {
    let parts = kind.key_fields().iter().zip(key).map(|(field, value)| format!("{field} {}", plain(value)));
    Touched {
        collection: kind.collection(prj),
        key: parts.collect::<Vec<_>>().join(", "),
        says,
        now,
        kind,
        id: key.clone(),
    }
}

fn plain(value: &Bson) -> String {
    match value {
        Bson::String(text) => text.clone(),
        other => other.to_string(),
    }
}
