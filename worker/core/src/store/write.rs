//! What a batch writes to one document, how it is tried, and what makes it stale. Tested with the statements
//! (`statement_tests.rs`).

use std::slice;

use bson::{Bson, Document, RawDocumentBuf, doc};
use worker_event::effect::{Key, Kind, Order};

use super::encode::{ACTION, STATE, entity_id, read_order};
use super::error::StoreError;
use super::fold::{Link, State};
use super::statement::{Shown, action_update, document, link_upsert, merge_into_existing, state_upsert};

/// What a batch writes to one document: an entity's state, or a story's link.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write<'a> {
    /// A state and the newest action, to a document whose state is older than both.
    State(&'a State, &'a Shown),
    /// A state alone: the action is older, and has a statement of its own.
    StateAlone(&'a State, &'a Shown),
    /// The action alone: the document's state is newer.
    Action(&'a State),
    /// A state, also for a document without one: of a story whose link came first.
    Merge(&'a State, &'a Shown),
    /// A link, for any document.
    Link(&'a Link, Option<&'a (Order, Document)>),
}

impl<'a> Write<'a> {
    /// Its event.
    pub(super) const fn event(&self) -> usize {
        match self {
            Self::State(state, _) | Self::StateAlone(state, _) | Self::Action(state) | Self::Merge(state, _) => {
                state.event
            }
            Self::Link(link, _) => link.event,
        }
    }

    /// Whether the document probably does not exist yet.
    pub(super) const fn inserts_first(&self) -> bool {
        matches!(self, Self::State(State { insert_first: true, .. }, _))
    }

    /// The statement of an `update` command. A stale write does not match the filter, tries to insert, and fails with
    /// E11000. So does a state whose document has none yet.
    pub(super) fn statement(&self) -> Result<RawDocumentBuf, StoreError> {
        match self {
            Self::State(state, shown) => state_upsert(state, shown, state.action.as_ref()),
            Self::StateAlone(state, shown) => state_upsert(state, shown, None),
            Self::Action(state) => action_update(state),
            Self::Merge(state, shown) => merge_into_existing(state, shown),
            Self::Link(link, name) => link_upsert(link, *name),
        }
    }

    /// The document to insert; for an `insert` command, which costs MongoDB a quarter of an upsert. Nothing to insert:
    /// `None`.
    pub(super) fn document(&self) -> Result<Option<RawDocumentBuf>, StoreError> {
        match self {
            Self::State(state, shown) => document(state, shown).map(Some),
            _ => Ok(None),
        }
    }

    /// What remains to be tried beside the stored document, which was read with [`registers`].
    pub(super) fn retry_as(self, found: &Document) -> Vec<Self> {
        let (state, shown) = match self {
            Self::State(state, shown) | Self::StateAlone(state, shown) | Self::Merge(state, shown) => (state, shown),
            Self::Action(..) => return Vec::new(),
            Self::Link(..) => return vec![self],
        };
        let register = |name: &str| found.get_document("_ld").ok()?.get(name).and_then(read_order);
        let Some(held) = register("order") else { return vec![Self::Merge(state, shown)] };
        let is_stale = match state.kind {
            Kind::Commit => held <= state.order,
            _ => held >= state.order,
        };
        let action =
            state.action.as_ref().map(|(at, _)| *at).filter(|at| register("action").is_none_or(|held| held < *at));
        match (is_stale, action) {
            (true, None) => Vec::new(),
            (true, Some(_)) => vec![Self::Action(state)],
            (false, Some(at)) if held < at => vec![Self::State(state, shown)],
            (false, Some(_)) => vec![Self::StateAlone(state, shown), Self::Action(state)],
            (false, None) => vec![Self::StateAlone(state, shown)],
        }
    }

    /// The name of the document among others of its project.
    pub(super) fn id(&self) -> String {
        let (kind, key) = self.key();
        entity_id(kind, self.prj(), key)
    }

    /// The same name, of a document that was read with [`registers`].
    pub(super) fn id_of(&self, found: &Document) -> Option<String> {
        let (kind, _) = self.key();
        let key: Option<Key> = kind.key_fields().iter().map(|field| found.get(field).cloned()).collect();
        Some(entity_id(kind, self.prj(), &key?))
    }

    /// The fields of the unique index that would refuse a second document.
    pub(super) fn key_fields(&self) -> &'static [&'static str] {
        self.key().0.key_fields()
    }

    fn prj(&self) -> &'a str {
        match self {
            Self::State(state, _) | Self::StateAlone(state, _) | Self::Action(state) | Self::Merge(state, _) => {
                &state.prj
            }
            Self::Link(link, _) => &link.prj,
        }
    }

    fn key(&self) -> (Kind, &'a [Bson]) {
        match self {
            Self::State(state, _) | Self::StateAlone(state, _) | Self::Action(state) | Self::Merge(state, _) => {
                (state.kind, &state.key)
            }
            Self::Link(link, _) => (Kind::UserStory, slice::from_ref(&link.story)),
        }
    }
}

/// Matches the documents of writes to one collection: their keys differ in the last field, and mostly in that alone.
pub(super) fn documents_of(writes: &[Write<'_>]) -> Document {
    let mut groups: Vec<(Document, Vec<Bson>, &str)> = Vec::new();
    for (kind, key) in writes.iter().map(Write::key) {
        let (Some((last, shared)), Some((name, names))) = (key.split_last(), kind.key_fields().split_last()) else {
            continue;
        };
        let shared: Document = names.iter().map(|name| (*name).to_owned()).zip(shared.iter().cloned()).collect();
        match groups.iter_mut().find(|(group, ..)| *group == shared) {
            Some((_, values, _)) => values.push(last.clone()),
            None => groups.push((shared, vec![last.clone()], name)),
        }
    }
    let filter = |(mut group, values, name): (Document, Vec<Bson>, &str)| {
        group.insert(name, doc! { "$in": values });
        group
    };
    let mut filters: Vec<Document> = groups.into_iter().map(filter).collect();
    match (filters.pop(), filters.is_empty()) {
        (Some(only), true) => only,
        (last, _) => doc! { "$or": filters.into_iter().chain(last).collect::<Vec<_>>() },
    }
}

/// All key fields of all kinds, of which a document has its own, and the orders of what it shows.
pub(super) fn registers() -> Document {
    let mut projection = doc! { "_id": 0, STATE: 1, ACTION: 1 };
    projection.extend(Kind::ALL.iter().flat_map(|kind| kind.key_fields()).map(|field| ((*field).to_owned(), 1.into())));
    projection
}
