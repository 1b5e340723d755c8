//! The statements of `update` and `delete` commands, as pure functions.
//!
//! Every filter repeats the comparison of registers, so a statement is right whenever it runs.

use std::sync::LazyLock;

use bson::raw::{CStr, cstr};
use bson::{Bson, Document, RawArrayBuf, RawBson, RawDocument, RawDocumentBuf, doc, rawdoc};
use worker_event::effect::{Key, Kind, Order};
use worker_event::normalise::unenriched;

use super::encode::{
    ACTION, EPIC_FIELDS, IN, LINKS, MILESTONE, MILESTONE_FIELDS, READ, STATE, STORY, action_fields, joined, key_filter,
    not_newer, nulls, older, order, raw, raw_order, raw_upsert, unencodable, up_to, upsert,
};
use super::error::StoreError;
use super::fold::{Batch, Gone, Link, Parent, State};
use super::memory::{Action, Version};

/// What a look-up adds to the stories and tasks of a milestone.
pub(super) const FIGURES: [&str; 6] = [
    "milestone_total_points",
    "milestone_closed_points",
    "milestone_total_userstories",
    "milestone_completed_userstories",
    "milestone_total_tasks",
    "milestone_completed_tasks",
];
/// The milestone whose figures a story or task shows.
const FIGURES_OF: &str = "_ld.figures";

/// A statement that changes all documents that match.
fn update(filter: Document, update: impl Into<Bson>) -> Result<RawDocumentBuf, StoreError> {
    raw(&doc! { "q": filter, "u": update.into(), "multi": true })
}

/// What a state's document shows of its milestone and its story, by the batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    fields: RawDocumentBuf,
    /// Stories and tasks: the milestone it is shown in, or null.
    pub(super) milestone: Option<Bson>,
    /// The order of being in that milestone.
    pub(super) in_it: Option<Order>,
    /// The order of what is shown of the milestone.
    pub(super) of_milestone: Option<Order>,
    /// Tasks: the order of what is shown of the story.
    pub(super) of_story: Option<Order>,
}

impl Shown {
    /// The newest that the batch says.
    pub(super) fn of(batch: &Batch, state: &State) -> Result<Self, StoreError> {
        let Some(own) = &state.milestone else { return Ok(Self::default()) };
        let (mut milestone, mut in_it) = (own, state.order);
        let mut shown = Self::default();
        if let Some(story) = &state.story {
            let version = state.story_id().and_then(|id| batch.version(&state.prj, &Parent::Story(id.clone())));
            let newer = version.filter(|(at, _)| story.is_closed.is_none() || *at > state.order);
            let (at, is_closed) = match newer {
                Some((at, view)) => (Some(*at), view.get("is_closed")),
                None => (story.is_closed.as_ref().map(|_| state.order), story.is_closed.as_ref()),
            };
            shown.of_story = at;
            let is_closed = RawBson::try_from(is_closed.cloned().unwrap_or(Bson::Null)).map_err(unencodable)?;
            shown.fields.append(cstr!("userstory_is_closed"), is_closed);
            if let Some((at, view)) = version.filter(|(at, _)| *at > state.order) {
                (milestone, in_it) = (view.get("milestone_id").unwrap_or(&Bson::Null), *at);
            }
        }
        let view = batch.version(&state.prj, &Parent::Milestone(milestone.clone()));
        let of_it = match view {
            Some((_, fields)) => raw(fields)?,
            None => {
                let mut only = nulls(&MILESTONE_FIELDS);
                only.insert("milestone_id", milestone);
                raw(&only)?
            }
        };
        shown.fields = joined(&[&shown.fields, &of_it])?;
        shown.of_milestone = if *milestone == Bson::Null { Some(in_it) } else { view.map(|(at, _)| *at) };
        (shown.milestone, shown.in_it) = (Some(milestone.clone()), Some(in_it));
        Ok(shown)
    }

    fn registers(&self) -> impl Iterator<Item = (&'static CStr, &'static CStr, Order)> {
        let all = [
            (cstr!("in"), cstr!("_ld.in"), self.in_it),
            (cstr!("milestone"), cstr!("_ld.milestone"), self.of_milestone),
            (cstr!("story"), cstr!("_ld.story"), self.of_story),
        ];
        all.into_iter().filter_map(|(name, path, at)| Some((name, path, at?)))
    }
}

/// The `_id` of a new document. It is derived from the natural key, so that two workers cannot insert a document twice
/// even without the unique index (in a collection that was dropped a moment ago).
fn document_id(kind: Kind, key: &Key) -> Bson {
    match key.as_slice() {
        [single] => single.clone(),
        _ => key_filter(kind, key).into(),
    }
}

/// Fields of a document that no event has set.
static UNENRICHED: LazyLock<Document> = LazyLock::new(unenriched);

fn untold(kind: Kind) -> Document {
    match kind {
        Kind::Commit => UNENRICHED.clone(),
        Kind::UserStory => nulls(&EPIC_FIELDS),
        _ => Document::new(),
    }
}

/// Which state is replaced: an older one, of a commit a newer one. A document without a state is not matched.
fn older_state(kind: Kind, at: Order) -> RawDocumentBuf {
    match kind {
        Kind::Commit => single(cstr!("$gt"), raw_order(at)),
        _ => single(cstr!("$lt"), raw_order(at)),
    }
}

/// What is not older than a state.
fn stale(state: &State) -> Document {
    match state.kind {
        Kind::Commit => doc! { "$lte": order(state.order) },
        _ => doc! { "$gte": order(state.order) },
    }
}

pub(super) fn state_upsert(
    state: &State,
    shown: &Shown,
    action: Option<&(Order, Document)>,
) -> Result<RawDocumentBuf, StoreError> {
    let mut filter = raw(&key_filter(state.kind, &state.key))?;
    // With the action in the same statement, the document must be older than both.
    let oldest = action.map_or(state.order, |(at, _)| state.order.min(*at));
    filter.append(cstr!("_ld.order"), older_state(state.kind, oldest));
    Ok(match state.kind {
        Kind::Row => raw_upsert(filter, row_update(state)?),
        _ => raw_upsert(filter, set_update(state, shown, action)?),
    })
}

/// All names are ours, so `$set` can name them; other registers of the document stay as they are.
fn set_update(state: &State, shown: &Shown, action: Option<&(Order, Document)>) -> Result<RawDocumentBuf, StoreError> {
    // The filter's equalities make them on insert; naming them twice is a conflict only when they differ.
    let mut set = shown_fields(state, shown, action)?;
    let mut on_insert = doc! { "_id": document_id(state.kind, &state.key) };
    match action {
        Some((at, _)) => set.append(cstr!("_ld.action"), raw_order(*at)),
        None => on_insert.extend(nulls(action_fields(state.kind))),
    }
    for (_, path, at) in shown.registers() {
        set.append(path, raw_order(at));
    }
    set.append(cstr!("_ld.order"), raw_order(state.order));
    set.append(cstr!("_ld.delivery"), state.delivery.as_str());
    let mut unset = Document::new();
    match state.read {
        Some(read) => set.append(cstr!("_ld.read"), raw_order(read)),
        None if matches!(state.kind, Kind::GithubIssue | Kind::PullRequest) => drop(unset.insert(READ, 1)),
        None => {}
    }
    if let Some(named) = state.named {
        set.append(cstr!("_ld.named"), raw_order(named));
    }
    if state.story.is_some() && shown.of_story.is_none() {
        unset.insert(STORY, 1);
    }
    if shown.milestone.is_some() && shown.of_milestone.is_none() {
        unset.insert(MILESTONE, 1);
    }
    if shown.milestone == Some(Bson::Null) {
        unset.extend(without_figures());
    }
    let mut update = RawDocumentBuf::new();
    update.append(cstr!("$set"), set);
    on_insert.extend(untold(state.kind));
    update.append(cstr!("$setOnInsert"), raw(&on_insert)?);
    if !unset.is_empty() {
        update.append(cstr!("$unset"), raw(&unset)?);
    }
    Ok(update)
}

/// What is ours in a document that nobody wrote before.
fn bookkeeping(state: &State, shown: &Shown) -> Result<RawDocumentBuf, StoreError> {
    let action = state.action.as_ref().map(|(at, _)| single(cstr!("action"), raw_order(*at)));
    joined(&[&registers(state, shown), &action.unwrap_or_default()])
}

/// What is ours of a state, without its action.
fn registers(state: &State, shown: &Shown) -> RawDocumentBuf {
    let mut ours = RawDocumentBuf::new();
    ours.append(cstr!("order"), raw_order(state.order));
    if let Some(read) = state.read {
        ours.append(cstr!("read"), raw_order(read));
    }
    if let Some(named) = state.named {
        ours.append(cstr!("named"), raw_order(named));
    }
    for (name, _, at) in shown.registers() {
        ours.append(name, raw_order(at));
    }
    ours.append(cstr!("delivery"), state.delivery.as_str());
    ours
}

/// A state and its action, for a statement that writes several ([`grouped`](super::grouped)).
pub(super) fn content(state: &State, shown: &Shown) -> Result<RawDocumentBuf, StoreError> {
    let mut content = rawdoc! {
        "state": joined(&[&state.fields, &shown.fields])?,
        "ours": registers(state, shown),
    };
    if let Some((at, action)) = &state.action {
        content.append(cstr!("action"), raw(action)?);
        content.append(cstr!("at"), raw_order(*at));
    }
    Ok(content)
}

/// What a state and an action show, together.
fn shown_fields(
    state: &State,
    shown: &Shown,
    action: Option<&(Order, Document)>,
) -> Result<RawDocumentBuf, StoreError> {
    let action = action.map(|(_, action)| raw(action)).transpose()?;
    let mut parts: Vec<&RawDocument> = vec![&state.fields, &shown.fields];
    parts.extend(action.as_deref());
    joined(&parts)
}

/// The document that a state inserts.
pub(super) fn document(state: &State, shown: &Shown) -> Result<RawDocumentBuf, StoreError> {
    let id = raw(&doc! { "_id": document_id(state.kind, &state.key) })?;
    let action = match &state.action {
        Some((_, action)) => raw(action)?,
        None => raw(&nulls(action_fields(state.kind)))?,
    };
    let ours = single(cstr!("_ld"), bookkeeping(state, shown)?);
    joined(&[&id, &state.fields, &shown.fields, &action, &raw(&untold(state.kind))?, &ours])
}

/// A state for a document that may have none yet: merged into the fields that are there.
pub(super) fn merge_into_existing(state: &State, shown: &Shown) -> Result<RawDocumentBuf, StoreError> {
    let mut filter = key_filter(state.kind, &state.key);
    filter.insert(STATE, doc! { "$not": stale(state) });
    if state.kind == Kind::Row {
        return upsert(&filter, row_update(state)?);
    }
    let mut merged = RawArrayBuf::new();
    let mut first = untold(state.kind);
    first.extend(nulls(action_fields(state.kind)));
    merged.push(raw(&first)?);
    merged.push("$$ROOT");
    merged.push(single(cstr!("$literal"), shown_fields(state, shown, state.action.as_ref())?));
    let ours = [RawBson::from("$_ld"), single(cstr!("$literal"), bookkeeping(state, shown)?).into()];
    let mut own = raw(&own_id(state.kind, &state.key))?;
    own.append(cstr!("_ld"), single(cstr!("$mergeObjects"), ours.into_iter().collect::<RawArrayBuf>()));
    merged.push(own);
    let mut stages = RawArrayBuf::new();
    stages.push(single(cstr!("$replaceWith"), single(cstr!("$mergeObjects"), merged)));
    if shown.milestone == Some(Bson::Null) {
        stages.push(raw(&doc! { "$unset": without_figures().keys().cloned().collect::<Vec<_>>() })?);
    }
    upsert(&filter, stages)
}

/// The newest action, beside a newer state.
pub(super) fn action_update(state: &State) -> Result<RawDocumentBuf, StoreError> {
    let mut filter = key_filter(state.kind, &state.key);
    let mut set = Document::new();
    if let Some((at, action)) = &state.action {
        filter.insert(ACTION, older(*at));
        filter.insert(STATE, doc! { "$gte": order(*at) });
        set.extend(action.clone());
        set.insert(ACTION, order(*at));
    }
    update(filter, doc! { "$set": set })
}

/// The newest action of a task that came back after it was deleted with its story.
pub(super) fn action_restored(mut key: Document, action: &Action) -> Result<RawDocumentBuf, StoreError> {
    key.insert(ACTION, older(action.at));
    let mut set = action.fields.clone();
    set.insert(ACTION, order(action.at));
    update(key, doc! { "$set": set })
}

/// The `_id` of a stored or new document, as a stage of a pipeline sets it.
fn own_id(kind: Kind, key: &Key) -> Document {
    doc! { "_id": { "$ifNull": ["$_id", { "$literal": document_id(kind, key) }] } }
}

/// Users choose a row's field names (`hours_a.b$c`), and `$set` would read them as paths. So a literal replaces the
/// document.
fn row_update(state: &State) -> Result<RawArrayBuf, StoreError> {
    let mut literal = state.fields.clone();
    literal.append(cstr!("_ld"), bookkeeping(state, &Shown::default())?);
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

/// A story's link, on any document. It commutes with every other: for each epic the newest state, the newest creation
/// and the newest name remain, and the story shows what follows from them.
pub(super) fn link_upsert(link: &Link, name: Option<&(Order, Document)>) -> Result<RawDocumentBuf, StoreError> {
    let links = doc! { "$ifNull": [format!("${LINKS}"), []] };
    let epic = doc! { "$literal": link.epic.clone() };
    let of_it = |operator: &str| doc! { "$filter": { "input": links.clone(), "cond": { operator: ["$$this.epic", epic.clone()] } } };
    let newest = |field: &str, at: Option<Order>| {
        let held = format!("$$held.{field}");
        match at {
            Some(at) => doc! { "$max": [held, order(at)] },
            None => doc! { "$ifNull": [held, null] },
        }
    };
    let named = |field: &str, shown: &str| match name {
        Some((at, view)) => doc! { "$cond": [
            { "$lt": ["$$held.named", order(*at)] },
            { "$literal": view.get(shown).cloned().unwrap_or(Bson::Null) },
            format!("$$held.{field}"),
        ] },
        None => doc! { "$ifNull": [format!("$$held.{field}"), null] },
    };
    let merged = doc! {
        "epic": epic.clone(),
        "told": newest("told", Some(link.told)),
        "created": newest("created", link.created),
        "named": newest("named", name.map(|(at, _)| *at)),
        "name": named("name", "epic_name"),
        "reference": named("reference", "epic_reference"),
    };
    let held = doc! { "$ifNull": [{ "$first": of_it("$eq") }, {}] };
    let links = doc! { "$let": { "vars": { "held": held }, "in": { "$concatArrays": [of_it("$ne"), [merged]] } } };
    let mut set = own_id(Kind::UserStory, &vec![link.story.clone()]);
    set.insert("userstory_id", doc! { "$literal": link.story.clone() });
    set.insert("prj", doc! { "$literal": link.prj.as_str() });
    set.insert(LINKS, links);
    let stages = Bson::Array(vec![doc! { "$set": set }.into(), show_epic().into()]);
    upsert(&doc! { "userstory_id": link.story.clone() }, RawBson::try_from(stages).map_err(unencodable)?)
}

/// The stage that shows the link that was created last. Links that no webhook created are older, and ordered by their
/// epic: null sorts before every order.
fn show_epic() -> Document {
    let key = doc! { "c": "$$this.created", "e": "$$this.epic", "n": "$$this.name", "r": "$$this.reference" };
    let last = doc! { "$max": { "$map": { "input": format!("${LINKS}"), "in": key } } };
    let field = |name: &str| doc! { "$let": { "vars": { "last": last.clone() }, "in": { "$ifNull": [format!("$$last.{name}"), null] } } };
    doc! { "$set": { "epic_id": field("e"), "epic_name": field("n"), "epic_reference": field("r") } }
}

/// A newer name of an epic, on the stories that are linked to it.
pub(super) fn epic_shown(
    mut filter: Document,
    epic: &Bson,
    version: &Version,
    since: Order,
) -> Result<RawDocumentBuf, StoreError> {
    filter.insert(LINKS, doc! { "$elemMatch": { "epic": epic.clone(), "named": older(since) } });
    let field = |name: &str| doc! { "$literal": version.fields.get(name).cloned().unwrap_or(Bson::Null) };
    let newer = doc! { "named": order(version.at), "name": field("epic_name"), "reference": field("epic_reference") };
    let is_older = doc! { "$and": [
        { "$eq": ["$$this.epic", { "$literal": epic.clone() }] },
        { "$lt": ["$$this.named", order(version.at)] },
    ] };
    let renamed = doc! { "$cond": [is_older, { "$mergeObjects": ["$$this", newer] }, "$$this"] };
    let links = doc! { "$set": { LINKS: { "$map": { "input": format!("${LINKS}"), "in": renamed } } } };
    update(filter, vec![links, show_epic()])
}

/// The links of some stories to an epic, up to an order.
pub(super) fn links_gone(mut filter: Document, epic: &Bson, at: Order) -> Result<RawDocumentBuf, StoreError> {
    let elements =
        ["told", "created"].map(|field| doc! { LINKS: { "$elemMatch": { "epic": epic.clone(), field: up_to(at) } } });
    filter.insert("$or", elements.to_vec());
    update(filter, vec![links_after(Some(epic), at), show_epic()])
}

/// The stage that keeps of the links, or of those to one epic, the ones newer than the deletion.
fn links_after(epic: Option<&Bson>, at: Order) -> Document {
    let other = epic.map(|epic| doc! { "$ne": ["$$this.epic", { "$literal": epic.clone() }] });
    let keep = |newer: Document| match &other {
        Some(other) => doc! { "$or": [other.clone(), newer] },
        None => newer,
    };
    let is_newer = |field: &str| keep(doc! { "$gt": [format!("$$this.{field}"), order(at)] });
    let rest = doc! { "$filter": { "input": { "$ifNull": [format!("${LINKS}"), []] }, "cond": is_newer("told") } };
    let created = doc! { "$cond": [is_newer("created"), "$$this.created", null] };
    let uncreated = doc! { "$mergeObjects": ["$$this", { "created": created }] };
    doc! { "$set": { LINKS: { "$map": { "input": rest, "in": uncreated } } } }
}

/// The filter of empty stories: no state, and no link.
pub(super) fn nothing_left(mut filter: Document) -> Document {
    filter.insert(STATE, doc! { "$exists": false });
    filter.insert(LINKS, Vec::<Bson>::new());
    filter
}

/// The filter of a story all of whose registers a deletion removes.
pub(super) fn wholly_gone(story: &Bson, at: Order) -> Document {
    doc! { "userstory_id": story.clone(), STATE: not_newer(at), "_ld.links.told": not_newer(at) }
}

/// Removes from a story what a deletion covers, and keeps the rest.
pub(super) fn story_gone(story: &Bson, at: Order) -> Result<RawDocumentBuf, StoreError> {
    let links = ["told", "created"].map(|field| doc! { LINKS: { "$elemMatch": { field: up_to(at) } } });
    let any = [doc! { STATE: up_to(at) }, doc! { ACTION: up_to(at) }].into_iter().chain(links);
    let filter = doc! { "userstory_id": story.clone(), "$or": any.collect::<Vec<_>>() };
    let is_gone = |path: &str| {
        let path = format!("${path}");
        doc! { "$and": [{ "$gt": [path.clone(), null] }, { "$lte": [path, order(at)] }] }
    };
    let stub = doc! {
        "_id": "$_id", "userstory_id": "$userstory_id", "prj": "$prj", "_ld": { "links": format!("${LINKS}") },
    };
    let mut without = doc! { "_ld": { "$unsetField": { "field": "action", "input": "$_ld" } } };
    without.extend(nulls(action_fields(Kind::UserStory)));
    let without = doc! { "$cond": [is_gone(ACTION), { "$mergeObjects": ["$$ROOT", without] }, "$$ROOT"] };
    let left = doc! { "$replaceWith": { "$cond": [is_gone(STATE), stub, without] } };
    update(filter, vec![links_after(None, at), left, show_epic()])
}

/// The filters of the document that a deletion removes.
pub(super) fn entity_gone(key: &Document, gone: Gone) -> Vec<Document> {
    let mut filters = Vec::new();
    if let Some(at) = gone.at {
        let mut filter = key.clone();
        filter.insert(STATE, not_newer(at));
        filter.insert(READ, not_newer(at));
        filters.push(filter);
    }
    if let Some(at) = gone.superseded {
        let mut filter = key.clone();
        filter.insert(STATE, not_newer(at));
        filters.push(filter);
    }
    filters
}

/// Removes an action that is older than the entity's deletion.
pub(super) fn action_gone(kind: Kind, mut key: Document, at: Order) -> Result<RawDocumentBuf, StoreError> {
    key.insert(ACTION, up_to(at));
    update(key, doc! { "$set": nulls(action_fields(kind)), "$unset": { ACTION: 1 } })
}

/// A milestone's view, on documents in it that show an older version.
pub(super) fn milestone_shown(
    mut filter: Document,
    id: &Bson,
    version: &Version,
    since: Order,
) -> Result<RawDocumentBuf, StoreError> {
    filter.insert("milestone_id", id.clone());
    filter.insert(MILESTONE, older(since));
    let mut set = version.fields.clone();
    set.insert(MILESTONE, order(version.at));
    update(filter, doc! { "$set": set })
}

/// A milestone's deletion, on documents that were in it then.
pub(super) fn milestone_gone(mut filter: Document, id: &Bson, at: Order) -> Result<RawDocumentBuf, StoreError> {
    filter.insert("milestone_id", id.clone());
    filter.insert(IN, not_newer(at));
    update(filter, doc! { "$set": nulls(&MILESTONE_FIELDS), "$unset": without_figures() })
}

/// Whether its story is closed, on tasks that show an older version.
pub(super) fn story_shown(
    mut filter: Document,
    story: &Bson,
    version: &Version,
    since: Order,
) -> Result<RawDocumentBuf, StoreError> {
    filter.insert("userstory_id", story.clone());
    filter.insert(STORY, older(since));
    let is_closed = version.fields.get("is_closed").cloned().unwrap_or(Bson::Null);
    update(filter, doc! { "$set": { "userstory_is_closed": is_closed, STORY: order(version.at) } })
}

/// The milestone of its story, on tasks whose membership is older. `view`: the milestone's view, `None` when the story
/// is in none or in a deleted one.
pub(super) fn follow_story(
    mut filter: Document,
    story: &Bson,
    version: &Version,
    since: Order,
    view: Option<&Version>,
) -> Result<RawDocumentBuf, StoreError> {
    filter.insert("userstory_id", story.clone());
    filter.insert(IN, older(since));
    let mut set = nulls(&MILESTONE_FIELDS);
    set.extend(view.map(|view| view.fields.clone()).unwrap_or_default());
    set.insert(IN, order(version.at));
    set.insert(MILESTONE, order(view.map_or(version.at, |view| view.at)));
    let mut change = doc! { "$set": set };
    if view.is_none() {
        change.insert("$unset", without_figures());
    }
    update(filter, change)
}

/// Fields as a stage of a pipeline sets them: their content is never read as an expression.
fn literals(fields: Document) -> Document {
    fields.into_iter().map(|(name, value)| (name, doc! { "$literal": value }.into())).collect()
}

/// `$unset` of a milestone's figures: a document in no milestone shows none.
fn without_figures() -> Document {
    let mut unset = nulls(&FIGURES);
    unset.insert(FIGURES_OF, Bson::Null);
    unset
}

/// The statement that writes a milestone's figures on the stories, or tasks, that are in it.
pub(super) fn figures_update(milestone: i64, figures: &Document) -> Result<RawDocumentBuf, StoreError> {
    let mut set = literals(figures.clone());
    set.insert(FIGURES_OF, milestone);
    update(doc! { "milestone_id": milestone }, vec![doc! { "$set": set }])
}

/// The statement that removes the figures of another milestone from those that are in this one.
pub(super) fn no_figures_update(milestone: i64) -> Result<RawDocumentBuf, StoreError> {
    let filter = doc! { "milestone_id": milestone, FIGURES_OF: { "$exists": true, "$ne": milestone } };
    update(filter, doc! { "$unset": without_figures() })
}
