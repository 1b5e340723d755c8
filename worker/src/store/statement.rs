//! The statements of `update` and `delete` commands, as pure functions.
//!
//! Every filter repeats the comparison of registers, so that a statement is right whenever it runs.

use bson::{Bson, Document, RawDocumentBuf, doc};

use super::command::StoreError;
use super::fold::{Link, State, whole};
use crate::effect::{Key, Kind, Order};
use crate::normalise::unenriched;

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
pub(super) const MILESTONE_FIELDS: [&str; 7] = [
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
pub(super) const FIGURES_OF: &str = "_ld.figures";

/// One statement of an `update` command, with what is needed to tell whether it is stale.
#[derive(Debug)]
pub(super) struct Statement {
    document: Document,
    key: Document,
    stale: Document,
}

impl Statement {
    /// An unconditional update (or upsert) of one document.
    pub(super) fn update(filter: Document, update: Document, upsert: bool) -> Self {
        let key = filter.clone();
        Self { document: doc! { "q": filter, "u": update, "upsert": upsert }, key, stale: Document::new() }
    }

    /// As bytes, to be sent.
    pub(super) fn raw(&self) -> Result<RawDocumentBuf, StoreError> {
        raw(&self.document)
    }

    /// Matches the statement's document when it is at least as new as the statement would make it.
    pub(super) fn at_least_as_new(&self) -> Document {
        let mut filter = self.key.clone();
        filter.extend(self.stale.clone());
        filter
    }

    /// Whether a document found by [`key_projection`] is the statement's. Numbers compare by value.
    pub(super) fn is_about(&self, found: &Document) -> bool {
        self.key.iter().all(|(name, value)| found.get(name).is_some_and(|other| same_key(value, other)))
    }
}

/// A document as bytes.
pub(super) fn raw(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    RawDocumentBuf::try_from(document).map_err(|error| StoreError::Command { code: 0, error: error.to_string() })
}

fn same_key(a: &Bson, b: &Bson) -> bool {
    a == b || whole(a).zip(whole(b)).is_some_and(|(a, b)| a == b)
}

/// All key fields of all kinds; a document has those of its own.
pub(super) fn key_projection() -> Document {
    let mut projection = doc! { "_id": 0 };
    projection.extend(Kind::ALL.iter().flat_map(|kind| kind.key_fields()).map(|field| ((*field).to_owned(), 1.into())));
    projection
}

/// An order as MongoDB compares it: field by field.
pub(super) fn order(order: Order) -> Document {
    doc! { "t": order.t, "s": order.s }
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

/// Upserts an entity's state unless the document is at least as new (of a commit: at least as old).
pub(super) fn state(state: &State) -> Statement {
    let key = key_filter(state.kind, &state.key);
    let (apply_if, stale) = match state.kind {
        Kind::Commit => (doc! { "$not": { "$lte": order(state.order) } }, doc! { "$lte": order(state.order) }),
        _ => (older(state.order), doc! { "$gte": order(state.order) }),
    };
    let mut filter = key.clone();
    filter.insert(STATE, apply_if);
    let id = document_id(state.kind, &state.key);
    let update = match state.kind {
        Kind::Row => row_update(state, id),
        _ => set_update(state, id).into(),
    };
    Statement { document: doc! { "q": filter, "u": update, "upsert": true }, key, stale: doc! { STATE: stale } }
}

/// All names are ours, so `$set` can name them; other registers of the document stay as they are.
fn set_update(state: &State, id: Bson) -> Document {
    let mut set = state.fields.clone();
    if let Some(milestone) = &state.milestone {
        set.extend(milestone.clone());
        set.insert(SPRINT, order(state.order));
    }
    // The filter's equalities make them on insert; naming them twice is a conflict only when they differ.
    set.insert(STATE, order(state.order));
    set.insert("_ld.delivery", state.delivery.as_str());
    let mut on_insert = doc! { "_id": id };
    if state.kind == Kind::Commit {
        on_insert.extend(unenriched());
    }
    let mut update = doc! { "$set": set, "$setOnInsert": on_insert };
    if state.milestone.as_ref().is_some_and(|milestone| milestone.get("milestone_id") == Some(&Bson::Null)) {
        update.insert("$unset", without_figures());
    }
    update
}

/// A row's names are people's words (`hours_a.b$c`), which `$set` would take for paths: the document is
/// replaced by a literal instead.
fn row_update(state: &State, id: Bson) -> Bson {
    let mut literal = state.fields.clone();
    literal.insert("_ld", doc! { "order": order(state.order), "delivery": state.delivery.as_str() });
    let keep_id = doc! { "_id": { "$ifNull": ["$_id", { "$literal": id }] } };
    Bson::Array(vec![doc! { "$replaceWith": { "$mergeObjects": [keep_id, { "$literal": literal }] } }.into()])
}

/// Upserts a story's link unless the document has one at least as new.
pub(super) fn link(link: &Link) -> Statement {
    let key = doc! { "userstory_id": link.story.clone() };
    let mut filter = key.clone();
    filter.insert(LINK, older(link.order));
    let mut set = link.fields.clone();
    set.insert("prj", link.prj.as_str());
    set.insert("_ld.link", doc! { "order": order(link.order), "epic": link.epic.clone() });
    let update = doc! { "$set": set, "$setOnInsert": { "_id": link.story.clone() } };
    Statement {
        document: doc! { "q": filter, "u": update, "upsert": true },
        key,
        stale: doc! { LINK: { "$gte": order(link.order) } },
    }
}

/// `$unset` of a sprint's figures: whoever is in no sprint shows none.
pub(super) fn without_figures() -> Document {
    let mut unset = nulls(&FIGURES);
    unset.insert(FIGURES_OF, Bson::Null);
    unset
}

/// `$set` that nulls some fields.
pub(super) fn nulls(fields: &[&str]) -> Document {
    fields.iter().map(|field| ((*field).to_owned(), Bson::Null)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Order = Order { t: 5, s: 7 };

    fn example(kind: Kind, key: Key) -> State {
        let fields = doc! { "hours_a.b$c": 1, "prj": "P" };
        let (prj, delivery) = ("P".to_owned(), "d".to_owned());
        State { prj, kind, key, order: AT, fields, milestone: None, story: None, delivery, event: 0 }
    }

    fn examples() -> Vec<Statement> {
        let of_kind = |kind: Kind| {
            let key = kind.key_fields().iter().map(|field| Bson::from(*field)).collect();
            super::state(&example(kind, key))
        };
        let link = Link {
            prj: "P".into(),
            story: 8.into(),
            epic: 5.into(),
            order: AT,
            fields: doc! { "epic_id": 5 },
            event: 0,
        };
        Kind::ALL.into_iter().map(of_kind).chain([super::link(&link)]).collect()
    }

    #[test]
    fn a_statement_is_stale_exactly_where_it_does_not_apply() {
        for statement in examples() {
            let applies = statement.document.get_document("q").unwrap();
            let stale = statement.at_least_as_new();
            assert_eq!(applies.len(), stale.len());
            for (name, condition) in applies {
                let other = stale.get(name).unwrap();
                let is_key = statement.key.contains_key(name);
                let expected = if is_key { other.clone() } else { doc! { "$not": other.clone() }.into() };
                assert_eq!(*condition, expected, "{name} of {}", statement.document);
            }
        }
    }

    #[test]
    fn only_a_commit_gives_way_to_an_older_state() {
        for (kind, statement) in Kind::ALL.into_iter().zip(examples()) {
            let condition = statement.stale.get_document(STATE).unwrap();
            let operator = if kind == Kind::Commit { "$lte" } else { "$gte" };
            assert_eq!(condition, &doc! { operator: { "t": 5_i64, "s": 7_i64 } }, "{kind:?}");
        }
    }

    #[test]
    fn a_document_is_recognised_by_its_key_and_numbers_by_their_value() {
        let statement = super::state(&example(Kind::GithubIssue, vec!["o/r".into(), 17.into()]));
        for number in [Bson::Int32(17), Bson::Int64(17), Bson::Double(17.0)] {
            assert!(statement.is_about(&doc! { "repo_name": "o/r", "issue_id": number }));
        }
        for other in
            [doc! { "repo_name": "o/r", "issue_id": "17" }, doc! { "repo_name": "o/s", "issue_id": 17 }, doc! {}]
        {
            assert!(!statement.is_about(&other), "{other}");
        }
    }

    #[test]
    fn what_is_looked_up_is_enough_to_recognise_a_document_of_any_kind() {
        let projection = key_projection();
        assert!(Kind::ALL.iter().flat_map(|kind| kind.key_fields()).all(|field| projection.contains_key(*field)));
    }

    #[test]
    fn peoples_words_are_never_read_as_paths() {
        let row = super::state(&example(Kind::Row, vec!["a1".into()]));
        let stages = row.document.get_array("u").unwrap();
        let merged = stages[0].as_document().unwrap().get_document("$replaceWith").unwrap();
        let literal =
            merged.get_array("$mergeObjects").unwrap()[1].as_document().unwrap().get_document("$literal").unwrap();
        assert_eq!(literal.get("hours_a.b$c"), Some(&Bson::Int32(1)));
    }

    #[test]
    fn a_documents_id_follows_from_its_natural_key() {
        assert_eq!(document_id(Kind::Task, &vec![17.into()]), Bson::Int32(17));
        let both = doc! { "repo_name": "o/r", "issue_id": 17 };
        assert_eq!(document_id(Kind::GithubIssue, &vec!["o/r".into(), 17.into()]), Bson::Document(both));
    }

    #[test]
    fn milestone_fields_are_as_of_the_state_they_came_with() {
        let mut story = example(Kind::UserStory, vec![8.into()]);
        story.milestone = Some(nulls(&MILESTONE_FIELDS));
        let set = super::state(&story).document.get_document("u").unwrap().get_document("$set").unwrap().clone();
        assert_eq!(set.get(SPRINT), Some(&order(AT).into()));
        assert!(MILESTONE_FIELDS.iter().all(|field| set.get(*field) == Some(&Bson::Null)));
    }
}
