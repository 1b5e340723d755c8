//! The statements of `update` and `delete` commands, as pure functions.
//!
//! Every filter repeats the comparison of registers, so that a statement is right whenever it runs.
//!
//! The fields of a document stand in one order, whichever statements made it: the natural key, then the rest by
//! name. That is what `$set` makes of a document that was not there; [`document`] inserts in the same order, and
//! what adds fields to a document that is there ends with [`tidy`]. (A row's fields stand as they were made:
//! nothing is ever added to it.)

use std::sync::LazyLock;

use bson::raw::{CStr, cstr};
use bson::{Bson, Document, RawArrayBuf, RawBson, RawDocumentBuf, doc};

use super::error::StoreError;
use super::encode::{order, raw, unencodable};
use super::fold::{Link, State};
use worker_event::effect::{Key, Kind, Order};
use worker_event::normalise::unenriched;

/// Where a document keeps the order of its own state.
pub(super) const STATE: &str = "_ld.order";
/// Where a story keeps the order of its link to an epic.
pub(super) const LINK: &str = "_ld.link.order";
/// Where a story keeps the epic of its link, also once the link is cleared.
pub(super) const LINK_EPIC: &str = "_ld.link.epic";
/// Where a story or task keeps as of when its milestone fields are.
pub(super) const SPRINT: &str = "_ld.milestone";

/// What a story shows of its epic.
pub(super) const EPIC_FIELDS: [&str; 3] = ["epic_id", "epic_name", "epic_reference"];

/// The seven milestone fields of a story or task.
pub const MILESTONE_FIELDS: [&str; 7] = [
    "milestone_id",
    "milestone_name",
    "milestone_closed",
    "milestone_created_date",
    "milestone_modified_date",
    "estimated_start",
    "estimated_finish",
];

/// What a look-up adds to the stories and tasks of a sprint (CONTRACT §4).
const FIGURES: [&str; 6] = [
    "milestone_total_points",
    "milestone_closed_points",
    "milestone_total_userstories",
    "milestone_completed_userstories",
    "milestone_total_tasks",
    "milestone_completed_tasks",
];
/// Where a story or task remembers whose figures it shows.
const FIGURES_OF: &str = "_ld.figures";

/// A statement of an `update` command that makes a document where none matches.
pub(super) fn upsert(filter: &Document, update: impl Into<RawBson>) -> Result<RawDocumentBuf, StoreError> {
    let mut statement = RawDocumentBuf::new();
    statement.append(cstr!("q"), raw(filter)?);
    statement.append(cstr!("u"), update.into());
    statement.append(cstr!("upsert"), true);
    Ok(statement)
}

/// `_ld.… < o` or absent.
pub(super) fn older(o: Order) -> Document {
    doc! { "$not": { "$gte": order(o) } }
}

/// `_ld.… ≤ o` or absent.
pub(super) fn not_newer(o: Order) -> Document {
    doc! { "$not": { "$gt": order(o) } }
}

/// The filter by natural key.
pub(super) fn key_filter(kind: Kind, key: &Key) -> Document {
    kind.key_fields().iter().map(|field| (*field).to_owned()).zip(key.iter().cloned()).collect()
}

/// The `_id` a document is made with. It follows from the natural key, so that even without its unique
/// index (a collection that was dropped a moment ago) two workers cannot insert a document twice.
fn document_id(kind: Kind, key: &Key) -> Bson {
    match key.as_slice() {
        [single] => single.clone(),
        _ => key_filter(kind, key).into(),
    }
}

/// What makes an entity's state stale: one at least as new, of a commit at least as old.
fn stale(state: &State) -> Document {
    match state.kind {
        Kind::Commit => doc! { "$lte": order(state.order) },
        _ => doc! { "$gte": order(state.order) },
    }
}

/// Which state it takes the place of: an older one, of a commit a newer one. A document without any is not
/// matched.
fn replaced(state: &State) -> Document {
    match state.kind {
        Kind::Commit => doc! { "$gt": order(state.order) },
        _ => doc! { "$lt": order(state.order) },
    }
}

pub(super) fn state_upsert(state: &State) -> Result<RawDocumentBuf, StoreError> {
    let mut filter = key_filter(state.kind, &state.key);
    filter.insert(STATE, replaced(state));
    match state.kind {
        Kind::Row => upsert(&filter, row_update(state)?),
        _ => upsert(&filter, set_update(state)?),
    }
}

/// What a commit shows until it is looked up.
static UNENRICHED: LazyLock<Document> = LazyLock::new(unenriched);

/// All names are ours, so `$set` can name them; other registers of the document stay as they are.
fn set_update(state: &State) -> Result<RawDocumentBuf, StoreError> {
    // The filter's equalities make them on insert; naming them twice is a conflict only when they differ.
    let mut set = state.fields.clone();
    let at = raw(&order(state.order))?;
    if state.milestone.is_some() {
        set.append(cstr!("_ld.milestone"), &at);
    }
    set.append(cstr!("_ld.order"), &at);
    set.append(cstr!("_ld.delivery"), state.delivery.as_str());
    let mut on_insert = doc! { "_id": document_id(state.kind, &state.key) };
    if state.kind == Kind::Commit {
        on_insert.extend(UNENRICHED.clone());
    }
    let mut update = RawDocumentBuf::new();
    update.append(cstr!("$set"), set);
    update.append(cstr!("$setOnInsert"), raw(&on_insert)?);
    if state.milestone == Some(Bson::Null) {
        update.append(cstr!("$unset"), raw(&without_figures())?);
    }
    Ok(update)
}

/// What is ours in a document that nobody wrote before.
fn bookkeeping(state: &State) -> Result<RawDocumentBuf, StoreError> {
    let at = raw(&order(state.order))?;
    let mut ours = RawDocumentBuf::new();
    if state.milestone.is_some() {
        ours.append(cstr!("milestone"), &at);
    }
    ours.append(cstr!("order"), &at);
    ours.append(cstr!("delivery"), state.delivery.as_str());
    Ok(ours)
}

/// The document that a state makes where there is none.
pub(super) fn document(state: &State) -> Result<RawDocumentBuf, StoreError> {
    let mut document = raw(&doc! { "_id": document_id(state.kind, &state.key) })?;
    let beside = if state.kind == Kind::Commit { raw(&UNENRICHED)? } else { RawDocumentBuf::new() };
    let fields = state.fields.iter().chain(beside.iter()).collect::<Result<Vec<_>, _>>();
    let mut fields = fields.map_err(unencodable)?;
    if state.kind != Kind::Row {
        let key = state.kind.key_fields();
        fields.sort_unstable_by_key(|(name, _)| (!key.contains(&name.as_str()), name.as_str()));
    }
    for (name, value) in fields {
        document.append(name, value);
    }
    document.append(cstr!("_ld"), bookkeeping(state)?);
    Ok(document)
}

/// A state that may meet a document without one, and then stands beside what that shows already.
pub(super) fn join(state: &State) -> Result<RawDocumentBuf, StoreError> {
    let mut filter = key_filter(state.kind, &state.key);
    filter.insert(STATE, doc! { "$not": stale(state) });
    if state.kind == Kind::Row {
        return upsert(&filter, row_update(state)?);
    }
    let mut merged = RawArrayBuf::new();
    if state.kind == Kind::Commit {
        merged.push(raw(&UNENRICHED)?);
    }
    merged.push("$$ROOT");
    merged.push(single(cstr!("$literal"), state.fields.clone()));
    let ours = [RawBson::from("$_ld"), single(cstr!("$literal"), bookkeeping(state)?).into()];
    let mut own = raw(&own_id(state.kind, &state.key))?;
    own.append(cstr!("_ld"), single(cstr!("$mergeObjects"), ours.into_iter().collect::<RawArrayBuf>()));
    merged.push(own);
    let mut stages = RawArrayBuf::new();
    stages.push(single(cstr!("$replaceWith"), single(cstr!("$mergeObjects"), merged)));
    if state.milestone == Some(Bson::Null) {
        stages.push(raw(&doc! { "$unset": without_figures().keys().cloned().collect::<Vec<_>>() })?);
    }
    stages.push(raw(&tidy(state.kind))?);
    upsert(&filter, stages)
}

/// The `_id` that a document has, or is made with, as a stage of a pipeline sets it.
fn own_id(kind: Kind, key: &Key) -> Document {
    doc! { "_id": { "$ifNull": ["$_id", { "$literal": document_id(kind, key) }] } }
}

/// The stage that puts a document's fields in order: the natural key, then the rest by name.
pub(super) fn tidy(kind: Kind) -> Document {
    let mut first = [&["_id"], kind.key_fields()].concat();
    first.sort_unstable();
    let first: Document = first.into_iter().map(|name| (name.to_owned(), format!("${name}").into())).collect();
    let by_name = doc! { "$sortArray": { "input": { "$objectToArray": "$$ROOT" }, "sortBy": { "k": 1 } } };
    doc! { "$replaceWith": { "$mergeObjects": [first, { "$arrayToObject": by_name }] } }
}

/// A row's names are people's words (`hours_a.b$c`), which `$set` would take for paths: the document is
/// replaced by a literal instead.
fn row_update(state: &State) -> Result<RawArrayBuf, StoreError> {
    let mut literal = state.fields.clone();
    literal.append(cstr!("_ld"), bookkeeping(state)?);
    let mut merged = RawArrayBuf::new();
    merged.push(raw(&own_id(state.kind, &state.key))?);
    merged.push(single(cstr!("$literal"), literal));
    let mut stages = RawArrayBuf::new();
    stages.push(single(cstr!("$replaceWith"), single(cstr!("$mergeObjects"), merged)));
    Ok(stages)
}

/// A document of one field.
fn single(name: &CStr, value: impl Into<RawBson>) -> RawDocumentBuf {
    let mut document = RawDocumentBuf::new();
    document.append(name, value.into());
    document
}

pub(super) fn link_upsert(link: &Link) -> Result<RawDocumentBuf, StoreError> {
    let filter = doc! { "userstory_id": link.story.clone(), LINK: older(link.order) };
    let mut shown = link.fields.clone();
    shown.insert("prj", link.prj.as_str());
    shown.insert("_ld.link", doc! { "order": order(link.order), "epic": link.epic.clone() });
    let mut set = own_id(Kind::UserStory, &vec![link.story.clone()]);
    set.extend(literals(shown));
    let stages = Bson::Array(vec![doc! { "$set": set }.into(), tidy(Kind::UserStory).into()]);
    upsert(&filter, RawBson::try_from(stages).map_err(unencodable)?)
}

/// Fields as a stage of a pipeline sets them: what is in them is never read as an expression.
fn literals(fields: Document) -> Document {
    fields.into_iter().map(|(name, value)| (name, doc! { "$literal": value }.into())).collect()
}

/// `$unset` of a sprint's figures: whoever is in no sprint shows none.
pub(super) fn without_figures() -> Document {
    let mut unset = nulls(&FIGURES);
    unset.insert(FIGURES_OF, Bson::Null);
    unset
}

/// The statement that writes a sprint's figures on the stories, or tasks, that are in it.
pub(super) fn figures_update(kind: Kind, sprint: i64, figures: &Document) -> Result<RawDocumentBuf, StoreError> {
    let mut set = literals(figures.clone());
    set.insert(FIGURES_OF, sprint);
    raw(&doc! { "q": { "milestone_id": sprint }, "u": [{ "$set": set }, tidy(kind)], "multi": true })
}

/// The statement that takes away the figures of another sprint, from those that are in this one.
pub(super) fn no_figures_update(sprint: i64) -> Result<RawDocumentBuf, StoreError> {
    let filter = doc! { "milestone_id": sprint, FIGURES_OF: { "$exists": true, "$ne": sprint } };
    raw(&doc! { "q": filter, "u": { "$unset": without_figures() }, "multi": true })
}

/// `$set` that nulls some fields.
pub(super) fn nulls(fields: &[&str]) -> Document {
    fields.iter().map(|field| ((*field).to_owned(), Bson::Null)).collect()
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
