//! What the files of all sources use.

use bson::Document;
use vocabulary::envelope::Envelope;

use crate::effect::{Effect, Key, Kind, Notification, Order, State, event_types};

/// `author_login` of notifications after a backfill: no member of the team did anything now.
pub const BACKFILL: &str = "backfill";

/// What an operator can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Custom attributes whose text becomes the number that it reads as.
    pub numeric_attributes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { numeric_attributes: ["Estimated Effort", "Actual Effort"].map(str::to_owned).to_vec() }
    }
}

impl Settings {
    /// From a comma-separated list of names.
    #[must_use]
    pub fn new(numeric_attributes: &str) -> Self {
        let names = numeric_attributes.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self { numeric_attributes: names.map(str::to_owned).collect() }
    }
}

/// The state of an entity that has neither an action nor anything above it.
pub(super) fn state(kind: Kind, key: Key, order: Order, fields: Document) -> Effect {
    Effect::State(State { kind, key, order, read: None, fields, action: None, milestone: None, story: None })
}

/// A login in a webhook can have any length. Logins at GitHub and Taiga have at most 255 characters. A longer one is
/// nobody's, and would make a notification larger than NATS accepts.
const AUTHOR_LOGIN_MAX: usize = 256;

fn bounded(mut login: String) -> String {
    if let Some((end, _)) = login.char_indices().nth(AUTHOR_LOGIN_MAX) {
        login.truncate(end);
    }
    login
}

/// One notification for each event type that this kind of event leads to, and who did it.
pub(super) fn notifications(envelope: &Envelope, author_login: String) -> Vec<Notification> {
    let author = if envelope.read_at.is_some() { BACKFILL.to_owned() } else { bounded(author_login) };
    let of = |event_type: &&str| Notification {
        event_type: (*event_type).to_owned(),
        prj: envelope.project.to_string(),
        author_login: author.clone(),
        quality_model: envelope.quality_model.as_ref().map(ToString::to_string),
    };
    event_types(&envelope.event).iter().map(of).collect()
}
