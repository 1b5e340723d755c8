//! What the document of an event would show: the event goes through the same `normalise` as every other, so that
//! types, times and numbers are those of webhooks.

use bson::{Bson, Document};
use shared::envelope::Envelope;
use worker_event::effect::{Effect, Kind, MilestoneFields};
use worker_event::normalise::normalise;
use worker_event::privacy::Rules;

/// What a document would show.
#[derive(Debug)]
pub struct Shown {
    /// Its collection.
    pub kind: Kind,
    /// Its natural key.
    pub key: Vec<Bson>,
    /// Its fields, without what it shows of its milestone and epic.
    pub fields: Document,
    /// Stories and tasks: the milestone that it is in, or null.
    pub milestone: Option<Bson>,
}

/// What an event says of its own object. `None` when it says nothing of a document.
///
/// # Errors
/// When `normalise` refuses it.
pub fn shown(envelope: &Envelope, forgotten: &Rules) -> Result<Option<Shown>, String> {
    let mut normalised = normalise(envelope, 0).map_err(|reject| reject.to_string())?;
    forgotten.apply(envelope.project.as_str(), &mut normalised);
    Ok(normalised.effects.into_iter().find_map(|effect| match effect {
        Effect::State { kind, key, fields, milestone, .. } => {
            let milestone = milestone.map(|fields| fields.get("milestone_id").cloned().unwrap_or(Bson::Null));
            Some(Shown { kind, key, fields, milestone })
        }
        _ => None,
    }))
}

/// What stories and tasks show of a milestone.
///
/// # Errors
/// When `normalise` refuses it.
pub fn milestone(envelope: &Envelope) -> Result<Option<MilestoneFields>, String> {
    let normalised = normalise(envelope, 0).map_err(|reject| reject.to_string())?;
    Ok(normalised.effects.into_iter().find_map(|effect| match effect {
        Effect::Milestone { fields, .. } => Some(fields),
        _ => None,
    }))
}
