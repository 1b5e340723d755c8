//! What has to be remembered beside the documents: deletions and sprints, in `ld_…` collections.
//!
//! `ld_deletions`: `{_id: "taiga_TeamA.tasks/17", prj, order: {t, s}}`.
//! `ld_milestones`: `{_id: "TeamA/5", prj, state: {t, s, fields}, gone: {t, s}}`.
//!
//! Both grow by `$max`, which compares embedded documents field by field: writing them commutes.

use std::collections::HashMap;

use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Database;

use super::command;
use super::error::StoreError;
use super::fold::Batch;
use super::encode::{order, raw};
use super::statement::upsert;
use worker_event::effect::{MilestoneFields, Order};

pub(super) const DELETIONS: &str = "ld_deletions";
pub(super) const MILESTONES: &str = "ld_milestones";

/// A sprint as it is remembered.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownSprint {
    pub(super) state: Option<(Order, MilestoneFields)>,
    pub(super) gone: Option<Order>,
}

/// Writes the deletions and sprints of a batch.
pub(super) async fn remember(db: &Database, batch: &Batch) -> Result<(), StoreError> {
    let deletions = batch.deletions.iter().map(|(id, deletion)| (id.as_str(), deletion.prj.as_str(), deletion.order));
    remember_deletions(db, deletions).await?;
    let sprints = batch.sprints.iter().map(|(id, sprint)| {
        let mut max = Document::new();
        if let Some((at, fields)) = &sprint.state {
            max.insert("state", doc! { "t": at.t, "s": at.s, "fields": fields.clone() });
        }
        if let Some(at) = sprint.gone {
            max.insert("gone", order(at));
        }
        grow(id, &sprint.prj, max)
    });
    send(db, MILESTONES, sprints.collect::<Result<_, _>>()?).await
}

/// Writes deletions: `(_id, prj, order)`.
pub(super) async fn remember_deletions<'a>(
    db: &Database,
    deletions: impl Iterator<Item = (&'a str, &'a str, Order)>,
) -> Result<(), StoreError> {
    let statements = deletions.map(|(id, prj, at)| grow(id, prj, doc! { "order": order(at) }));
    send(db, DELETIONS, statements.collect::<Result<_, _>>()?).await
}

fn grow(id: &str, prj: &str, max: Document) -> Result<RawDocumentBuf, StoreError> {
    upsert(&doc! { "_id": id }, raw(&doc! { "$max": max, "$set": { "prj": prj } })?)
}

/// Upserts by `_id` alone can only lose a race of inserts, and then only once.
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

/// Reads which of these are deleted, and as of when.
pub(super) async fn deletions(db: &Database, ids: Vec<String>) -> Result<HashMap<String, Order>, StoreError> {
    let found = by_ids(db, DELETIONS, ids).await?;
    Ok(found.into_iter().filter_map(|(id, document)| Some((id, read_order(document.get("order")?)?))).collect())
}

/// Reads what is remembered of these sprints.
pub(super) async fn sprints(db: &Database, ids: Vec<String>) -> Result<HashMap<String, KnownSprint>, StoreError> {
    let found = by_ids(db, MILESTONES, ids).await?;
    let read = |document: &Document| KnownSprint {
        state: document.get("state").and_then(|state| {
            let fields = state.as_document()?.get_document("fields").ok()?;
            Some((read_order(state)?, fields.clone()))
        }),
        gone: document.get("gone").and_then(read_order),
    };
    Ok(found.into_iter().map(|(id, document)| (id, read(&document))).collect())
}

async fn by_ids(db: &Database, collection: &str, ids: Vec<String>) -> Result<Vec<(String, Document)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = command::find(db, collection, doc! { "_id": { "$in": ids } }, Document::new()).await?;
    Ok(found.into_iter().filter_map(|document| Some((document.get_str("_id").ok()?.to_owned(), document))).collect())
}

/// Reads `{t, s}`.
pub(super) fn read_order(value: &Bson) -> Option<Order> {
    let document = value.as_document()?;
    let number = |name| match document.get(name) {
        Some(Bson::Int64(n)) => Some(*n),
        Some(Bson::Int32(n)) => Some(i64::from(*n)),
        _ => None,
    };
    Some(Order { t: number("t")?, s: number("s")? })
}
