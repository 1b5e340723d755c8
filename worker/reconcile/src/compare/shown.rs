//! What the document of an event would show. The event goes through the same `normalise` as every other, so that types,
//! times and numbers are those of webhooks.

use bson::{Bson, Document};
use shared::envelope::Envelope;
use worker_event::effect::{Effect, Kind, MilestoneFields, Reject, State, StoryOf};
use worker_event::normalise::{Settings, normalise};
use worker_event::privacy::Rules;

/// What a document would show.
#[derive(Debug)]
pub struct Shown {
    pub kind: Kind,
    pub key: Vec<Bson>,
    /// Its fields, without what it shows of its milestone and epic.
    pub fields: Document,
    /// Stories and tasks: the milestone that it is in, or null.
    pub milestone: Option<Bson>,
}

/// What an event says of its own object. `None` if it concerns no document.
///
/// # Errors
/// When `normalise` refuses it.
pub fn shown(envelope: &Envelope, forgotten: &Rules, settings: &Settings) -> Result<Option<Shown>, Reject> {
    let mut normalised = normalise(envelope, 0, settings)?;
    forgotten.apply(envelope.project.as_str(), &mut normalised);
    let states = normalised.effects.into_iter().filter_map(|effect| match effect {
        Effect::State(State { kind, key, order, mut fields, milestone, story, .. }) => {
            if let Some(StoryOf { is_closed: Some(is_closed), .. }) = story {
                fields.insert("userstory_is_closed", is_closed);
            }
            Some((order, Shown { kind, key, fields, milestone }))
        }
        _ => None,
    });
    // The objects inside it are older.
    Ok(states.max_by_key(|(order, _)| *order).map(|(_, shown)| shown))
}

/// What stories and tasks show of a milestone.
///
/// # Errors
/// When `normalise` refuses it.
pub fn milestone(envelope: &Envelope, settings: &Settings) -> Result<Option<MilestoneFields>, Reject> {
    let normalised = normalise(envelope, 0, settings)?;
    Ok(normalised.effects.into_iter().find_map(|effect| match effect {
        Effect::Milestone { fields, .. } => Some(fields),
        _ => None,
    }))
}
