//! What an event means: from an [`Envelope`] to [`Effect`]s and notifications.
//!
//! Everything below this line is a function of the envelope and its place in the stream: no clock, no
//! client, no log. Reading order: how their JSON is read (`json`, `leaf`, `time`, `number`,
//! `text`), then one file per source, which holds that source's shapes and maps them by hand to the
//! documents of CONTRACT §3.
//!
//! Three rules hold for every source. What is absent is null, and a missing object is an object whose
//! fields are all absent. A value keeps the type it came with; an integer becomes an `Int32` where it
//! fits and an `Int64` otherwise, which MongoDB compares as equal. Only a missing natural key, an object
//! or list that is something else, and what MongoDB cannot hold are refused.

mod json;
mod leaf;
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

use bson::Document;
use shared::envelope::Envelope;
use shared::ids::Source;

pub use self::github::unenriched;
use crate::effect::{Effect, Normalised, Notification, Reject};

/// How large a document may become, in bytes of BSON: MongoDB's 16 MiB less room for the store's own fields.
const LARGEST_DOCUMENT: usize = 15 * 1024 * 1024;

/// From which payload size on documents are measured. BSON is 13 times its JSON at worst (a `Priority` that is
/// a list of digits, which a story shows twice), so what comes of a smaller payload cannot be too large.
const MEASURE_FROM: usize = 1024 * 1024;

/// What an event means (CONTRACT §3 for the documents, §4 for the notifications).
///
/// `order_sequence` is the event's place in the stream: it decides between events of the same instant.
///
/// # Errors
/// When no document can ever come of the event; see [`Reject`].
pub fn normalise(envelope: &Envelope, order_sequence: i64) -> Result<Normalised, Reject> {
    let normalised = match envelope.source {
        Source::Github => github::normalise(envelope, order_sequence),
        Source::Taiga => taiga::normalise(envelope, order_sequence),
        Source::Excel => excel::normalise(envelope, order_sequence),
    }?;
    if envelope.payload.len() >= MEASURE_FROM {
        normalised.effects.iter().try_for_each(measure)?;
    }
    Ok(normalised)
}

/// Refuses an effect whose document MongoDB would refuse.
fn measure(effect: &Effect) -> Result<(), Reject> {
    let size = |document: &Document| match document.to_vec() {
        Ok(bytes) => Ok(bytes.len()),
        Err(error) => Err(Reject::Unstorable(error.to_string())),
    };
    let bytes = match effect {
        Effect::State { fields, milestone, .. } => {
            size(fields)? + milestone.as_ref().map(size).transpose()?.unwrap_or_default()
        }
        Effect::Linked { fields, .. } | Effect::Milestone { fields, .. } => size(fields)?,
        Effect::Gone { .. } | Effect::Unlinked { .. } | Effect::MilestoneGone { .. } => 0,
    };
    if bytes > LARGEST_DOCUMENT {
        return Err(Reject::Unstorable(format!("it would take {bytes} bytes of BSON, over {LARGEST_DOCUMENT}")));
    }
    Ok(())
}

/// A time as documents show it (CONTRACT §3, Time); null when the text is none.
#[must_use]
pub fn shown_time(text: &str) -> bson::Bson {
    time::Stamp::of(text).into()
}

/// Milliseconds since 1970 of a text with date, time and offset.
#[must_use]
pub fn instant(text: &str) -> Option<i64> {
    time::Stamp::of(text).millis()
}

/// What a cell of a sheet says as a number (CONTRACT §3, sheets).
#[must_use]
pub fn cell_number(cell: &bson::Bson) -> Option<bson::Bson> {
    number::Number::of_cell(cell).map(bson::Bson::from)
}

/// What LD Eval is told: that something of this type changed, and who did it (CONTRACT §4).
fn notification(envelope: &Envelope, event_type: &str, author_login: String) -> Notification {
    Notification {
        event_type: event_type.to_owned(),
        prj: envelope.project.to_string(),
        author_login,
        quality_model: envelope.quality_model.as_ref().map(ToString::to_string),
    }
}
