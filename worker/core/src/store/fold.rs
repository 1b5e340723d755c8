//! What a batch comes to: of several effects on one register, the one that wins.

use std::collections::{BTreeSet, HashMap};

use bson::{Bson, Document, RawDocumentBuf};

use super::error::StoreError;
use super::encode::packed;
use worker_event::effect::{Effect, Key, Kind, MilestoneFields, Order};

/// One event of a batch, normalised.
#[derive(Debug, Clone)]
pub struct Event {
    /// The project it belongs to.
    pub prj: String,
    /// Its delivery, kept in `_ld` so that a person can find what a document came from.
    pub delivery: String,
    /// What it makes true.
    pub effects: Vec<Effect>,
}

/// An entity's newest state (of a commit: its earliest view) in the batch.
#[derive(Debug)]
pub(super) struct State {
    pub(super) prj: String,
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) order: Order,
    /// What the document shows, the milestone's fields included. Encoded at once: thousands of these wait
    /// together, and as bytes they take a quarter of the room.
    pub(super) fields: RawDocumentBuf,
    /// Stories and tasks: the id of the sprint they are in, null when in none. `None` for other kinds.
    pub(super) milestone: Option<Bson>,
    pub(super) story: Option<Bson>,
    pub(super) delivery: String,
    pub(super) event: usize,
    /// Whether this is probably the first that is heard of the entity.
    pub(super) fresh: bool,
}

/// A story's newest link in the batch.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) prj: String,
    pub(super) story: Bson,
    pub(super) epic: Bson,
    pub(super) order: Order,
    pub(super) fields: Document,
    pub(super) event: usize,
}

/// What is gone.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// An entity, and with a story its tasks, with an epic its links.
    Entity(Kind, Key),
    /// The link of this story to this epic.
    Link { story: Bson, epic: Bson },
}

impl Target {
    /// The `_id` under which the deletion is remembered.
    pub(super) fn id(&self, prj: &str) -> String {
        match self {
            Self::Entity(kind, key) => entity_id(*kind, prj, key),
            Self::Link { story, epic } => link_id(prj, story, epic),
        }
    }
}

/// A deletion of the batch.
#[derive(Debug)]
pub(super) struct Deletion {
    pub(super) prj: String,
    pub(super) target: Target,
    pub(super) order: Order,
}

/// What the batch says of a sprint.
#[derive(Debug)]
pub(super) struct Sprint {
    pub(super) prj: String,
    pub(super) id: Bson,
    pub(super) state: Option<(Order, MilestoneFields)>,
    pub(super) gone: Option<Order>,
}

/// What a batch of events comes to: the registers it writes, each once.
///
/// Keys are the `_id`s of `entity_id` and its like.
#[derive(Debug, Default)]
pub struct Batch {
    events: usize,
    /// The events of each collection, in the order in which they were added.
    touched: HashMap<String, Vec<usize>>,
    pub(super) states: HashMap<String, State>,
    pub(super) links: HashMap<String, Link>,
    pub(super) deletions: HashMap<String, Deletion>,
    pub(super) sprints: HashMap<String, Sprint>,
}

impl Batch {
    /// Folds events. Their order does not matter, but for the numbers in a [`Refusal`](super::Refusal).
    ///
    /// # Errors
    /// When one of them cannot be encoded: its own fault, whoever tries.
    pub fn of(events: impl IntoIterator<Item = Event>) -> Result<Self, StoreError> {
        let mut batch = Self::default();
        events.into_iter().try_for_each(|event| batch.add(event))?;
        Ok(batch)
    }

    /// Adds an event. The first one has the number 0 in a [`Refusal`](super::Refusal).
    ///
    /// # Errors
    /// When it cannot be encoded: its own fault, whoever tries.
    pub fn add(&mut self, event: Event) -> Result<(), StoreError> {
        let number = self.events;
        self.events += 1;
        for effect in &event.effects {
            for kind in effect.kinds() {
                let events = self.touched.entry(kind.collection(&event.prj)).or_default();
                if events.last() != Some(&number) {
                    events.push(number);
                }
            }
        }
        event.effects.into_iter().try_for_each(|effect| self.fold(number, &event.prj, &event.delivery, effect))
    }

    /// The events that concern documents of a collection.
    pub(super) fn events_of(&self, collection: &str) -> &[usize] {
        self.touched.get(collection).map_or(&[], Vec::as_slice)
    }

    /// How many events were added.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// Leaves out what the batch itself deletes: it need not be written first, because the deletion is, and
    /// says it all.
    pub(super) fn leave_out_deleted(&mut self) {
        let deletions = &self.deletions;
        self.states.retain(|id, state| {
            state.kind == Kind::Commit || deletions.get(id).is_none_or(|deletion| deletion.order < state.order)
        });
    }

    fn fold(&mut self, event: usize, prj: &str, delivery: &str, effect: Effect) -> Result<(), StoreError> {
        let prj = prj.to_owned();
        match effect {
            Effect::State { kind, key, order, mut fields, milestone, story } => {
                let id = entity_id(kind, &prj, &key);
                let wins = self.states.get(&id).is_none_or(|held| match kind {
                    Kind::Commit => order < held.order,
                    _ => order > held.order,
                });
                if wins {
                    let delivery = delivery.to_owned();
                    let fresh = is_fresh(kind, &fields);
                    let sprint = milestone.as_ref().map(|fields| fields.get("milestone_id").cloned());
                    let sprint = sprint.map(|id| id.unwrap_or(Bson::Null));
                    fields.extend(milestone.into_iter().flatten());
                    let fields = packed(&fields)?;
                    let state =
                        State { prj, kind, key, order, fields, milestone: sprint, story, delivery, event, fresh };
                    self.states.insert(id, state);
                }
            }
            Effect::Gone { kind, key, order } => self.delete(prj, Target::Entity(kind, key), order),
            Effect::Unlinked { story, epic, order } => self.delete(prj, Target::Link { story, epic }, order),
            Effect::Linked { story, epic, order, fields } => {
                let id = entity_id(Kind::UserStory, &prj, std::slice::from_ref(&story));
                if self.links.get(&id).is_none_or(|held| order > held.order) {
                    self.links.insert(id, Link { prj, story, epic, order, fields, event });
                }
            }
            Effect::Milestone { id, order, fields } => {
                let sprint = self.sprint(prj, id);
                if sprint.state.as_ref().is_none_or(|held| order > held.0) {
                    sprint.state = Some((order, fields));
                }
            }
            Effect::MilestoneGone { id, order } => {
                let sprint = self.sprint(prj, id);
                sprint.gone = sprint.gone.max(Some(order));
            }
        }
        Ok(())
    }

    fn delete(&mut self, prj: String, target: Target, order: Order) {
        let id = target.id(&prj);
        let held = self.deletions.entry(id).or_insert(Deletion { prj, target, order });
        held.order = held.order.max(order);
    }

    fn sprint(&mut self, prj: String, id: Bson) -> &mut Sprint {
        let key = sprint_id(&prj, &id);
        self.sprints.entry(key).or_insert(Sprint { prj, id, state: None, gone: None })
    }

    /// The collections that step 3 upserts into.
    pub(super) fn collections(&self) -> BTreeSet<(Kind, &str)> {
        let states = self.states.values().map(|state| (state.kind, state.prj.as_str()));
        states.chain(self.links.values().map(|link| (Kind::UserStory, link.prj.as_str()))).collect()
    }
}

/// Whether a state is probably its entity's first: by far the cheapest to write, and merely dearer when it is not.
fn is_fresh(kind: Kind, fields: &Document) -> bool {
    let is = |name, action| fields.get_str(name).is_ok_and(|told| told == action);
    match kind {
        Kind::Commit | Kind::Row | Kind::PullRequest => true,
        Kind::GithubIssue => is("action", "opened"),
        Kind::UserStory | Kind::Task | Kind::TaigaIssue | Kind::Epic => is("action_type", "create"),
    }
}

/// `taiga_TeamA.tasks/17`: the `_id` of an entity's deletion.
pub(super) fn entity_id(kind: Kind, prj: &str, key: &[Bson]) -> String {
    let mut id = kind.collection(prj);
    for part in key {
        id.push('/');
        push_key(&mut id, part);
    }
    id
}

/// `taiga_TeamA.userstories/8/epic/5`: the `_id` of a link's deletion.
pub(super) fn link_id(prj: &str, story: &Bson, epic: &Bson) -> String {
    let mut id = entity_id(Kind::UserStory, prj, std::slice::from_ref(story));
    id.push_str("/epic/");
    push_key(&mut id, epic);
    id
}

/// `TeamA/5`: the `_id` of a sprint.
pub(super) fn sprint_id(prj: &str, id: &Bson) -> String {
    let mut text = format!("{prj}/");
    push_key(&mut text, id);
    text
}

/// Numbers bare and strings quoted, so that 17 and "17" stay two.
fn push_key(id: &mut String, part: &Bson) {
    match (part, whole(part)) {
        (_, Some(n)) => id.push_str(&n.to_string()),
        (Bson::String(text), _) => {
            id.push('"');
            id.push_str(text);
            id.push('"');
        }
        (other, _) => id.push_str(&other.to_string()),
    }
}

/// The integer that a value is. MongoDB compares numbers by value, so 17 and 17.0 are one key.
pub(super) fn whole(value: &Bson) -> Option<i64> {
    /// From here on doubles are no longer 64-bit integers: 2⁶³, which is exact.
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    match *value {
        Bson::Int32(n) => Some(n.into()),
        Bson::Int64(n) => Some(n),
        Bson::Double(n) if n.fract() == 0.0 && (-TOO_LARGE..TOO_LARGE).contains(&n) => Some(n as i64),
        _ => None,
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
