//! What an event means: from an [`Envelope`] to [`Effect`]s and notifications.
//!
//! Everything below this line is a function of the envelope and its place in the stream: no clock, no
//! client, no log. Reading order: how their JSON is read (`json`, `bson_value`, `time`, `number`,
//! `text`), then one file per source, which holds that source's shapes and maps them by hand to the
//! documents of CONTRACT §3.
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
use crate::effect::{Effect, Normalised, Notification, Reject};

/// Who LD Eval is told did what a backfill brought: nobody of the team did anything now.
pub const BACKFILL: &str = "backfill";

/// Further apart than sequences ever are: it sets what a backfill says behind every webhook of the same instant.
const FAR: i64 = 1 << 62;

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
    let sequence = place(envelope, order_sequence);
    let normalised = match envelope.source {
        Source::Github => github::normalise(envelope, sequence),
        Source::Taiga => taiga::normalise(envelope, sequence),
        Source::Excel => excel::normalise(envelope, sequence),
    }?;
    if envelope.payload.len() >= MEASURE_FROM {
        normalised.effects.iter().try_for_each(measure)?;
    }
    Ok(normalised)
}

/// The sum of those that are numbers, with the type that adding makes of theirs.
pub(crate) fn sum(values: &[Bson]) -> Bson {
    values.iter().filter_map(number::Number::of).sum::<number::Number>().into()
}

/// What decides between events of one instant: the order in which they came; but a backfill loses to every
/// webhook, whichever came first, because a webhook knows more (who did it, and by which action). Of two
/// backfills the later wins; of a commit, which keeps its earliest view, the earlier.
fn place(envelope: &Envelope, sequence: i64) -> i64 {
    match (envelope.backfill, envelope.event.as_str()) {
        (false, _) => sequence,
        (true, "push") => sequence.saturating_add(FAR),
        (true, _) => sequence.saturating_sub(FAR),
    }
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

/// A login in a webhook can have any length. Logins at GitHub and Taiga have at most 255 characters; a longer one names
/// nobody there, and would make a notification larger than NATS takes.
const AUTHOR_LOGIN_MAX: usize = 256;

fn bounded(mut login: String) -> String {
    if let Some((end, _)) = login.char_indices().nth(AUTHOR_LOGIN_MAX) {
        login.truncate(end);
    }
    login
}

/// What LD Eval is told: that something of this type changed, and who did it (CONTRACT §4).
fn notification(envelope: &Envelope, event_type: &str, author_login: String) -> Notification {
    Notification {
        event_type: event_type.to_owned(),
        prj: envelope.project.to_string(),
        author_login: if envelope.backfill { BACKFILL.to_owned() } else { bounded(author_login) },
        quality_model: envelope.quality_model.as_ref().map(ToString::to_string),
    }
}

#[cfg(test)]
mod tests {
    use shared::ids::Project;

    use super::*;
    use crate::effect::Order;

    fn told(event: &str, payload: &str, backfill: bool, sequence: i64) -> (Order, String) {
        let envelope = Envelope {
            source: Source::Github,
            project: Project::new("TeamA").unwrap(),
            event: event.to_owned(),
            delivery: "d".to_owned(),
            quality_model: None,
            received_at: 0,
            traceparent: None,
            origin_sequence: None,
            backfill,
            payload: payload.to_owned().into(),
        };
        let normalised = normalise(&envelope, sequence).unwrap();
        match &normalised.effects[0] {
            Effect::State { order, .. } | Effect::Gone { order, .. } => {
                (*order, normalised.notifications[0].author_login.clone())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn at_one_instant_a_webhook_wins_over_a_backfill_and_a_later_backfill_over_an_earlier() {
        let issue =
            r#"{"action":"opened","issue":{"number":1,"updated_at":"2026-11-23T17:00:00Z"},"sender":{"login":"a"}}"#;
        let (webhook, author) = told("issues", issue, false, 1);
        let (first, backfill) = told("issues", issue, true, 2);
        let (second, _) = told("issues", issue, true, 3);
        assert!(first < second && second < webhook && first.t == webhook.t);
        assert_eq!((author.as_str(), backfill.as_str()), ("a", BACKFILL));
        let deleted = issue.replace("opened", "deleted");
        assert!(told("issues", &deleted, false, 1).0 > second, "what is deleted stays so");
    }

    #[test]
    fn a_commits_earliest_view_is_a_webhooks_also_one_that_does_not_tell_its_time() {
        let push = |time: &str| format!(r#"{{"commits":[{{"id":"c"}}],"repository":{{"full_name":"o/r"{time}}}}}"#);
        let (first, _) = told("push", &push(""), true, 1);
        let (second, _) = told("push", &push(""), true, 2);
        let (timeless, _) = told("push", &push(""), false, 9);
        let (webhook, _) = told("push", &push(r#","pushed_at":1795455723"#), false, 10);
        assert!(webhook < timeless && timeless < first && first < second);
    }
}
