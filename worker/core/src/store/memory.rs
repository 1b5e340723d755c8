//! What is stored beside the documents, in `ld_…` collections.
//!
//! ```text
//! ld_deletions  {_id: "taiga_TeamA.tasks/17", prj, order, superseded, action}   what was deleted, and its order
//! ld_views      {_id: "taiga_TeamA.milestones/5", prj, state, fields, since,    what other documents show of it
//!                spread, gone, differs}
//! ld_renames    {_id: "TeamA/o/r@5,7", prj, from, to, order}                    repositories' other names
//! ```
//!
//! All of it only grows, and the order of the writes does not matter.
//!
//! Each event that says something of an entity which others show is a version of its view. `state` is the order of the
//! newest version and `fields` its content. `since` is the order since which no other content came between: a document
//! that shows the content of that order or later is up to date. `spread` is the `since` up to which older documents
//! were brought up to date. So a version with known content costs one write here, and nothing else.

use std::collections::{BTreeSet, HashMap};

use bson::{Bson, Document, RawBson, RawDocumentBuf, doc, rawdoc};
use mongodb::Database;
use worker_event::effect::Order;

use super::command;
use super::contents::{self, Contents};
use super::encode::{order, raw, raw_order, read_order, unencodable, upsert};
use super::error::StoreError;
use super::fold::{Batch, Gone, Parent, Rename, View};
use super::seen::Seen;

pub(super) const DELETIONS: &str = "ld_deletions";
pub(super) const VIEWS: &str = "ld_views";
pub(super) const RENAMES: &str = "ld_renames";

/// The newest action of a task that was deleted with its story, with the fields that show it.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) at: Order,
    pub(super) fields: Document,
}

/// A deletion as it is stored.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredDeletion {
    pub(super) gone: Gone,
    pub(super) action: Option<Action>,
}

/// A view as it is stored.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownView {
    pub(super) version: Option<Version>,
    pub(super) gone: Option<Order>,
    /// An event described a task without its story, or in another milestone. What that task shows is no version of this
    /// view, so all tasks are checked for every version.
    pub(super) differs: bool,
}

/// The newest version of a view.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) at: Order,
    pub(super) since: Order,
    pub(super) is_spread: bool,
    pub(super) fields: Document,
}

/// Writes the deletions, views and renames of a batch.
pub(super) async fn remember(db: &Database, batch: &Batch, seen: &Seen) -> Result<(), StoreError> {
    let deletions = batch.deletions.iter().map(|(id, deletion)| {
        (id.as_str(), deletion.prj.as_str(), StoredDeletion { gone: deletion.gone, action: None })
    });
    let set = |parent: Parent, prj: &str, mut set: Document| {
        set.insert("prj", prj);
        upsert(&doc! { "_id": parent.id(prj) }, raw(&doc! { "$set": set })?)
    };
    let differs = batch.states.values().filter_map(|state| {
        let story = state.story_id().filter(|_| state.story.as_ref().is_some_and(|story| !story.agrees))?;
        Some(set(Parent::Story(story.clone()), &state.prj, doc! { "differs": true }))
    });
    // A story shows an epic whose name the batch does not say: the first name is to be spread.
    let nameless = batch.links.values().filter_map(|link| {
        let epic = Parent::Epic(link.epic.clone());
        batch.version(&link.prj, &epic).is_none().then(|| set(epic, &link.prj, Document::new()))
    });
    let others = differs.chain(nameless).collect::<Result<_, _>>()?;
    futures::try_join!(
        remember_deletions(db, deletions),
        remember_views(db, batch, others, seen),
        remember_renames(db, batch),
    )
    .map(drop)
}

/// Writes the views of a batch, and other statements about views.
async fn remember_views(
    db: &Database,
    batch: &Batch,
    others: Vec<RawDocumentBuf>,
    seen: &Seen,
) -> Result<(), StoreError> {
    // Milestones first: a reader that sees a story in a milestone then also sees the milestone's view.
    let (milestones, rest): (Vec<_>, Vec<_>) =
        batch.views.iter().partition(|(_, view)| matches!(view.parent, Parent::Milestone(_)));
    let mut statements = Vec::new();
    for views in [milestones, rest] {
        let gone = views.iter().filter_map(|(id, view)| Some((id, view, order(view.gone?))));
        statements.extend(
            gone.map(|(id, view, at)| grow(id, &view.prj, doc! { "gone": at })).collect::<Result<Vec<_>, _>>()?,
        );
        let mut versions: Vec<Told<'_>> = views.into_iter().filter_map(Told::of).collect();
        // Only in large batches: further commands cost a single event more than they gain.
        if batch.is_large() {
            // Before what comes after them in the order.
            send(db, VIEWS, std::mem::take(&mut statements)).await?;
            let (known, new) = versions.into_iter().partition(|told| seen.contains(told.id));
            versions = insert_new(db, new).await?;
            versions.extend(known);
            versions = merge_known(db, versions).await?;
        }
        statements.extend(versions.iter().map(Told::merge).collect::<Result<Vec<_>, _>>()?);
        if batch.is_large() {
            send(db, VIEWS, std::mem::take(&mut statements)).await?;
        }
    }
    statements.extend(others);
    send(db, VIEWS, statements).await?;
    seen.add(batch.views.keys().map(String::as_str));
    Ok(())
}

/// Inserts the first versions. Returns those of views that are stored already.
async fn insert_new<'a>(db: &Database, versions: Vec<Told<'a>>) -> Result<Vec<Told<'a>>, StoreError> {
    if versions.is_empty() {
        return Ok(versions);
    }
    let failures = command::insert_each(db, VIEWS, Box::new(versions.iter().map(Told::first))).await?;
    let of = |failure: command::Failure| match failure.is_duplicate_id() {
        true => versions.get(failure.index).copied().map(Ok),
        false => Some(Err(StoreError::Outage(failure.error))),
    };
    failures.into_iter().filter_map(of).collect()
}

/// Merges versions into views that are probably stored, many with one statement. Returns what is left.
async fn merge_known<'a>(db: &Database, versions: Vec<Told<'a>>) -> Result<Vec<Told<'a>>, StoreError> {
    if versions.is_empty() {
        return Ok(versions);
    }
    let newest = doc! { "$mergeObjects": ["$$ROOT", newest("$$new.at".into(), "$$new.fields".into())] };
    let statements = Contents::divide(versions.iter().map(Told::content))?
        .into_iter()
        .map(|contents| contents.statement("_id", Document::new(), &newest))
        .collect::<Result<Vec<_>, _>>()?;
    // Otherwise a view was removed in the meantime.
    let found = contents::update(db, VIEWS, &statements, versions.len()).await?;
    Ok(if found { Vec::new() } else { versions })
}

/// Writes the renames of a batch.
pub(super) async fn remember_renames(db: &Database, batch: &Batch) -> Result<(), StoreError> {
    let renames = batch.renames.iter().map(|Rename { prj, from, order: at, to }| {
        let id = format!("{prj}/{from}@{},{}", at.t, at.s);
        let set = doc! { "$set": { "prj": prj, "from": from, "to": to, "order": order(*at) } };
        upsert(&doc! { "_id": id }, raw(&set)?)
    });
    send(db, RENAMES, renames.collect::<Result<_, _>>()?).await
}

/// Writes deletions: `(_id, prj, what is stored)`.
pub(super) async fn remember_deletions<'a>(
    db: &Database,
    deletions: impl Iterator<Item = (&'a str, &'a str, StoredDeletion)>,
) -> Result<(), StoreError> {
    let statements = deletions.map(|(id, prj, StoredDeletion { gone, action })| {
        let mut max = Document::new();
        max.extend(gone.at.map(|at| ("order".to_owned(), order(at).into())));
        max.extend(gone.superseded.map(|at| ("superseded".to_owned(), order(at).into())));
        max.extend(action.map(|action| {
            let mut newest = order(action.at);
            newest.insert("fields", action.fields);
            ("action".to_owned(), newest.into())
        }));
        grow(id, prj, max)
    });
    send(db, DELETIONS, statements.collect::<Result<_, _>>()?).await
}

/// Records up to which version documents were brought up to date.
pub(super) async fn mark_spread(db: &Database, spread: &HashMap<String, Order>) -> Result<(), StoreError> {
    let statements = spread
        .iter()
        .map(|(id, since)| raw(&doc! { "q": { "_id": id }, "u": { "$max": { "spread": order(*since) } } }));
    send(db, VIEWS, statements.collect::<Result<_, _>>()?).await
}

fn grow(id: &str, prj: &str, max: Document) -> Result<RawDocumentBuf, StoreError> {
    upsert(&doc! { "_id": id }, raw(&doc! { "$max": max, "$set": { "prj": prj } })?)
}

/// A version of a view, as a batch says.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    id: &'a str,
    prj: &'a str,
    at: Order,
    fields: &'a Document,
}

impl<'a> Told<'a> {
    fn of((id, View { prj, version, .. }): (&'a String, &'a View)) -> Option<Self> {
        let (at, fields) = version.as_ref()?;
        Some(Self { id, prj, at: *at, fields })
    }

    /// The document where there is none. Nothing can show an older version: what shows a view is written with a version
    /// of it, or with an empty view ([`remember`]). So the first version is spread.
    fn first(&self) -> Result<RawDocumentBuf, StoreError> {
        let (at, fields) = (raw_order(self.at), raw(self.fields)?);
        Ok(rawdoc! {
            "_id": self.id, "prj": self.prj, "since": at.clone(), "spread": at.clone(), "fields": fields,
            "state": at,
        })
    }

    /// Keeps the newest version.
    fn merge(&self) -> Result<RawDocumentBuf, StoreError> {
        let at = order(self.at);
        let mut set = newest(at.clone().into(), doc! { "$literal": self.fields }.into());
        // As in `first`, where there is no document.
        set.insert("spread", doc! { "$cond": [{ "$gt": ["$prj", null] }, "$spread", at] });
        set.insert("prj", self.prj);
        let stages = Bson::Array(vec![doc! { "$set": set }.into()]);
        upsert(&doc! { "_id": self.id }, RawBson::try_from(stages).map_err(unencodable)?)
    }

    /// The same for a statement that merges several.
    fn content(&self) -> Result<(Bson, RawDocumentBuf), StoreError> {
        Ok((self.id.into(), rawdoc! { "at": raw_order(self.at), "fields": raw(self.fields)? }))
    }
}

/// What a view stores of its newest version. One with other content than the newest moves `since` up to the later of the
/// two.
fn newest(at: Bson, fields: Bson) -> Document {
    let is_newer = doc! { "$lt": ["$state", &at] };
    let since = doc! { "$switch": {
        "branches": [
            { "case": { "$eq": ["$fields", &fields] }, "then": "$since" },
            { "case": &is_newer, "then": &at },
            { "case": { "$lt": [&at, "$since"] }, "then": "$since" },
        ],
        "default": "$state",
    } };
    doc! { "since": since, "fields": { "$cond": [is_newer, fields, "$fields"] }, "state": { "$max": ["$state", at] } }
}

/// An upsert by `_id` alone can only lose a race of inserts, and only once.
async fn send(db: &Database, collection: &str, mut statements: Vec<RawDocumentBuf>) -> Result<(), StoreError> {
    while !statements.is_empty() {
        let failures = command::update(db, collection, &statements).await?;
        if let Some(other) = failures.iter().find(|failure| !failure.is_duplicate_id()) {
            return Err(StoreError::Outage(other.error.clone()));
        }
        statements = failures.iter().filter_map(|failure| statements.get(failure.index).cloned()).collect();
    }
    Ok(())
}

/// Reads which of these are deleted, and the order of the deletion.
pub(super) async fn deletions(
    db: &Database,
    ids: BTreeSet<String>,
) -> Result<HashMap<String, StoredDeletion>, StoreError> {
    let found = by_ids(db, DELETIONS, ids).await?;
    let read = |document: &Document| {
        let action = document.get("action").and_then(|action| {
            let fields = action.as_document()?.get_document("fields").ok()?.clone();
            Some(Action { at: read_order(action)?, fields })
        });
        StoredDeletion { gone: read_gone(document), action }
    };
    Ok(found.into_iter().map(|(id, document)| (id, read(&document))).collect())
}

fn read_gone(document: &Document) -> Gone {
    let at = |name| document.get(name).and_then(read_order);
    Gone { at: at("order"), superseded: at("superseded") }
}

/// The deletions of a repository's issues and pull requests: `(_id after the prefix, order)`.
pub(super) async fn deletions_under(db: &Database, prefix: &str) -> Result<Vec<(String, Gone)>, StoreError> {
    // The range from the prefix to the prefix with the largest character holds all texts that begin with the prefix.
    let filter = doc! { "_id": { "$gte": prefix, "$lt": format!("{prefix}\u{10ffff}") } };
    let found = command::find(db, DELETIONS, filter, Document::new()).await?;
    let read = |document: &Document| {
        Some((document.get_str("_id").ok()?.strip_prefix(prefix)?.to_owned(), read_gone(document)))
    };
    Ok(found.iter().filter_map(read).collect())
}

/// Reads these views.
pub(super) async fn views(db: &Database, ids: BTreeSet<String>) -> Result<HashMap<String, KnownView>, StoreError> {
    let found = by_ids(db, VIEWS, ids).await?;
    let read = |document: Document| {
        let at = |name| document.get(name).and_then(read_order);
        let version = || {
            let (at, since, spread) = (at("state")?, at("since")?, at("spread"));
            let fields = document.get_document("fields").ok()?.clone();
            Some(Version { at, since, is_spread: spread >= Some(since), fields })
        };
        KnownView { version: version(), gone: at("gone"), differs: document.get_bool("differs").unwrap_or(false) }
    };
    Ok(found.into_iter().map(|(id, document)| (id, read(document))).collect())
}

/// All other names of repositories in these projects.
pub(super) async fn renames(db: &Database, prjs: &BTreeSet<String>) -> Result<BTreeSet<Rename>, StoreError> {
    if prjs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let filter = doc! { "prj": { "$in": prjs.iter().collect::<Vec<_>>() } };
    let found = command::find(db, RENAMES, filter, Document::new()).await?;
    let read = |document: &Document| {
        let text = |name| document.get_str(name).ok().map(str::to_owned);
        let order = read_order(document.get("order")?)?;
        Some(Rename { prj: text("prj")?, from: text("from")?, order, to: text("to")? })
    };
    Ok(found.iter().filter_map(read).collect())
}

async fn by_ids(db: &Database, collection: &str, ids: BTreeSet<String>) -> Result<Vec<(String, Document)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<String> = ids.into_iter().collect();
    let found = command::find(db, collection, doc! { "_id": { "$in": ids } }, Document::new()).await?;
    Ok(found.into_iter().filter_map(|document| Some((document.get_str("_id").ok()?.to_owned(), document))).collect())
}
