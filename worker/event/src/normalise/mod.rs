//! What an event means: from an [`Envelope`] to [`Effect`]s and notifications.
//!
//! Everything below this line is a function of the envelope and its place in the stream: no clock, no
//! client, no log. Reading order: how their JSON is read (`json`, `bson_value`, `time`, `number`,
//! `text`), then one file per source, which holds that source's shapes and maps them by hand to the
//! documents that LD Eval reads.
//!
//! Three rules hold for every source. What is absent is null, and a missing object is an object whose
//! fields are all absent. A value keeps the type it came with; an integer becomes an `Int32` where it
//! fits and an `Int64` otherwise, which MongoDB compares as equal. Only a missing natural key, an object
//! or list that is something else, and what MongoDB cannot hold are refused.

mod json;
mod bson_value;
mod number;
mod repair;
mod text;
mod time;

mod excel;
mod github;
mod taiga;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod mutations;

use bson::{Bson, Document};
use shared::envelope::Envelope;
use shared::source::Source;

pub use self::github::unenriched;
use crate::effect::{Effect, Key, Kind, Normalised, Notification, Order, Reject, State};

/// Who LD Eval is told did what a backfill brought: nobody of the team did anything now.
pub const BACKFILL: &str = "backfill";

/// How large a document may become, in bytes of BSON: MongoDB's 16 MiB less room for the store's own fields.
const LARGEST_DOCUMENT: usize = 15 * 1024 * 1024;

/// From which payload size on documents are measured. BSON is 13 times its JSON at worst (a `Priority` that is
/// a list of digits, which a story shows twice), so what comes of a smaller payload cannot be too large.
const MEASURE_FROM: usize = 1024 * 1024;

/// How large what *other* documents show of a milestone or an epic may be, in bytes of BSON: it comes on top of
/// theirs, and no document that fits today may cease to fit because its milestone was renamed.
const LARGEST_VIEW: usize = 256 * 1024;

/// From which payload size on that is measured.
const MEASURE_VIEWS_FROM: usize = 16 * 1024;

/// What a person can set.
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

/// What an event means: documents and notifications.
///
/// `sequence` is the event's place in the stream: it decides between events of the same instant.
///
/// # Errors
/// When no document can ever come of the event; see [`Reject`].
pub fn normalise(envelope: &Envelope, sequence: i64, settings: &Settings) -> Result<Normalised, Reject> {
    let normalised = match envelope.source {
        Source::Github => github::normalise(envelope, sequence),
        Source::Taiga => taiga::normalise(envelope, sequence, settings),
        Source::Excel => excel::normalise(envelope, sequence),
    }?;
    if envelope.payload.len() >= MEASURE_VIEWS_FROM {
        normalised.effects.iter().try_for_each(|effect| measure(effect, envelope.payload.len()))?;
    }
    Ok(normalised)
}

/// The state of an entity that has neither an action nor anything above it.
fn state(kind: Kind, key: Key, order: Order, fields: Document) -> Effect {
    Effect::State(State { kind, key, order, read: None, fields, action: None, milestone: None, story: None })
}

/// The sum of those that are numbers, with the type that adding makes of theirs.
pub(crate) fn sum(values: &[Bson]) -> Bson {
    values.iter().filter_map(number::Number::of).sum::<number::Number>().into()
}

/// Refuses an effect whose document MongoDB would refuse.
fn measure(effect: &Effect, payload: usize) -> Result<(), Reject> {
    let size = |document: &Document| match document.to_vec() {
        Ok(bytes) => Ok(bytes.len()),
        Err(error) => Err(Reject::Unstorable(error.to_string())),
    };
    let (bytes, largest) = match effect {
        Effect::State(state) if payload >= MEASURE_FROM => {
            (size(&state.fields)? + state.action.as_ref().map(size).transpose()?.unwrap_or_default(), LARGEST_DOCUMENT)
        }
        Effect::Milestone { fields, .. } | Effect::EpicName { fields, .. } => (size(fields)?, LARGEST_VIEW),
        _ => return Ok(()),
    };
    if bytes > largest {
        let what = match effect {
            Effect::Milestone { .. } => "what stories and tasks show of their milestone",
            Effect::EpicName { .. } => "what stories show of their epic",
            _ => "it",
        };
        return Err(Reject::Unstorable(format!("{what} would take {bytes} bytes of BSON, over {largest}")));
    }
    Ok(())
}

/// A time as documents show it; null when the text is none.
#[must_use]
pub fn shown_time(text: &str) -> bson::Bson {
    time::Stamp::of(text).into()
}

/// Milliseconds since 1970 of a text with date, time and offset.
#[must_use]
pub fn instant(text: &str) -> Option<i64> {
    time::Stamp::of(text).millis()
}

/// What a cell of a sheet says as a number.
#[must_use]
pub fn cell_number(cell: &bson::Bson) -> Option<bson::Bson> {
    number::Number::of_cell(cell).map(bson::Bson::from)
}

/// A login in a webhook can have any length. Logins at GitHub and Taiga have at most 255 characters; a longer one names
/// nobody there, and would make a notification larger than NATS takes.
const AUTHOR_LOGIN_MAX: usize = 256;

fn bounded(mut login: String) -> String {
    if let Some((end, _)) = login.char_indices().nth(AUTHOR_LOGIN_MAX) {
        login.truncate(end);
    }
    login
}

/// What LD Eval is told: that something of this type changed, and who did it.
fn notification(envelope: &Envelope, event_type: &str, author_login: String) -> Notification {
    Notification {
        event_type: event_type.to_owned(),
        prj: envelope.project.to_string(),
        author_login: if envelope.read_at.is_some() { BACKFILL.to_owned() } else { bounded(author_login) },
        quality_model: envelope.quality_model.as_ref().map(ToString::to_string),
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod order_tests;
