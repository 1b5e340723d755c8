//! Folds a batch: of several effects on one register, the winning one remains.

use std::collections::{BTreeSet, HashMap};

use bson::{Bson, Document, RawDocumentBuf, doc};
use worker_event::effect::{self, Effect, Key, Kind, Order, StoryOf};

use super::encode::{entity_id, link_id, packed, push_key};
use super::error::StoreError;
use super::seen::Seen;

/// One event of a batch, normalised.
#[derive(Debug, Clone)]
pub struct Event {
    /// The project it belongs to.
    pub prj: String,
    /// Its delivery, kept in `_ld` so that an operator can find a document's event.
    pub delivery: String,
    /// Its effects.
    pub effects: Vec<Effect>,
}

/// An entity's newest state (of a commit: its earliest view) in the batch.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) prj: String,
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) order: Order,
    pub(super) read: Option<Order>,
    /// The rename by which its repository has the name of the key.
    pub(super) named: Option<Order>,
    /// What the document shows of the entity itself. Encoded at once: thousands of these wait together, and bytes take
    /// a quarter of the memory.
    pub(super) fields: RawDocumentBuf,
    /// What only webhooks contain, by the newest one, which may be older than the state.
    pub(super) action: Option<(Order, Document)>,
    /// Stories and tasks: the id of the milestone they are in, null when in none. `None` for other kinds.
    pub(super) milestone: Option<Bson>,
    pub(super) story: Option<StoryOf>,
    pub(super) delivery: String,
    pub(super) event: usize,
    /// Whether this is probably the first event of the entity.
    pub(super) insert_first: bool,
}

impl State {
    pub(super) fn id(&self) -> String {
        entity_id(self.kind, &self.prj, &self.key)
    }

    /// The story that a task belongs to.
    pub(super) fn story_id(&self) -> Option<&Bson> {
        self.story.as_ref().map(|story| &story.id).filter(|id| **id != Bson::Null)
    }

    /// Order of the repository's name in the key.
    pub(super) fn named(&self) -> Order {
        self.named.map_or(self.seen(), |named| named.max(self.seen()))
    }

    /// Order of its state.
    pub(super) fn seen(&self) -> Order {
        self.read.map_or(self.order, |read| read.max(self.order))
    }
}

/// A link of a story to an epic.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) prj: String,
    pub(super) story: Bson,
    pub(super) epic: Bson,
    /// Order of the link.
    pub(super) told: Order,
    /// Its newest creation.
    pub(super) created: Option<Order>,
    pub(super) event: usize,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// An entity; with a story also its tasks, with an epic also its links.
    Entity(Kind, Key),
    /// The link of this story to this epic.
    Link { story: Bson, epic: Bson },
}

impl Target {
    /// The `_id` of the deletion in `ld_deletions`.
    pub(super) fn id(&self, prj: &str) -> String {
        match self {
            Self::Entity(kind, key) => entity_id(*kind, prj, key),
            Self::Link { story, epic } => link_id(prj, story, epic),
        }
    }
}

/// The order of a deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// States older than this are deleted.
    pub(super) at: Option<Order>,
    /// States up to this one are not shown, not even when an API returns them later.
    pub(super) superseded: Option<Order>,
}

impl Gone {
    pub(super) fn join(&mut self, other: Self) {
        self.at = self.at.max(other.at);
        self.superseded = self.superseded.max(other.superseded);
    }

    /// Whether it deletes a state.
    pub(super) fn takes(&self, state: &State) -> bool {
        self.at.is_some_and(|at| at >= state.seen()) || self.superseded.is_some_and(|order| order >= state.order)
    }

    /// The order of the deletion as a whole.
    pub(super) fn last(&self) -> Option<Order> {
        self.at.max(self.superseded)
    }

    /// Actions up to this one are not shown. The deletion of a task with its story does not end its actions.
    pub(super) fn ends_actions(&self, kind: Kind) -> Option<Order> {
        if kind == Kind::Task { self.at } else { self.last() }
    }
}

/// A deletion of the batch.
#[derive(Debug, Clone)]
pub(super) struct Deletion {
    pub(super) prj: String,
    pub(super) target: Target,
    pub(super) gone: Gone,
}

/// What other documents show of an entity.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parent {
    /// On its stories and tasks: the seven fields.
    Milestone(Bson),
    /// On the stories that are linked to it: `epic_name`, `epic_reference`.
    Epic(Bson),
    /// On its tasks: `is_closed`, `milestone_id`.
    Story(Bson),
}

impl Parent {
    /// The `_id` of the view in `ld_views`.
    pub(super) fn id(&self, prj: &str) -> String {
        let (name, id) = match self {
            Self::Milestone(id) => ("milestones", id),
            Self::Epic(id) => ("epics", id),
            Self::Story(id) => ("userstories", id),
        };
        let mut text = format!("taiga_{prj}.{name}/");
        push_key(&mut text, id);
        text
    }
}

/// What the batch says about an entity that other documents show.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) prj: String,
    pub(super) parent: Parent,
    pub(super) version: Option<(Order, Document)>,
    /// A milestone's deletion.
    pub(super) gone: Option<Order>,
}

/// A repository's other name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rename {
    pub(super) prj: String,
    pub(super) from: String,
    pub(super) order: Order,
    pub(super) to: String,
}

/// The registers that a batch writes, each once.
///
/// Batches with at least this many events are written one after another. Written at the same time, the later batch is
/// often written first, and the states of the earlier one are then stale. Smaller batches wait for MongoDB's journal
/// rather than its CPU, and share the journal's flushes.
pub const LARGE: usize = 200;

/// Keys are the `_id`s in the `ld_…` collections.
#[derive(Debug, Default)]
pub struct Batch {
    events: usize,
    /// The events of each collection, in the order in which they were added.
    touched: HashMap<String, Vec<usize>>,
    pub(super) states: HashMap<String, State>,
    pub(super) links: HashMap<String, Link>,
    pub(super) deletions: HashMap<String, Deletion>,
    pub(super) views: HashMap<String, View>,
    pub(super) renames: BTreeSet<Rename>,
}

impl Batch {
    /// Folds events. Their order does not matter, but for the numbers in a [`Refusal`](super::Refusal).
    ///
    /// # Errors
    /// When one of them cannot be encoded: the event's own fault.
    pub fn of(events: impl IntoIterator<Item = Event>) -> Result<Self, StoreError> {
        let mut batch = Self::default();
        events.into_iter().try_for_each(|event| batch.add(event))?;
        Ok(batch)
    }

    /// Adds an event. The first one has the number 0 in a [`Refusal`](super::Refusal).
    ///
    /// # Errors
    /// When it cannot be encoded: the event's own fault.
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

    /// Whether it has as many events as [`LARGE`] says.
    pub(super) const fn is_large(&self) -> bool {
        self.events >= LARGE
    }

    /// Leaves out what the batch itself deletes: the deletion is written, and it covers the state.
    pub(super) fn leave_out_deleted(&mut self) {
        let deletions = &self.deletions;
        self.states.retain(|id, state| deletions.get(id).is_none_or(|deletion| !deletion.gone.takes(state)));
    }

    /// The states of which no event says that it is the first.
    pub(super) fn unannounced(&self) -> impl Iterator<Item = &str> {
        self.states.iter().filter(|(_, state)| is_unannounced(state.kind)).map(|(id, _)| id.as_str())
    }

    /// Inserts first, of those states, what this process has not written.
    pub(super) fn insert_unseen(&mut self, seen: &Seen) {
        for (id, state) in self.states.iter_mut().filter(|(_, state)| is_unannounced(state.kind)) {
            state.insert_first |= !seen.contains(id);
        }
    }

    fn fold(&mut self, event: usize, prj: &str, delivery: &str, effect: Effect) -> Result<(), StoreError> {
        match effect {
            Effect::State(state) => self.state(event, prj, delivery, state)?,
            Effect::Gone { kind, key, order } => {
                self.delete(prj, Target::Entity(kind, key), Gone { at: Some(order), superseded: None });
            }
            Effect::Superseded { kind, key, order } => {
                self.delete(prj, Target::Entity(kind, key), Gone { at: None, superseded: Some(order) });
            }
            Effect::Unlinked { story, epic, order } => {
                self.delete(prj, Target::Link { story, epic }, Gone { at: Some(order), superseded: None });
            }
            Effect::Linked { story, epic, order, created } => {
                let link =
                    Link { prj: prj.to_owned(), story, epic, told: order, created: created.then_some(order), event };
                let held = self.links.entry(link_id(prj, &link.story, &link.epic)).or_insert_with(|| link.clone());
                held.told = held.told.max(link.told);
                held.created = held.created.max(link.created);
            }
            Effect::Milestone { id, order, fields } => self.view(prj, Parent::Milestone(id), order, fields),
            Effect::EpicName { id, order, fields } => self.view(prj, Parent::Epic(id), order, fields),
            Effect::MilestoneGone { id, order } => {
                let view = self.view_of(prj, Parent::Milestone(id));
                view.gone = view.gone.max(Some(order));
            }
            Effect::Renamed { from, to, order } => {
                self.renames.insert(Rename { prj: prj.to_owned(), from, order, to });
            }
        }
        Ok(())
    }

    fn state(&mut self, event: usize, prj: &str, delivery: &str, stated: effect::State) -> Result<(), StoreError> {
        let effect::State { kind, key, order, read, fields, action, milestone, story } = stated;
        if kind == Kind::UserStory
            && let (Some(id), Some(milestone)) = (key.first(), &milestone)
        {
            let is_closed = fields.get("is_closed").cloned().unwrap_or(Bson::Null);
            let view = doc! { "is_closed": is_closed, "milestone_id": milestone.clone() };
            self.view(prj, Parent::Story(id.clone()), order, view);
        }
        let id = entity_id(kind, prj, &key);
        let insert_first = is_first(kind, action.as_ref());
        let action = action.map(|action| (order, action));
        let held = self.states.get_mut(&id);
        let wins = held.as_ref().is_none_or(|held| match kind {
            Kind::Commit => order < held.order,
            _ => order > held.order,
        });
        let newest = |one: &Option<(Order, Document)>| one.as_ref().map(|(order, _)| *order);
        match held {
            Some(held) if !wins => {
                if newest(&action) > newest(&held.action) {
                    held.action = action;
                }
                held.insert_first |= insert_first;
            }
            held => {
                let before = held.map(|held| (held.action.take(), held.insert_first));
                let (older, first) = before.unwrap_or((None, false));
                let action = if newest(&older) > newest(&action) { older } else { action };
                let (prj, delivery) = (prj.to_owned(), delivery.to_owned());
                let (fields, insert_first) = (packed(&fields)?, insert_first || first);
                let state = State {
                    prj,
                    kind,
                    key,
                    order,
                    read,
                    named: None,
                    fields,
                    action,
                    milestone,
                    story,
                    delivery,
                    event,
                    insert_first,
                };
                self.states.insert(id, state);
            }
        }
        Ok(())
    }

    fn delete(&mut self, prj: &str, target: Target, gone: Gone) {
        let held = self.deletions.entry(target.id(prj)).or_insert_with(|| Deletion {
            prj: prj.to_owned(),
            target,
            gone: Gone::default(),
        });
        held.gone.join(gone);
    }

    fn view(&mut self, prj: &str, parent: Parent, order: Order, fields: Document) {
        let view = self.view_of(prj, parent);
        if view.version.as_ref().is_none_or(|held| order > held.0) {
            view.version = Some((order, fields));
        }
    }

    fn view_of(&mut self, prj: &str, parent: Parent) -> &mut View {
        let id = parent.id(prj);
        self.views.entry(id).or_insert_with(|| View { prj: prj.to_owned(), parent, version: None, gone: None })
    }

    /// Adds what the batch says about an entity that other documents show.
    pub(super) fn version(&self, prj: &str, parent: &Parent) -> Option<&(Order, Document)> {
        self.views.get(&parent.id(prj))?.version.as_ref()
    }

    /// Adds the move of a document that is stored under another key.
    pub(super) fn add_moved(&mut self, state: State) {
        let id = state.id();
        if self.states.get(&id).is_none_or(|held| state.order > held.order) {
            self.states.insert(id, state);
        }
    }

    /// Adds the move of a deletion that is stored under another key.
    pub(super) fn add_gone(&mut self, prj: &str, kind: Kind, key: Key, gone: Gone) {
        self.delete(prj, Target::Entity(kind, key), gone);
    }

    /// Moves issues and pull requests to their repository's newer name.
    pub(super) fn rename(&mut self, newer: impl Fn(&str, &str, Order) -> Option<(String, Order)>) {
        let renamed = |prj: &str, kind: Kind, key: &Key, at: Order| match (kind, key.as_slice()) {
            (Kind::GithubIssue | Kind::PullRequest, [Bson::String(name), number]) => {
                let (name, at) = newer(prj, name, at)?;
                Some((vec![name.into(), number.clone()], at))
            }
            _ => None,
        };
        let moved = self
            .states
            .iter()
            .filter_map(|(id, state)| Some((id.clone(), renamed(&state.prj, state.kind, &state.key, state.named())?)));
        for (id, (key, at)) in moved.collect::<Vec<_>>() {
            let Some(state) = self.states.remove(&id) else { continue };
            self.add_moved(state.moved(key, at));
        }
        let moved = self.deletions.iter().filter_map(|(id, deletion)| match &deletion.target {
            Target::Entity(kind, key) => {
                let (key, _) = renamed(&deletion.prj, *kind, key, deletion.gone.last()?)?;
                Some((id.clone(), *kind, key))
            }
            Target::Link { .. } => None,
        });
        for (id, kind, key) in moved.collect::<Vec<_>>() {
            let Some(deletion) = self.deletions.remove(&id) else { continue };
            self.delete(&deletion.prj, Target::Entity(kind, key), deletion.gone);
        }
    }

    /// The collections that states and links are written to.
    pub(super) fn collections(&self) -> BTreeSet<(Kind, &str)> {
        let states = self.states.values().map(|state| (state.kind, state.prj.as_str()));
        states.chain(self.links.values().map(|link| (Kind::UserStory, link.prj.as_str()))).collect()
    }

    /// The projects whose issues and pull requests it concerns.
    pub(super) fn repositories(&self) -> BTreeSet<String> {
        let is_theirs = |kind| matches!(kind, Kind::GithubIssue | Kind::PullRequest);
        let states = self.states.values().filter(|state| is_theirs(state.kind)).map(|state| state.prj.clone());
        let deletions = self
            .deletions
            .values()
            .filter(|deletion| matches!(deletion.target, Target::Entity(kind, _) if is_theirs(kind)));
        let renames = self.renames.iter().map(|rename| rename.prj.clone());
        states.chain(deletions.map(|deletion| deletion.prj.clone())).chain(renames).collect()
    }
}

impl State {
    /// The same under another name of its repository.
    pub(super) fn moved(self, key: Key, at: Order) -> Self {
        Self { fields: with_repository(&self.fields, &key), key, named: Some(at), ..self }
    }
}

/// The same fields under the repository's name of a key.
fn with_repository(fields: &RawDocumentBuf, key: &Key) -> RawDocumentBuf {
    let name = key.first().and_then(Bson::as_str).unwrap_or_default();
    let mut out = RawDocumentBuf::new();
    for (field, value) in fields.iter().flatten() {
        if field.as_str() == "repo_name" {
            out.append(field, name);
        } else {
            out.append(field, value);
        }
    }
    out
}

/// Whether a state is probably its entity's first. An insert is much cheaper then, and only a little dearer when it is
/// not.
fn is_first(kind: Kind, action: Option<&Document>) -> bool {
    let is = |name, wanted| action.is_some_and(|action| action.get_str(name).is_ok_and(|action| action == wanted));
    match kind {
        Kind::Commit | Kind::Row => true,
        Kind::GithubIssue => is("action", "opened"),
        Kind::PullRequest => false,
        Kind::UserStory | Kind::Task | Kind::TaigaIssue | Kind::Epic => is("action_type", "create"),
    }
}

/// Whether the first event of an entity does not say so: of stories and epics other objects' events are often the first, and
/// a pull request is stored when it is closed.
const fn is_unannounced(kind: Kind) -> bool {
    matches!(kind, Kind::UserStory | Kind::Epic | Kind::PullRequest)
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
