//! Reads `ld_…` collections, and brings the documents that they concern up to date.
//!
//! There are two cases. A deletion or a view *of this batch* is applied to all documents that it concerns; one that was
//! *read* for a document of this batch is applied to that document.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::slice;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::{StreamExt as _, TryStreamExt as _};
use mongodb::Database;
use worker_event::effect::{Kind, Order};

use super::command::{self, COMMANDS};
use super::encode::{
    ACTION, IN, STATE, action_fields, entity_id, key_filter, link_id, not_newer, order, raw, read_order,
};
use super::error::StoreError;
use super::fold::{Batch, Deletion, Gone, Link, Parent, State, Target, View};
use super::memory::{self, Action, KnownView, StoredDeletion, Version};
use super::obstacles::Obstacles;
use super::statement::{
    Shown, action_gone, action_restored, entity_gone, epic_shown, follow_story, links_gone, milestone_gone,
    milestone_shown, nothing_left, story_gone, story_shown, wholly_gone,
};

/// The state of a task whose document we did not write: older than every event.
const BEFORE_ALL: Order = Order { t: i64::MIN, s: i64::MIN, r: i64::MIN };

/// How often a milestone that tasks were moved into is read again.
const ROUNDS: usize = 20;

/// Applies stored deletions and views to what was written, and new ones to what is stored.
pub(super) async fn settle(
    db: &Database,
    batch: &Batch,
    shown: &HashMap<String, Shown>,
    obstacles: &Obstacles,
) -> Result<(), StoreError> {
    let known = Known::look(db, batch, shown).await?;
    let mut work = Work::new(&known);
    for deletion in batch.deletions.values() {
        work.deletion(db, deletion).await?;
    }
    for (id, view) in &batch.views {
        work.apply_view(id, view)?;
    }
    for (id, state) in &batch.states {
        work.written_state(id, state, shown.get(id))?;
    }
    for link in batch.links.values() {
        work.written_link(link, batch)?;
    }
    let (spread, relies_on) = (std::mem::take(&mut work.spread), std::mem::take(&mut work.relies_on));
    let has_moved = work.send(db, obstacles).await?;
    if has_moved {
        follow_up(db, relies_on, obstacles).await?;
    }
    // A blocked document was not brought up to date.
    if obstacles.is_empty() { memory::mark_spread(db, &spread).await } else { Ok(()) }
}

/// Tasks that were moved into a milestone show the view that was read before. Another worker may have written a newer
/// view and updated its tasks before these were moved. So the view is read again afterwards.
async fn follow_up(
    db: &Database,
    mut relied_on: BTreeMap<String, Reliance>,
    obstacles: &Obstacles,
) -> Result<(), StoreError> {
    for _ in 0..ROUNDS {
        let known = Known { views: memory::views(db, relied_on.keys().cloned().collect()).await?, ..Known::default() };
        relied_on.retain(|id, reliance| known.views.get(id).map(state_of) != Some(reliance.state));
        if relied_on.is_empty() {
            return Ok(());
        }
        let mut work = Work::new(&known);
        for (id, reliance) in &mut relied_on {
            let Some(view) = known.views.get(id) else { continue };
            reliance.state = state_of(view);
            let tasks = Kind::Task.collection(&reliance.prj);
            if let Some(version) = &view.version {
                work.update(tasks.clone(), milestone_shown(Document::new(), &reliance.milestone, version, version.at)?);
            }
            if let Some(at) = view.gone {
                work.update(tasks, milestone_gone(Document::new(), &reliance.milestone, at)?);
            }
        }
        work.send(db, obstacles).await?;
    }
    Err(StoreError::Outage(format!("other workers changed the same milestones {ROUNDS} times in a row")))
}

/// The orders of a view's newest version and of its deletion.
fn state_of(view: &KnownView) -> (Option<Order>, Option<Order>) {
    (view.version.as_ref().map(|version| version.at), view.gone)
}

/// A milestone that tasks are moved into.
#[derive(Debug)]
struct Reliance {
    prj: String,
    milestone: Bson,
    state: (Option<Order>, Option<Order>),
}

/// What is stored about everything that a batch concerns.
#[derive(Debug, Default)]
struct Known {
    gone: HashMap<String, StoredDeletion>,
    views: HashMap<String, KnownView>,
    /// Of milestones that the batch deletes, the stories that later events put into them.
    still_in: HashMap<String, Vec<Bson>>,
}

impl Known {
    async fn look(db: &Database, batch: &Batch, shown: &HashMap<String, Shown>) -> Result<Self, StoreError> {
        let still_in = still_in(db, batch).await?;
        let mut ids: BTreeMap<String, &str> =
            batch.views.iter().map(|(id, view)| (id.clone(), view.prj.as_str())).collect();
        for (id, state) in &batch.states {
            let milestone = shown.get(id).and_then(|shown| shown.milestone.clone());
            let milestone = milestone.filter(|id| *id != Bson::Null).map(Parent::Milestone);
            let story = state.story_id().cloned().map(Parent::Story);
            ids.extend(
                [milestone, story].into_iter().flatten().map(|parent| (parent.id(&state.prj), state.prj.as_str())),
            );
        }
        for link in batch.links.values() {
            ids.insert(Parent::Epic(link.epic.clone()).id(&link.prj), &link.prj);
        }
        for (id, stories) in &still_in {
            let Some(view) = batch.views.get(id) else { continue };
            ids.extend(stories.iter().map(|story| (Parent::Story(story.clone()).id(&view.prj), view.prj.as_str())));
        }
        let (gone, mut views) = futures::try_join!(
            memory::deletions(db, deletion_ids(batch)),
            memory::views(db, ids.keys().cloned().collect()),
        )?;
        // The milestones of stories, for their tasks.
        let milestone = |(id, view): (&String, &KnownView)| {
            let milestone = milestone_in(view.version.as_ref()?)?;
            // A milestone's view is its own.
            Some(Parent::Milestone(milestone.clone()).id(ids.get(id)?))
        };
        let more: BTreeSet<String> = views.iter().filter_map(milestone).filter(|id| !views.contains_key(id)).collect();
        views.extend(memory::views(db, more).await?);
        Ok(Self { gone, views, still_in })
    }

    fn view(&self, prj: &str, parent: &Parent) -> Option<&KnownView> {
        self.views.get(&parent.id(prj))
    }

    fn version(&self, prj: &str, parent: &Parent) -> Option<&Version> {
        self.view(prj, parent)?.version.as_ref()
    }

    /// The milestone that a version of a story is in.
    fn milestone_of(&self, prj: &str, story: &Version) -> Option<&KnownView> {
        self.view(prj, &Parent::Milestone(milestone_in(story)?.clone()))
    }

    fn gone(&self, id: &str) -> Gone {
        self.gone.get(id).map(|deletion| deletion.gone).unwrap_or_default()
    }
}

/// The id of the milestone that a version of a story is in.
fn milestone_in(story: &Version) -> Option<&Bson> {
    story.fields.get("milestone_id").filter(|id| **id != Bson::Null)
}

/// The deletions that may concern what the batch wrote.
fn deletion_ids(batch: &Batch) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (id, state) in &batch.states {
        if !matches!(state.kind, Kind::Commit | Kind::Row) {
            ids.insert(id.clone());
        }
        ids.extend(state.story_id().map(|story| entity_id(Kind::UserStory, &state.prj, slice::from_ref(story))));
    }
    for (id, link) in &batch.links {
        ids.insert(id.clone());
        ids.insert(entity_id(Kind::UserStory, &link.prj, slice::from_ref(&link.story)));
        ids.insert(entity_id(Kind::Epic, &link.prj, slice::from_ref(&link.epic)));
    }
    ids
}

/// Statements by collection, and what is stored in `ld_…` before and after them.
#[derive(Debug)]
struct Work<'k> {
    known: &'k Known,
    /// Deletions of tasks that are deleted with their story.
    tasks: Vec<(String, String, StoredDeletion)>,
    deletes: HashMap<String, Vec<RawDocumentBuf>>,
    updates: HashMap<String, Vec<RawDocumentBuf>>,
    /// Updates that move tasks to another milestone.
    moves: HashMap<String, Vec<RawDocumentBuf>>,
    /// Deletes of documents that updates left empty.
    remains: HashMap<String, Vec<RawDocumentBuf>>,
    /// Up to which version the documents that show a view are up to date afterwards.
    spread: HashMap<String, Order>,
    /// The milestones that tasks are moved into.
    relies_on: BTreeMap<String, Reliance>,
}

impl<'k> Work<'k> {
    fn new(known: &'k Known) -> Self {
        Self {
            known,
            tasks: Vec::new(),
            deletes: HashMap::new(),
            updates: HashMap::new(),
            moves: HashMap::new(),
            remains: HashMap::new(),
            spread: HashMap::new(),
            relies_on: BTreeMap::new(),
        }
    }

    fn update(&mut self, collection: String, statement: RawDocumentBuf) {
        self.updates.entry(collection).or_default().push(statement);
    }

    fn delete(&mut self, collection: String, filter: Document) -> Result<(), StoreError> {
        self.deletes.entry(collection).or_default().push(raw(&doc! { "q": filter, "limit": 0 })?);
        Ok(())
    }

    /// Deletes stories that updates left empty.
    fn delete_remains(&mut self, prj: &str, filter: Document) -> Result<(), StoreError> {
        let statement = raw(&doc! { "q": nothing_left(filter), "limit": 0 })?;
        self.remains.entry(Kind::UserStory.collection(prj)).or_default().push(statement);
        Ok(())
    }

    /// A deletion of this batch, on all documents that it concerns.
    async fn deletion(&mut self, db: &Database, deletion: &Deletion) -> Result<(), StoreError> {
        let Deletion { prj, target, gone } = deletion;
        match target {
            Target::Entity(kind, key) => {
                self.entity_gone(*kind, prj, key, *gone)?;
                let (Some(id), Some(at)) = (key.first(), gone.at) else { return Ok(()) };
                match kind {
                    Kind::UserStory => {
                        for (task, known, action) in tasks_of(db, prj, id, at).await? {
                            self.task_gone(prj, &task, known, action)?;
                        }
                    }
                    Kind::Epic => self.links_gone(prj, Document::new(), id, at)?,
                    _ => {}
                }
            }
            Target::Link { story, epic } => {
                let Some(at) = gone.at else { return Ok(()) };
                self.links_gone(prj, doc! { "userstory_id": story.clone() }, epic, at)?;
            }
        }
        Ok(())
    }

    fn entity_gone(&mut self, kind: Kind, prj: &str, key: &[Bson], gone: Gone) -> Result<(), StoreError> {
        let collection = kind.collection(prj);
        if kind == Kind::UserStory {
            let (Some(story), Some(at)) = (key.first(), gone.at) else { return Ok(()) };
            self.delete(collection.clone(), wholly_gone(story, at))?;
            self.update(collection, story_gone(story, at)?);
            return self.delete_remains(prj, doc! { "userstory_id": story.clone() });
        }
        let key = key_filter(kind, &key.to_vec());
        for filter in entity_gone(&key, gone) {
            self.delete(collection.clone(), filter)?;
        }
        if let Some(at) = gone.ends_actions(kind) {
            self.update(collection, action_gone(kind, key, at)?);
        }
        Ok(())
    }

    fn links_gone(&mut self, prj: &str, stories: Document, epic: &Bson, at: Order) -> Result<(), StoreError> {
        self.update(Kind::UserStory.collection(prj), links_gone(stories.clone(), epic, at)?);
        self.delete_remains(prj, stories)
    }

    /// A task that is deleted with its story. The deletion has the order of the task's *own* state: a newer state,
    /// which may have moved it to another story, is not concerned; an older one must not restore it.
    fn task_gone(&mut self, prj: &str, task: &Bson, known: Order, action: Option<Action>) -> Result<(), StoreError> {
        let deletion = StoredDeletion { gone: Gone { at: None, superseded: Some(known) }, action };
        self.tasks.push((entity_id(Kind::Task, prj, slice::from_ref(task)), prj.to_owned(), deletion));
        self.delete(Kind::Task.collection(prj), doc! { "task_id": task.clone(), STATE: not_newer(known) })
    }

    /// A view of the batch, on all documents that show an older version.
    fn apply_view(&mut self, id: &str, view: &View) -> Result<(), StoreError> {
        let Some(known) = self.known.views.get(id) else { return Ok(()) };
        let prj = view.prj.as_str();
        let both = [Kind::UserStory, Kind::Task].map(|kind| kind.collection(prj));
        let all = Document::new;
        let version = known.version.as_ref().filter(|_| view.version.is_some());
        if let Some(version) = version.filter(|version| !version.is_spread) {
            match &view.parent {
                Parent::Milestone(milestone) => {
                    for collection in both.clone() {
                        self.update(collection, milestone_shown(all(), milestone, version, version.since)?);
                    }
                }
                Parent::Epic(epic) => {
                    self.update(Kind::UserStory.collection(prj), epic_shown(all(), epic, version, version.since)?);
                }
                Parent::Story(story) => self.story_view(prj, all(), story, version, version.since)?,
            }
            self.spread.insert(id.to_owned(), version.since);
        }
        if let (Some(version), Parent::Story(story)) = (version, &view.parent) {
            if known.differs {
                self.differing_tasks(prj, story, version)?;
            }
            // The deletion took out tasks that show an older version of the story, although this one is newer.
            if self.known.milestone_of(prj, version).is_some_and(|milestone| milestone.gone.is_some()) {
                self.follow(prj, all(), story, version, version.at)?;
            }
        }
        if let (Some(at), Some(_), Parent::Milestone(milestone)) = (known.gone, view.gone, &view.parent) {
            for collection in both {
                self.update(collection, milestone_gone(all(), milestone, at)?);
            }
            for story in self.known.still_in.get(id).into_iter().flatten() {
                if let Some(version) = self.known.version(prj, &Parent::Story(story.clone())) {
                    self.follow(prj, all(), story, version, version.at)?;
                }
            }
        }
        Ok(())
    }

    /// A story's view, on tasks that show an older version.
    fn story_view(
        &mut self,
        prj: &str,
        tasks: Document,
        story: &Bson,
        version: &Version,
        since: Order,
    ) -> Result<(), StoreError> {
        self.update(Kind::Task.collection(prj), story_shown(tasks.clone(), story, version, since)?);
        self.follow(prj, tasks, story, version, since)
    }

    /// A story's view, on tasks that show something that is no version of it.
    fn differing_tasks(&mut self, prj: &str, story: &Bson, version: &Version) -> Result<(), StoreError> {
        let other = |field: &str, shown: &str| {
            doc! { shown: { "$ne": version.fields.get(field).cloned().unwrap_or(Bson::Null) } }
        };
        let closed = other("is_closed", "userstory_is_closed");
        self.update(Kind::Task.collection(prj), story_shown(closed, story, version, version.at)?);
        self.follow(prj, other("milestone_id", "milestone_id"), story, version, version.at)
    }

    /// Moves tasks to the milestone of their story. Tasks that an earlier attempt moved may show an older view.
    fn follow(
        &mut self,
        prj: &str,
        tasks: Document,
        story: &Bson,
        version: &Version,
        since: Order,
    ) -> Result<(), StoreError> {
        let known = self.known;
        let milestone = milestone_in(version);
        let parent = milestone.map(|id| Parent::Milestone(id.clone()));
        let view = known.milestone_of(prj, version);
        let shown =
            view.and_then(|view| view.version.as_ref().filter(|_| view.gone.is_none_or(|gone| gone < version.at)));
        let mut statements = vec![follow_story(tasks, story, version, since, shown)?];
        if let (Some(id), Some(parent), Some(view)) = (milestone, &parent, view) {
            let of_story = || doc! { "userstory_id": story.clone() };
            if let Some(version) = &view.version {
                statements.push(milestone_shown(of_story(), id, version, version.since)?);
            }
            if let Some(at) = view.gone {
                statements.push(milestone_gone(of_story(), id, at)?);
            }
            let reliance = Reliance { prj: prj.to_owned(), milestone: id.clone(), state: state_of(view) };
            self.relies_on.insert(parent.id(prj), reliance);
        }
        self.moves.entry(Kind::Task.collection(prj)).or_default().extend(statements);
        Ok(())
    }

    /// For a document of this batch: is it deleted, or is there a newer view of what it shows?
    fn written_state(&mut self, id: &str, state: &State, shown: Option<&Shown>) -> Result<(), StoreError> {
        let (prj, kind) = (state.prj.as_str(), state.kind);
        let gone = self.known.gone(id);
        if gone.takes(state) {
            return self.entity_gone(kind, prj, &state.key, gone);
        }
        let last = gone.ends_actions(kind);
        if let (Some((at, _)), Some(last)) = (&state.action, last)
            && *at <= last
        {
            self.update(kind.collection(prj), action_gone(kind, key_filter(kind, &state.key), last)?);
        }
        if let Some(action) = self.known.gone.get(id).and_then(|deletion| deletion.action.as_ref())
            && Some(action.at) > last
        {
            self.update(kind.collection(prj), action_restored(key_filter(kind, &state.key), action)?);
        }
        let Some(shown) = shown else { return Ok(()) };
        let key = key_filter(kind, &state.key);
        if let Some(milestone) = shown.milestone.as_ref().filter(|id| **id != Bson::Null)
            && let Some(known) = self.known.view(prj, &Parent::Milestone(milestone.clone()))
        {
            if let Some(version) = &known.version
                && shown.of_milestone < Some(version.since)
            {
                self.update(kind.collection(prj), milestone_shown(key.clone(), milestone, version, version.since)?);
            }
            if let Some(at) = known.gone.filter(|at| shown.in_it <= Some(*at)) {
                self.update(kind.collection(prj), milestone_gone(key.clone(), milestone, at)?);
            }
        }
        if let (Some(story), Some(task)) = (state.story_id(), state.key.first()) {
            let of_story = entity_id(Kind::UserStory, prj, slice::from_ref(story));
            if self.known.gone(&of_story).at.is_some_and(|at| at >= state.seen()) {
                let action = state.action.clone().map(|(at, fields)| Action { at, fields });
                return self.task_gone(prj, task, state.order, action);
            }
            if let Some(known) = self.known.view(prj, &Parent::Story(story.clone()))
                && let Some(version) = &known.version
            {
                // A task that shows no version of the view, or whose shown view was deleted, may need an update too.
                let is_odd = known.differs || shown.milestone_is_gone(self.known, prj);
                let since = if is_odd { version.at } else { version.since };
                if shown.of_story < Some(since) {
                    self.update(Kind::Task.collection(prj), story_shown(key.clone(), story, version, since)?);
                }
                if shown.in_it < Some(since) {
                    self.follow(prj, key, story, version, since)?;
                }
            }
        }
        Ok(())
    }

    /// For a link of this batch: is its story, its epic or the link itself deleted, or is the epic's name newer?
    fn written_link(&mut self, link: &Link, batch: &Batch) -> Result<(), StoreError> {
        let prj = link.prj.as_str();
        let takes = |id: String| {
            let at = self.known.gone(&id).at?;
            (at >= link.told || link.created.is_some_and(|created| at >= created)).then_some(at)
        };
        let story = takes(entity_id(Kind::UserStory, prj, slice::from_ref(&link.story)));
        let epic = takes(entity_id(Kind::Epic, prj, slice::from_ref(&link.epic)));
        let itself = takes(link_id(prj, &link.story, &link.epic));
        let key = doc! { "userstory_id": link.story.clone() };
        if let Some(at) = story {
            self.entity_gone(
                Kind::UserStory,
                prj,
                slice::from_ref(&link.story),
                Gone { at: Some(at), superseded: None },
            )?;
        }
        if let Some(at) = epic.max(itself) {
            self.links_gone(prj, key.clone(), &link.epic, at)?;
        }
        let parent = Parent::Epic(link.epic.clone());
        let named = batch.version(prj, &parent).map(|(at, _)| *at);
        if let Some(version) = self.known.version(prj, &parent).filter(|version| named < Some(version.since)) {
            self.update(Kind::UserStory.collection(prj), epic_shown(key, &link.epic, version, version.since)?);
        }
        Ok(())
    }

    /// Sends everything: `ld_deletions` first; deletes; updates; and deletes of what the updates left empty. Returns
    /// whether tasks were moved to another milestone.
    async fn send(self, db: &Database, obstacles: &Obstacles) -> Result<bool, StoreError> {
        let tasks = self.tasks.iter().map(|(id, prj, deletion)| (id.as_str(), prj.as_str(), deletion.clone()));
        memory::remember_deletions(db, tasks).await?;
        delete_all(db, self.deletes, obstacles).await?;
        update_all(db, self.updates, obstacles).await?;
        let moved = update_all(db, self.moves, obstacles).await?;
        delete_all(db, self.remains, obstacles).await?;
        Ok(moved > 0)
    }
}

impl Shown {
    fn milestone_is_gone(&self, known: &Known, prj: &str) -> bool {
        let milestone = self.milestone.as_ref().filter(|id| **id != Bson::Null);
        milestone.is_some_and(|id| {
            let known = known.view(prj, &Parent::Milestone(id.clone()));
            known.and_then(|known| known.gone).is_some_and(|at| self.in_it <= Some(at))
        })
    }
}

type Statements = HashMap<String, Vec<RawDocumentBuf>>;

async fn delete_all(db: &Database, statements: Statements, obstacles: &Obstacles) -> Result<(), StoreError> {
    futures::stream::iter(statements.into_iter().map(Ok))
        .try_for_each_concurrent(COMMANDS, |(collection, statements)| async move {
            obstacles.note(command::delete(db, &collection, &statements).await).map(drop)
        })
        .await
}

/// Returns how many documents matched.
async fn update_all(db: &Database, statements: Statements, obstacles: &Obstacles) -> Result<i64, StoreError> {
    let commands = statements
        .into_iter()
        .map(|(collection, statements)| async move { obstacles.note(update(db, &collection, &statements).await) });
    let matched: Vec<Option<i64>> = futures::stream::iter(commands).buffer_unordered(COMMANDS).try_collect().await?;
    Ok(matched.into_iter().flatten().sum())
}

async fn update(db: &Database, collection: &str, statements: &[RawDocumentBuf]) -> Result<i64, StoreError> {
    let (failures, matched) = command::update_counting(db, collection, statements).await?;
    for failure in failures {
        // The document itself fits, but not with the newest name of everything it shows: it keeps the older name.
        let Some(error) = failure.fault() else { return Err(failure.into_error(db, collection).await) };
        tracing::warn!(collection, error, "a document is too large to show a newer name of what it belongs to");
    }
    Ok(matched)
}

/// The tasks of a story, each with the order of its state and its newest action, unless they are newer than the
/// deletion.
async fn tasks_of(
    db: &Database,
    prj: &str,
    story: &Bson,
    at: Order,
) -> Result<Vec<(Bson, Order, Option<Action>)>, StoreError> {
    let filter = doc! { "userstory_id": story.clone(), STATE: not_newer(at) };
    let mut projection = doc! { "_id": 0, "task_id": 1, STATE: 1, ACTION: 1 };
    projection.extend(action_fields(Kind::Task).iter().map(|field| ((*field).to_owned(), Bson::Int32(1))));
    let found = command::find(db, &Kind::Task.collection(prj), filter, projection).await?;
    let read = |mut task: Document| {
        let (id, ours) = (task.remove("task_id")?, task.remove("_ld"));
        let register = |name| ours.as_ref()?.as_document()?.get(name).and_then(read_order);
        let action = register("action").map(|at| Action { at, fields: task });
        Some((id, register("order").unwrap_or(BEFORE_ALL), action))
    };
    Ok(found.into_iter().filter_map(read).collect())
}

/// Of milestones that the batch deletes, the stories that later events put into them: their tasks follow them.
async fn still_in(db: &Database, batch: &Batch) -> Result<HashMap<String, Vec<Bson>>, StoreError> {
    let mut all = HashMap::new();
    for (id, view) in &batch.views {
        let (Some(at), Parent::Milestone(milestone)) = (view.gone, &view.parent) else { continue };
        let filter = doc! { "milestone_id": milestone.clone(), IN: { "$gt": order(at) } };
        let stories = Kind::UserStory.collection(&view.prj);
        let found = command::find(db, &stories, filter, doc! { "_id": 0, "userstory_id": 1 }).await?;
        all.insert(id.clone(), found.iter().filter_map(|story| story.get("userstory_id").cloned()).collect());
    }
    Ok(all)
}
