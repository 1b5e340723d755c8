//! What a batch writes to one document, how it is tried, and what makes it stale. Its tests are those of the
//! statements (`statement_tests.rs`).

use std::slice;

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::error::StoreError;
use super::fold::{Link, State, entity_id};
use super::memory::read_order;
use super::statement::{LINK, STATE, document, join, link_upsert, state_upsert};
use worker_event::effect::{Key, Kind};

/// What a batch writes to one document: an entity's state, or a story's link.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write<'a> {
    State(&'a State),
    /// A state, also to a document that has none yet: of a story whose link came first.
    Join(&'a State),
    Link(&'a Link),
}

impl Write<'_> {
    /// The event that it stands for.
    pub(super) const fn event(&self) -> usize {
        match self {
            Self::State(state) | Self::Join(state) => state.event,
            Self::Link(link) => link.event,
        }
    }

    /// Whether the document is probably not there yet.
    pub(super) const fn is_fresh(&self) -> bool {
        match self {
            Self::State(state) => state.fresh,
            Self::Join(_) | Self::Link(_) => false,
        }
    }

    /// The statement of an `update` command that makes it true unless something at least as new is there.
    /// A stale one meets the document that its filter does not match, and so E11000. So does a state where there
    /// is a document without one: it becomes a [`Write::Join`].
    pub(super) fn upsert(&self) -> Result<RawDocumentBuf, StoreError> {
        match self {
            Self::State(state) => state_upsert(state),
            Self::Join(state) => join(state),
            Self::Link(link) => link_upsert(link),
        }
    }

    /// The document that the upsert makes where there is none; for an `insert` command, which costs MongoDB a
    /// quarter. Nothing to insert: `None`.
    pub(super) fn document(&self) -> Result<Option<RawDocumentBuf>, StoreError> {
        match self {
            Self::State(state) => document(state).map(Some),
            Self::Join(_) | Self::Link(_) => Ok(None),
        }
    }

    /// Whether a document found with [`registers`] is at least as new as the upsert would make it.
    pub(super) fn is_stale_beside(&self, found: &Document) -> bool {
        let ours = found.get_document("_ld").ok();
        let held = |document: Option<&Document>| document?.get("order").and_then(read_order);
        match self {
            Self::State(state) | Self::Join(state) => held(ours).is_some_and(|held| match state.kind {
                Kind::Commit => held <= state.order,
                _ => held >= state.order,
            }),
            Self::Link(link) => {
                held(ours.and_then(|ours| ours.get_document("link").ok())).is_some_and(|held| held >= link.order)
            }
        }
    }

    /// How it is tried again beside a document found with [`registers`] that it met and that is older.
    pub(super) fn beside(self, found: &Document) -> Self {
        let has_state = found.get_document("_ld").is_ok_and(|ours| ours.contains_key("order"));
        match self {
            Self::State(state) | Self::Join(state) if has_state => Self::State(state),
            Self::State(state) | Self::Join(state) => Self::Join(state),
            Self::Link(_) => self,
        }
    }

    /// For a collection without its unique index: what is to meet E11000 there would be a second document.
    pub(super) const fn to_any_document(self) -> Self {
        match self {
            Self::State(state) => Self::Join(state),
            Self::Join(_) | Self::Link(_) => self,
        }
    }

    /// Names the document, so that it can be found among others of its project.
    pub(super) fn id(&self) -> String {
        let (kind, key) = self.key();
        entity_id(kind, self.prj(), key)
    }

    /// The same name, of a document that was found with [`registers`].
    pub(super) fn id_of(&self, found: &Document) -> Option<String> {
        let (kind, _) = self.key();
        let key: Option<Key> = kind.key_fields().iter().map(|field| found.get(field).cloned()).collect();
        Some(entity_id(kind, self.prj(), &key?))
    }

    /// The fields of the unique index that a second document would meet.
    pub(super) fn key_fields(&self) -> &'static [&'static str] {
        self.key().0.key_fields()
    }

    fn prj(&self) -> &str {
        match self {
            Self::State(state) | Self::Join(state) => &state.prj,
            Self::Link(link) => &link.prj,
        }
    }

    fn key(&self) -> (Kind, &[Bson]) {
        match self {
            Self::State(state) | Self::Join(state) => (state.kind, &state.key),
            Self::Link(link) => (Kind::UserStory, slice::from_ref(&link.story)),
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

/// All key fields of all kinds, of which a document has its own, and as of when what it shows is.
pub(super) fn registers() -> Document {
    let mut projection = doc! { "_id": 0, STATE: 1, LINK: 1 };
    projection.extend(Kind::ALL.iter().flat_map(|kind| kind.key_fields()).map(|field| ((*field).to_owned(), 1.into())));
    projection
}
