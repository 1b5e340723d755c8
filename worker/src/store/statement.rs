//! The statements of `update` and `delete` commands, as pure functions.
//!
//! Every filter repeats the comparison of registers, so that a statement is right whenever it runs.
//!
//! The fields of a document stand in one order, whichever statements made it: the natural key, then the rest by
//! name. That is what `$set` makes of a document that was not there; [`document`] inserts in the same order, and
//! what adds fields to a document that is there ends with [`tidy`]. (A row's fields stand as they were made:
//! nothing is ever added to it.)

use std::slice;
use std::sync::LazyLock;

use bson::raw::{CStr, cstr};
use bson::{Bson, Document, RawArrayBuf, RawBson, RawDocumentBuf, doc};

use super::command::StoreError;
use super::fold::{Link, State, entity_id};
use super::memory::read_order;
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
pub(crate) const MILESTONE_FIELDS: [&str; 7] = [
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

/// A statement of an `update` command that makes a document where none matches.
pub(super) fn upsert(filter: &Document, update: impl Into<RawBson>) -> Result<RawDocumentBuf, StoreError> {
    let mut statement = RawDocumentBuf::new();
    statement.append(cstr!("q"), raw(filter)?);
    statement.append(cstr!("u"), update.into());
    statement.append(cstr!("upsert"), true);
    Ok(statement)
}

/// A document as bytes, in as much room as they take.
pub(super) fn packed(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    let mut bytes = raw(document)?.into_bytes();
    bytes.shrink_to_fit();
    RawDocumentBuf::from_bytes(bytes).map_err(unencodable)
}

/// A document as bytes.
pub(super) fn raw(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    RawDocumentBuf::try_from(document).map_err(unencodable)
}

fn unencodable(error: impl ToString) -> StoreError {
    StoreError::Command { code: 0, error: error.to_string() }
}

/// All key fields of all kinds, of which a document has its own, and as of when what it shows is.
pub(super) fn registers() -> Document {
    let mut projection = doc! { "_id": 0, STATE: 1, LINK: 1 };
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

fn state_upsert(state: &State) -> Result<RawDocumentBuf, StoreError> {
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
fn document(state: &State) -> Result<RawDocumentBuf, StoreError> {
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
fn join(state: &State) -> Result<RawDocumentBuf, StoreError> {
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
    let mut own_id = raw(&own_id(state.kind, &state.key))?;
    own_id.append(cstr!("_ld"), single(cstr!("$mergeObjects"), ours.into_iter().collect::<RawArrayBuf>()));
    merged.push(own_id);
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

fn link_upsert(link: &Link) -> Result<RawDocumentBuf, StoreError> {
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
mod tests {
    use super::*;

    const AT: Order = Order { t: 5, s: 7 };

    fn example(kind: Kind, key: Key) -> State {
        let fields = raw(&doc! { "hours_a.b$c": 1, "prj": "P" }).unwrap();
        let (prj, delivery) = ("P".to_owned(), "d".to_owned());
        State { prj, kind, key, order: AT, fields, milestone: None, story: None, delivery, event: 0, fresh: true }
    }

    fn example_of(kind: Kind) -> State {
        example(kind, kind.key_fields().iter().map(|field| Bson::from(*field)).collect())
    }

    fn example_link() -> Link {
        let fields = doc! { "epic_id": 5 };
        Link { prj: "P".into(), story: 8.into(), epic: 5.into(), order: AT, fields, event: 0 }
    }

    fn read(raw: &RawDocumentBuf) -> Document {
        raw.try_into().unwrap()
    }

    #[test]
    fn a_write_is_stale_exactly_where_it_does_not_apply() {
        let states = Kind::ALL.map(example_of);
        let link = example_link();
        let (older, newer) = (Order { t: 5, s: 6 }, Order { t: 6, s: 0 });
        let joins = states.iter().map(Write::Join);
        for write in states.iter().map(Write::State).chain(joins).chain([Write::Link(&link)]) {
            let beside = |at: Order| {
                let order = doc! { "order": order(at) };
                write.is_stale_beside(&match write {
                    Write::State(_) | Write::Join(_) => doc! { "_ld": order },
                    Write::Link(_) => doc! { "_ld": { "link": order } },
                })
            };
            let statement = read(&write.upsert().unwrap());
            let at = || order(AT);
            let (register, condition, stale) = match write {
                Write::State(state) if state.kind == Kind::Commit => (STATE, doc! { "$gt": at() }, [true, true, false]),
                Write::State(_) => (STATE, doc! { "$lt": at() }, [false, true, true]),
                Write::Join(state) if state.kind == Kind::Commit => {
                    (STATE, doc! { "$not": { "$lte": at() } }, [true, true, false])
                }
                Write::Join(_) => (STATE, doc! { "$not": { "$gte": at() } }, [false, true, true]),
                Write::Link(_) => (LINK, doc! { "$not": { "$gte": at() } }, [false, true, true]),
            };
            assert_eq!(statement.get_document("q").unwrap().get_document(register).unwrap(), &condition);
            assert_eq!([older, AT, newer].map(beside), stale, "{statement}");
            let other = doc! { "_ld": { "enriched": 1 } };
            assert!(!write.is_stale_beside(&other), "a document without the register is older than everything");
        }
    }

    #[test]
    fn a_state_joins_a_document_that_has_none_and_replaces_an_older_one() {
        let story = example(Kind::UserStory, vec![8.into()]);
        let met = |found: Document| Write::State(&story).beside(&found);
        assert!(matches!(met(doc! { "_ld": { "link": {} } }), Write::Join(_)));
        assert!(matches!(met(doc! {}), Write::Join(_)));
        let again = Write::Join(&story).beside(&doc! { "_ld": { "order": order(AT) } });
        assert!(matches!(again, Write::State(_)), "somebody else's state came in between");
    }

    #[test]
    fn fields_are_inserted_in_the_order_in_which_set_makes_them() {
        let mut state = example(Kind::GithubIssue, vec!["o/r".into(), 17.into()]);
        state.fields = raw(&doc! { "prj": "P", "repo_name": "o/r", "action": "x", "issue_id": 17 }).unwrap();
        let inserted = read(&document(&state).unwrap());
        assert_eq!(inserted.keys().collect::<Vec<_>>(), ["_id", "issue_id", "repo_name", "action", "prj", "_ld"]);
        let first = tidy(Kind::GithubIssue);
        let first = first.get_document("$replaceWith").unwrap().get_array("$mergeObjects").unwrap()[0].clone();
        assert_eq!(first.as_document().unwrap().keys().collect::<Vec<_>>(), ["_id", "issue_id", "repo_name"]);
    }

    #[test]
    fn a_newer_state_makes_no_link_stale_nor_a_newer_link_a_state() {
        let (story, link) = (example(Kind::UserStory, vec![8.into()]), example_link());
        let newer = doc! { "order": { "t": 9_i64, "s": 9_i64 } };
        assert!(!Write::Link(&link).is_stale_beside(&doc! { "_ld": newer.clone() }));
        assert!(!Write::State(&story).is_stale_beside(&doc! { "_ld": { "link": newer } }));
    }

    #[test]
    fn documents_are_looked_for_by_their_keys() {
        let tasks = [1, 2].map(|id| example(Kind::Task, vec![id.into()]));
        assert_eq!(documents_of(&tasks.each_ref().map(Write::State)), doc! { "task_id": { "$in": [1, 2] } });
        let issues = [("o/r", 1), ("o/s", 1), ("o/r", 2)];
        let issues = issues.map(|(repo, id)| example(Kind::GithubIssue, vec![repo.into(), id.into()]));
        let of = |repo: &str, ids: &[i32]| doc! { "repo_name": repo, "issue_id": { "$in": ids } };
        assert_eq!(
            documents_of(&issues.each_ref().map(Write::State)),
            doc! { "$or": [of("o/r", &[1, 2]), of("o/s", &[1])] }
        );
    }

    #[test]
    fn only_a_commit_gives_way_to_an_older_state() {
        for kind in Kind::ALL {
            let operator = if kind == Kind::Commit { "$lte" } else { "$gte" };
            assert_eq!(stale(&example_of(kind)), doc! { operator: { "t": 5_i64, "s": 7_i64 } }, "{kind:?}");
        }
    }

    #[test]
    fn a_document_is_recognised_by_its_key_and_numbers_by_their_value() {
        let state = example(Kind::GithubIssue, vec!["o/r".into(), 17.into()]);
        let write = Write::State(&state);
        for number in [Bson::Int32(17), Bson::Int64(17), Bson::Double(17.0)] {
            assert_eq!(write.id_of(&doc! { "repo_name": "o/r", "issue_id": number }), Some(write.id()));
        }
        for other in
            [doc! { "repo_name": "o/r", "issue_id": "17" }, doc! { "repo_name": "o/s", "issue_id": 17 }, doc! {}]
        {
            assert_ne!(write.id_of(&other), Some(write.id()), "{other}");
        }
    }

    #[test]
    fn what_is_looked_up_is_enough_to_recognise_a_document_of_any_kind() {
        let projection = registers();
        assert!(Kind::ALL.iter().flat_map(|kind| kind.key_fields()).all(|field| projection.contains_key(*field)));
    }

    #[test]
    fn peoples_words_are_never_read_as_paths() {
        let row = read(&Write::State(&example(Kind::Row, vec!["a1".into()])).upsert().unwrap());
        let stages = row.get_array("u").unwrap();
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
        story.milestone = Some(Bson::Null);
        let statement = read(&Write::State(&story).upsert().unwrap());
        let update = statement.get_document("u").unwrap();
        assert_eq!(update.get_document("$set").unwrap().get(SPRINT), Some(&order(AT).into()));
        assert!(update.get_document("$unset").unwrap().contains_key(FIGURES_OF), "in no sprint, no figures");
    }

    #[test]
    fn only_what_one_state_makes_can_be_inserted() {
        for kind in Kind::ALL {
            let document = read(&Write::State(&example_of(kind)).document().unwrap().unwrap());
            assert_eq!(document.get("_id"), Some(&document_id(kind, &example_of(kind).key)));
            assert_eq!(document.get_document("_ld").unwrap().get("order"), Some(&order(AT).into()));
            assert_eq!(document.contains_key("stats"), kind == Kind::Commit);
        }
        assert_eq!(Write::Link(&example_link()).document().unwrap(), None);
    }
}
