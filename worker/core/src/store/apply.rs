//! Step 4: applies deletions and sprints to documents.
//!
//! Two ways lead here. A deletion or sprint *of this batch* is applied to everything it concerns; one
//! that was *found* for a document this batch wrote is applied to that document.

use std::collections::HashMap;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::Database;

use super::{COMMANDS, Obstacles};
use super::command;
use super::error::StoreError;
use super::fold::{Batch, Deletion, Link, State, Target, entity_id, link_id, sprint_id};
use super::memory::{self, KnownSprint, read_order};
use super::encode::{order, raw};
use super::statement::{
    EPIC_FIELDS, LINK, LINK_EPIC, MILESTONE_FIELDS, SPRINT, STATE, key_filter, not_newer, nulls, older, tidy,
    without_figures,
};
use worker_event::effect::{Kind, Order};

/// The state of a task whose document has none of ours: older than anything told.
const BEFORE_ALL: Order = Order { t: i64::MIN, s: i64::MIN };

/// Applies what is remembered to what was written, and what was remembered to what is there.
pub(super) async fn settle(db: &Database, batch: &Batch, obstacles: &Obstacles) -> Result<(), StoreError> {
    let (gone, sprints) =
        futures::try_join!(memory::deletions(db, deletion_ids(batch)), memory::sprints(db, sprint_ids(batch)),)?;
    let mut work = Work::default();
    for deletion in batch.deletions.values() {
        work.deletion(db, deletion).await?;
    }
    for sprint in batch.sprints.values() {
        let known = KnownSprint { state: sprint.state.clone(), gone: sprint.gone };
        for kind in [Kind::UserStory, Kind::Task] {
            work.sprint(kind.collection(&sprint.prj), &Document::new(), &sprint.id, &known)?;
        }
    }
    for state in batch.states.values() {
        work.written_state(state, &gone, &sprints)?;
    }
    for link in batch.links.values() {
        work.written_link(link, &gone)?;
    }
    work.send(db, obstacles).await
}

/// The deletions that could concern what the batch wrote.
fn deletion_ids(batch: &Batch) -> Vec<String> {
    let mut ids = Vec::new();
    for (id, state) in &batch.states {
        if !matches!(state.kind, Kind::Commit | Kind::Row) {
            ids.push(id.clone());
        }
        ids.extend(story_id(state));
    }
    for (id, link) in &batch.links {
        ids.push(id.clone());
        ids.push(entity_id(Kind::Epic, &link.prj, std::slice::from_ref(&link.epic)));
        ids.push(link_id(&link.prj, &link.story, &link.epic));
    }
    ids
}

fn sprint_ids(batch: &Batch) -> Vec<String> {
    batch.states.values().filter_map(|state| Some(sprint_id(&state.prj, milestone_of(state)?))).collect()
}

/// The sprint a story or task is in.
fn milestone_of(state: &State) -> Option<&Bson> {
    state.milestone.as_ref().filter(|id| **id != Bson::Null)
}

/// The deletion of the story that a task hangs from.
fn story_id(state: &State) -> Option<String> {
    let story = state.story.as_ref().filter(|story| **story != Bson::Null)?;
    Some(entity_id(Kind::UserStory, &state.prj, std::slice::from_ref(story)))
}

/// Statements per collection, and deletions of tasks that a story takes with it.
#[derive(Default)]
struct Work {
    updates: HashMap<String, Vec<RawDocumentBuf>>,
    deletes: HashMap<String, Vec<RawDocumentBuf>>,
    task_deletions: Vec<(String, String, Order)>,
}

impl Work {
    fn update(&mut self, collection: String, filter: Document, update: impl Into<Bson>) -> Result<(), StoreError> {
        let statement = raw(&doc! { "q": filter, "u": update.into(), "multi": true })?;
        self.updates.entry(collection).or_default().push(statement);
        Ok(())
    }

    fn delete(&mut self, collection: String, filter: Document) -> Result<(), StoreError> {
        self.deletes.entry(collection).or_default().push(raw(&doc! { "q": filter, "limit": 0 })?);
        Ok(())
    }

    /// A deletion of this batch, on all it concerns.
    async fn deletion(&mut self, db: &Database, deletion: &Deletion) -> Result<(), StoreError> {
        let Deletion { prj, target, order: at } = deletion;
        match target {
            Target::Entity(Kind::UserStory, key) => {
                self.story_gone(prj, &doc! { "userstory_id": key.first().cloned().unwrap_or(Bson::Null) }, *at)?;
                for (task, known) in tasks_of(db, prj, key.first(), *at).await? {
                    self.task_gone(prj, &task, known)?;
                }
            }
            Target::Entity(Kind::Epic, key) => {
                self.entity_gone(Kind::Epic, prj, key_filter(Kind::Epic, key), *at)?;
                let epic = key.first().cloned().unwrap_or(Bson::Null);
                self.links_gone(prj, Document::new(), epic, *at)?;
            }
            Target::Entity(kind, key) => self.entity_gone(*kind, prj, key_filter(*kind, key), *at)?,
            Target::Link { story, epic } => {
                self.links_gone(prj, doc! { "userstory_id": story.clone() }, epic.clone(), *at)?;
            }
        }
        Ok(())
    }

    /// A document this batch wrote: is it deleted, or its sprint known better?
    fn written_state(
        &mut self,
        state: &State,
        gone: &HashMap<String, Order>,
        sprints: &HashMap<String, KnownSprint>,
    ) -> Result<(), StoreError> {
        let deleted = |id: &String| gone.get(id).copied().filter(|at| *at >= state.order);
        let key = key_filter(state.kind, &state.key);
        if let Some(at) = deleted(&entity_id(state.kind, &state.prj, &state.key)) {
            match state.kind {
                Kind::UserStory => self.story_gone(&state.prj, &key, at)?,
                kind => self.entity_gone(kind, &state.prj, key.clone(), at)?,
            }
        }
        if story_id(state).as_ref().and_then(deleted).is_some()
            && let Some(task) = state.key.first()
        {
            self.task_gone(&state.prj, task, state.order)?;
        }
        if let Some(id) = milestone_of(state)
            && let Some(known) = sprints.get(&sprint_id(&state.prj, id))
        {
            self.sprint(state.kind.collection(&state.prj), &key, id, known)?;
        }
        Ok(())
    }

    /// A link this batch wrote: is its story, its epic or the link itself deleted?
    fn written_link(&mut self, link: &Link, gone: &HashMap<String, Order>) -> Result<(), StoreError> {
        let deleted = |id: String| gone.get(&id).copied().filter(|at| *at >= link.order);
        let key = doc! { "userstory_id": link.story.clone() };
        if let Some(at) = deleted(entity_id(Kind::UserStory, &link.prj, std::slice::from_ref(&link.story))) {
            self.story_gone(&link.prj, &key, at)?;
        }
        let epic = deleted(entity_id(Kind::Epic, &link.prj, std::slice::from_ref(&link.epic)));
        let itself = deleted(link_id(&link.prj, &link.story, &link.epic));
        if let Some(at) = epic.max(itself) {
            self.links_gone(&link.prj, key, link.epic.clone(), at)?;
        }
        Ok(())
    }

    fn entity_gone(&mut self, kind: Kind, prj: &str, mut filter: Document, at: Order) -> Result<(), StoreError> {
        filter.insert(STATE, not_newer(at));
        self.delete(kind.collection(prj), filter)
    }

    /// A story has two registers, its state and its link; the deletion takes each that is not newer.
    fn story_gone(&mut self, prj: &str, key: &Document, at: Order) -> Result<(), StoreError> {
        let collection = Kind::UserStory.collection(prj);
        let with = |state: Document, link: Document| {
            let mut filter = key.clone();
            filter.extend([(STATE.to_owned(), state.into()), (LINK.to_owned(), link.into())]);
            filter
        };
        let (newer, present) = (doc! { "$gt": order(at) }, doc! { "$lte": order(at) });
        self.delete(collection.clone(), with(not_newer(at), not_newer(at)))?;
        let mut stub = doc! { "_id": "$_id", "userstory_id": "$userstory_id", "prj": "$prj" };
        stub.extend(EPIC_FIELDS.iter().map(|field| ((*field).to_owned(), format!("${field}").into())));
        stub.insert("_ld", doc! { "link": "$_ld.link" });
        let replace = Bson::Array(vec![doc! { "$replaceWith": stub }.into(), tidy(Kind::UserStory).into()]);
        self.update(collection.clone(), with(present.clone(), newer.clone()), replace)?;
        let mut unset = nulls(&EPIC_FIELDS);
        unset.insert("_ld.link", Bson::Null);
        self.update(collection, with(newer, present), doc! { "$unset": unset })
    }

    /// Clears links to an epic that are not newer; the register stays, so that an older link stays stale.
    fn links_gone(&mut self, prj: &str, mut filter: Document, epic: Bson, at: Order) -> Result<(), StoreError> {
        filter.insert(LINK_EPIC, epic);
        filter.insert(LINK, doc! { "$lte": order(at) });
        filter.insert("epic_id", doc! { "$ne": Bson::Null });
        self.update(Kind::UserStory.collection(prj), filter, doc! { "$set": nulls(&EPIC_FIELDS) })
    }

    /// A task that went with its story. It is remembered as of *its own* state: a newer state, which may
    /// have moved it to another story, is not concerned; an older one must not bring it back.
    fn task_gone(&mut self, prj: &str, task: &Bson, known: Order) -> Result<(), StoreError> {
        let key = vec![task.clone()];
        self.task_deletions.push((entity_id(Kind::Task, prj, &key), prj.to_owned(), known));
        self.entity_gone(Kind::Task, prj, key_filter(Kind::Task, &key), known)
    }

    /// A sprint's deletion and newest state, on the documents of a collection that are in it.
    fn sprint(&mut self, collection: String, key: &Document, id: &Bson, known: &KnownSprint) -> Result<(), StoreError> {
        let in_it = |register: &str, condition: Document| {
            let mut filter = key.clone();
            filter.insert("milestone_id", id.clone());
            filter.insert(register, condition);
            filter
        };
        if let Some(at) = known.gone {
            let mut set = nulls(&MILESTONE_FIELDS);
            set.insert(SPRINT, order(at));
            let update = doc! { "$set": set, "$unset": without_figures() };
            self.update(collection.clone(), in_it(STATE, not_newer(at)), update)?;
        }
        if let Some((at, fields)) = &known.state {
            let mut set = fields.clone();
            set.insert(SPRINT, order(*at));
            self.update(collection, in_it(SPRINT, older(*at)), doc! { "$set": set })?;
        }
        Ok(())
    }

    /// Sends everything: what must be remembered, then deletes, then updates.
    ///
    /// A story's deletion is a delete and updates, and the delete must come first: where it does not match,
    /// a newer register is there, or comes with a document of its own, and the updates find it. The other
    /// way round a newer register that came between them would keep the older one alive.
    async fn send(self, db: &Database, obstacles: &Obstacles) -> Result<(), StoreError> {
        let deletions = self.task_deletions.iter().map(|(id, prj, at)| (id.as_str(), prj.as_str(), *at));
        memory::remember_deletions(db, deletions).await?;
        futures::stream::iter(self.deletes.into_iter().map(Ok))
            .try_for_each_concurrent(COMMANDS, |(collection, statements)| async move {
                obstacles.note(command::delete(db, &collection, &statements).await).map(drop)
            })
            .await?;
        futures::stream::iter(self.updates.into_iter().map(Ok))
            .try_for_each_concurrent(COMMANDS, |(collection, statements)| async move {
                obstacles.note(update_all(db, &collection, &statements).await).map(drop)
            })
            .await
    }
}

/// The tasks that hang from a story, each with the order of its state, unless newer than the deletion.
async fn tasks_of(db: &Database, prj: &str, story: Option<&Bson>, at: Order) -> Result<Vec<(Bson, Order)>, StoreError> {
    let filter = doc! { "userstory_id": story.cloned().unwrap_or(Bson::Null), STATE: not_newer(at) };
    let found =
        command::find(db, &Kind::Task.collection(prj), filter, doc! { "_id": 0, "task_id": 1, STATE: 1 }).await?;
    let read = |task: &Document| {
        let known = task.get_document("_ld").ok().and_then(|ld| ld.get("order")).and_then(read_order);
        Some((task.get("task_id")?.clone(), known.unwrap_or(BEFORE_ALL)))
    };
    Ok(found.iter().filter_map(read).collect())
}

/// For statements that cannot fail by themselves.
async fn update_all(db: &Database, collection: &str, statements: &[RawDocumentBuf]) -> Result<(), StoreError> {
    match command::update(db, collection, statements).await?.into_iter().next() {
        Some(failure) => Err(failure.into_error(db, collection).await),
        None => Ok(()),
    }
}
