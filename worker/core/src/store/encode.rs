//! Documents and orders as MongoDB stores them, and the fields of `_ld` that say what a document was made from.
//!
//! ```text
//! _ld: {
//!   order      order of its own state (of a commit, the oldest; else the newest)
//!   read       GitHub, of a state read from the API: when it was read
//!   named      GitHub: the rename by which the repository has this name
//!   action     order of `action_type`, `assigned_by` (GitHub: `action`, `sender_info`)
//!   in         stories and tasks: order of being in their milestone
//!   milestone  … order of what they show of it
//!   story      tasks: order of `userstory_is_closed`
//!   links      stories: [{epic, told, created, named, name, reference}], one for each epic that the story is in
//!   delivery   the delivery of its state
//! }
//! ```

use bson::raw::cstr;
use bson::{Bson, Document, RawBson, RawDocument, RawDocumentBuf, doc, rawdoc};
use worker_event::effect::{Key, Kind, Order};

use super::error::StoreError;

pub(super) const STATE: &str = "_ld.order";
pub(super) const READ: &str = "_ld.read";
pub(super) const ACTION: &str = "_ld.action";
pub(super) const IN: &str = "_ld.in";
pub(super) const MILESTONE: &str = "_ld.milestone";
pub(super) const STORY: &str = "_ld.story";
pub(super) const LINKS: &str = "_ld.links";

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

/// What only a webhook of the entity itself contains.
pub(super) const fn action_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::GithubIssue | Kind::PullRequest => &["action", "sender_info"],
        Kind::UserStory | Kind::Task | Kind::TaigaIssue | Kind::Epic => &["action_type", "assigned_by"],
        Kind::Commit | Kind::Row => &[],
    }
}

/// An upserting statement of an `update` command.
pub(super) fn upsert(filter: &Document, update: impl Into<RawBson>) -> Result<RawDocumentBuf, StoreError> {
    Ok(raw_upsert(raw(filter)?, update))
}

/// The same of a filter as bytes.
pub(super) fn raw_upsert(filter: RawDocumentBuf, update: impl Into<RawBson>) -> RawDocumentBuf {
    let mut statement = RawDocumentBuf::new();
    statement.append(cstr!("q"), filter);
    statement.append(cstr!("u"), update.into());
    statement.append(cstr!("upsert"), true);
    statement
}

/// A document as bytes, without spare capacity.
pub(super) fn packed(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    let mut bytes = raw(document)?.into_bytes();
    bytes.shrink_to_fit();
    RawDocumentBuf::from_bytes(bytes).map_err(unencodable)
}

/// A document as bytes.
pub(super) fn raw(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    RawDocumentBuf::try_from(document).map_err(unencodable)
}

/// The fields of several documents, one after the other, as one document. They are not looked at: names must differ.
pub(super) fn joined(parts: &[&RawDocument]) -> Result<RawDocumentBuf, StoreError> {
    /// The length before the fields, and the NUL behind them.
    const FRAME: usize = 5;
    let length = parts.iter().map(|part| part.as_bytes().len() - FRAME).sum::<usize>() + FRAME;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(i32::try_from(length).map_err(unencodable)?.to_le_bytes());
    for part in parts {
        bytes.extend_from_slice(&part.as_bytes()[FRAME - 1..part.as_bytes().len() - 1]);
    }
    bytes.push(0);
    RawDocumentBuf::from_bytes(bytes).map_err(unencodable)
}

pub(super) fn unencodable(error: impl ToString) -> StoreError {
    StoreError::Unstorable { code: 0, error: error.to_string() }
}

/// An order as MongoDB compares it: field by field.
pub(super) fn order(order: Order) -> Document {
    doc! { "t": order.t, "s": order.s, "r": order.r }
}

/// The same as bytes: a tenth of the allocations, where each event has some of them.
pub(super) fn raw_order(order: Order) -> RawDocumentBuf {
    rawdoc! { "t": order.t, "s": order.s, "r": order.r }
}

/// Reads an order. Earlier versions wrote no depth of nested objects; MongoDB sorts a missing depth before all others.
pub(super) fn read_order(value: &Bson) -> Option<Order> {
    let document = value.as_document()?;
    let number = |name| match document.get(name) {
        Some(Bson::Int64(n)) => Some(*n),
        Some(Bson::Int32(n)) => Some(i64::from(*n)),
        _ => None,
    };
    Some(Order { t: number("t")?, s: number("s")?, r: number("r").unwrap_or(i64::MIN) })
}

/// `… < o`, or absent.
pub(super) fn older(o: Order) -> Document {
    doc! { "$not": { "$gte": order(o) } }
}

/// `… ≤ o`, or absent.
pub(super) fn not_newer(o: Order) -> Document {
    doc! { "$not": { "$gt": order(o) } }
}

/// `… ≤ o`, and there.
pub(super) fn up_to(o: Order) -> Document {
    doc! { "$lte": order(o) }
}

/// The filter by natural key.
pub(super) fn key_filter(kind: Kind, key: &Key) -> Document {
    kind.key_fields().iter().map(|field| (*field).to_owned()).zip(key.iter().cloned()).collect()
}

/// `$set` that nulls some fields.
pub(super) fn nulls(fields: &[&str]) -> Document {
    fields.iter().map(|field| ((*field).to_owned(), Bson::Null)).collect()
}

/// `taiga_TeamA.tasks/17`: names an entity beside its document.
pub(super) fn entity_id(kind: Kind, prj: &str, key: &[Bson]) -> String {
    let mut id = kind.collection(prj);
    for part in key {
        id.push('/');
        push_key(&mut id, part);
    }
    id
}

/// `taiga_TeamA.userstories/8/epic/5`: names a link.
pub(super) fn link_id(prj: &str, story: &Bson, epic: &Bson) -> String {
    let mut id = entity_id(Kind::UserStory, prj, std::slice::from_ref(story));
    id.push_str("/epic/");
    push_key(&mut id, epic);
    id
}

/// Numbers bare and strings quoted, so that 17 and "17" stay different.
pub(super) fn push_key(id: &mut String, part: &Bson) {
    match part {
        Bson::Int32(n) => id.push_str(&n.to_string()),
        Bson::Int64(n) => id.push_str(&n.to_string()),
        // Programs in other languages write other number types; MongoDB compares numbers by value.
        Bson::Double(n) if n.fract() == 0.0 && n.abs() < 9e15 => id.push_str(&format!("{n:.0}")),
        Bson::String(text) => {
            id.push('"');
            id.push_str(text);
            id.push('"');
        }
        other => id.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_documents_have_the_fields_of_all() {
        let (a, b, empty) = (doc! { "a": 1, "b": { "c": [true] } }, doc! { "d": "text" }, Document::new());
        let parts = [&a, &empty, &b].map(|document| raw(document).unwrap());
        let joined = joined(&parts.each_ref().map(|part| part.as_ref())).unwrap();
        let mut all = a;
        all.extend(b);
        assert_eq!(Document::try_from(joined).unwrap(), all);
    }
}
