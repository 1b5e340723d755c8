//! What a delivery says: the documents that it makes, changes or removes.

use async_nats::jetstream::stream::Stream;
use bson::Bson;
use serde::Serialize;
use shared::envelope;
use worker_event::effect::{Effect, Kind, Normalised};
use worker_event::normalise::{Settings, normalise};

use super::delivery::Delivery;

/// Payloads that are larger, in bytes, are not looked into.
const LARGEST: u64 = 1024 * 1024;

/// A longer name is cut.
const NAME_MAX: usize = 40;

/// What normalisation makes of a delivery's payload. The error is a sentence for people.
pub(super) async fn read_normalised(
    events: &Stream,
    delivery: &Delivery,
    settings: &Settings,
) -> Result<Normalised, String> {
    let message = events.get_raw_message(delivery.sequence).await.map_err(|error| error.to_string())?;
    let envelope = envelope::decode(&message.headers, &message.payload).map_err(|error| error.to_string())?;
    let sequence = i64::try_from(delivery.again_of.unwrap_or(delivery.sequence)).unwrap_or(i64::MAX);
    // A payload that makes normalisation panic must end neither a page nor a command.
    let normalised = std::panic::catch_unwind(|| normalise(&envelope, sequence, settings));
    let normalised =
        normalised.map_err(|_| "normalisation panics on its payload: report it with this line".to_owned())?;
    normalised.map_err(|reject| reject.to_string())
}

/// What a delivery says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// By kind, in the delivery's order.
    pub documents: Vec<Document>,
    /// Whether LD Eval is notified of it.
    pub is_notified: bool,
}

/// Documents of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// The collection without source and project, such as `commits`.
    pub kind: &'static str,
    pub count: usize,
    /// The first one's name as its provider shows it, such as `#12`.
    pub name: Option<String>,
    pub is_removed: bool,
}

impl Contents {
    /// Reads a delivery's payload. `None` where it is large, gone, or has no meaning.
    pub async fn read(events: &Stream, delivery: &Delivery, settings: &Settings) -> Option<Self> {
        if delivery.bytes > LARGEST {
            return None;
        }
        read_normalised(events, delivery, settings).await.ok().as_ref().map(Self::of)
    }

    /// Of what normalisation made of it. What a delivery only carries along is left out.
    #[must_use]
    pub fn of(normalised: &Normalised) -> Self {
        let mut documents: Vec<Document> = Vec::new();
        for effect in &normalised.effects {
            let (kind, name, is_removed) = match effect {
                Effect::State(state) if state.order.r == 0 => {
                    (state.kind, name(state.kind, &state.key, state.fields.get("reference")), false)
                }
                Effect::Gone { kind, key, .. } => (*kind, name(*kind, key, None), true),
                _ => continue,
            };
            let (_, kind, _) = kind.parts();
            match documents.iter_mut().find(|of| of.kind == kind && of.is_removed == is_removed) {
                Some(of) => of.count += 1,
                None => documents.push(Document { kind, count: 1, name, is_removed }),
            }
        }
        Self { documents, is_notified: !normalised.notifications.is_empty() }
    }
}

fn name(kind: Kind, key: &[Bson], reference: Option<&Bson>) -> Option<String> {
    match kind {
        Kind::Commit => text(key.first()?).map(|sha| sha.chars().take(7).collect()),
        Kind::GithubIssue | Kind::PullRequest => text(key.get(1)?).map(|number| format!("#{number}")),
        Kind::UserStory | Kind::Task | Kind::TaigaIssue | Kind::Epic => {
            text(reference?).map(|reference| format!("#{reference}"))
        }
        Kind::Row => None,
    }
}

fn text(value: &Bson) -> Option<String> {
    let text = match value {
        Bson::String(text) => text.clone(),
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        _ => return None,
    };
    Some(text.chars().take(NAME_MAX).collect())
}

#[cfg(test)]
mod tests {
    use bson::doc;
    use worker_event::effect::{Order, State};

    use super::*;

    fn state(kind: Kind, key: Bson, r: i64) -> Effect {
        Effect::State(State {
            kind,
            key: vec![key],
            order: Order { t: 1, s: 1, r },
            read: None,
            fields: doc! { "reference": 12 },
            action: None,
            milestone: None,
            story: None,
        })
    }

    #[test]
    fn documents_are_named_as_their_provider_shows_them_and_counted() {
        let commits = ["0123456789", "abcdef0123"].map(|sha| state(Kind::Commit, sha.into(), 0));
        let contents = Contents::of(&Normalised { effects: commits.into(), notifications: Vec::new() });
        let commits = Document { kind: "commits", count: 2, name: Some("0123456".into()), is_removed: false };
        assert_eq!(contents, Contents { documents: vec![commits], is_notified: false });
    }

    #[test]
    fn what_a_delivery_only_carries_along_is_left_out() {
        let effects = vec![state(Kind::Task, 7.into(), 0), state(Kind::UserStory, 8.into(), -1)];
        let contents = Contents::of(&Normalised { effects, notifications: Vec::new() });
        let task = Document { kind: "tasks", count: 1, name: Some("#12".into()), is_removed: false };
        assert_eq!(contents.documents, [task]);
    }
}
