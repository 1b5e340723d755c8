//! What an event means: from an [`Envelope`] to [`Effect`]s and notifications.
//!
//! Everything below this line is a function of the envelope and its place in the stream: no clock, no client, no log.
//! Reading order: how senders' JSON is read (`json`, `bson_value`, `time`, `number`, `text`), then one file per source,
//! which has that source's shapes and maps them by hand to the documents that LD Eval reads.
//!
//! Three rules hold for every source. What is absent is null, and a missing object is an object whose
//! fields are all absent. A value keeps the type it came with; an integer becomes an `Int32` where it
//! fits and an `Int64` otherwise, which MongoDB compares as equal. Only a missing natural key, an object
//! or list that is something else, and what MongoDB cannot hold are refused.

mod json;
mod bson_value;
mod common;
pub(crate) mod number;
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
use vocabulary::envelope::Envelope;
use vocabulary::source::Source;

pub use self::common::{BACKFILL, Settings};
pub use self::github::unenriched;
use crate::effect::{Effect, Normalised, Reject};

/// How large a document may become, in bytes of BSON: MongoDB's 16 MiB less room for the store's own fields.
const LARGEST_DOCUMENT: usize = 15 * 1024 * 1024;

/// From which payload size on documents are measured. BSON is 13 times its JSON at worst (a `Priority` that is
/// a list of digits, which a story shows twice), so what comes of a smaller payload cannot be too large.
const MEASURE_FROM: usize = 1024 * 1024;

/// How large what *other* documents show of a milestone or an epic may be, in bytes of BSON. It comes on top of theirs,
/// and a renamed milestone must not make a stored document too large.
const LARGEST_VIEW: usize = 256 * 1024;

/// From which payload size on that is measured.
const MEASURE_VIEWS_FROM: usize = 16 * 1024;

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

/// A time as documents show it; null when the text is not a time.
#[must_use]
pub fn shown_time(text: &str) -> bson::Bson {
    time::Stamp::of(text).into()
}

/// Milliseconds since 1970 of a text with date, time and offset.
#[must_use]
pub fn instant(text: &str) -> Option<i64> {
    time::Stamp::of(text).millis()
}

/// The number in a cell of a sheet.
#[must_use]
pub fn cell_number(cell: &bson::Bson) -> Option<bson::Bson> {
    number::Number::of_cell(cell).map(bson::Bson::from)
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod order_tests;
