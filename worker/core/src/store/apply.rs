//! One batch, step by step.

use std::collections::HashMap;

use bson::Document;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use worker_event::effect::Kind;

use super::command::{self, COMMANDS, Encoded, RETRIES};
use super::connection::Store;
use super::error::StoreError;
use super::fold::{Batch, Parent, Rename};
use super::obstacles::{Obstacles, Waiting};
use super::statement::Shown;
use super::write::{Write, documents_of, registers};
use super::{contents, grouped, memory, rename, settle};

/// The outcome of a batch while MongoDB answers.
///
/// ```text
/// match store.apply(batch).await {
///     Ok(Applied::Stored { waiting }) => acknowledge all events but those of `waiting`;
///                                        hold these back and apply them again after a delay (they count no attempt)
///     Ok(Applied::Refused(refusals))  => dead-letter these events; apply all others again, at once
///     Err(StoreError::Outage(_))      => apply the whole batch again, after a delay
///     Err(StoreError::Unstorable{..}) => apply the events one by one; the one that fails alone is a dead letter
///     Err(StoreError::Blocked(_))     => never of `apply`: blocked collections are in `waiting`
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Applied {
    /// All events are stored, durably, but for those that wait.
    Stored {
        /// Events of collections that MongoDB does not write to. They may be half stored; apply them again later.
        waiting: Vec<Waiting>,
    },
    /// MongoDB refuses the documents of these events on every attempt. *Nothing is known of the others*: a refused
    /// document may have replaced older events of its entity in the fold.
    Refused(Vec<Refusal>),
}

/// An event whose document MongoDB refuses on every attempt: the event's own fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Index of the event in the batch.
    pub event: usize,
    /// MongoDB's text.
    pub error: String,
}

impl Store {
    /// Makes all effects of a batch true, durably: majority and journal. See [`Applied`] for what to do next.
    ///
    /// # Errors
    /// When MongoDB is away, or cannot hold a whole command. The batch may be half written; apply it again.
    pub async fn apply(&self, mut batch: Batch) -> Result<Applied, StoreError> {
        batch.leave_out_deleted();
        if batch.is_large() {
            batch.insert_unseen(&self.seen);
        }
        let _turn = if batch.is_large() { Some(self.turn.lock().await) } else { None };
        let obstacles = Obstacles::default();
        let prjs = batch.repositories();
        if !batch.renames.is_empty() {
            // First, so that events of another repository that takes the old name overwrite nothing.
            memory::remember_renames(&self.db, &batch).await?;
            self.move_renamed(&memory::renames(&self.db, &prjs).await?, &obstacles).await?;
        }
        let mut renames = memory::renames(&self.db, &prjs).await?;
        batch.rename(|prj, name, at| rename::newer_name(&renames, prj, name, at));
        let refusals = self.write_and_settle(&batch, &obstacles).await?;
        if !refusals.is_empty() {
            return Ok(Applied::Refused(refusals));
        }
        // Names in this batch, or written by another worker since the last read. The later of the two workers moves
        // what was written under the old name, and what was moved to it.
        let mut changed = batch.renames.clone();
        loop {
            let now = memory::renames(&self.db, &prjs).await?;
            changed.extend(now.difference(&renames).cloned());
            if changed.is_empty() {
                break;
            }
            let is_concerned = |rename: &&Rename| changed.iter().any(|one| one.prj == rename.prj);
            self.move_renamed(&now.iter().filter(is_concerned).cloned().collect(), &obstacles).await?;
            changed.clear();
            renames = now;
        }
        Ok(Applied::Stored { waiting: obstacles.waiting(&batch) })
    }

    /// Steps 2 to 4.
    pub(super) async fn write_and_settle(
        &self,
        batch: &Batch,
        obstacles: &Obstacles,
    ) -> Result<Vec<Refusal>, StoreError> {
        let shown = batch.states.iter().map(|(id, state)| Ok((id.clone(), Shown::of(batch, state)?)));
        let shown: HashMap<String, Shown> = shown.collect::<Result<_, StoreError>>()?;
        self.indexes.ensure(&self.db, batch.collections(), obstacles).await?;
        let (refusals, ()) = futures::try_join!(
            self.write_documents(batch, &shown, obstacles),
            memory::remember(&self.db, batch, &self.seen)
        )?;
        if refusals.is_empty() {
            self.seen.add(batch.unannounced());
            settle::settle(&self.db, batch, &shown, obstacles).await?;
        }
        Ok(refusals)
    }

    /// Inserts and conditional upserts, one command a collection, or several collections in one command.
    async fn write_documents(
        &self,
        batch: &Batch,
        shown: &HashMap<String, Shown>,
        obstacles: &Obstacles,
    ) -> Result<Vec<Refusal>, StoreError> {
        let mut groups: HashMap<String, Vec<Write<'_>>> = HashMap::new();
        for (id, state) in &batch.states {
            let Some(shown) = shown.get(id) else { continue };
            groups.entry(state.kind.collection(&state.prj)).or_default().push(Write::State(state, shown));
        }
        for link in batch.links.values() {
            let name = batch.version(&link.prj, &Parent::Epic(link.epic.clone()));
            groups.entry(Kind::UserStory.collection(&link.prj)).or_default().push(Write::Link(link, name));
        }
        groups.retain(|collection, _| !obstacles.is_in_the_way(collection));
        // Only in large batches: a single event writes to few collections, and separate commands run side by side.
        let left = if batch.is_large() { self.write_in_bulk(&mut groups).await? } else { Vec::new() };
        // Boxed, because the compiler cannot see that a closure over borrowed writes is `Send`.
        let mut commands: Vec<_> = groups
            .into_iter()
            .map(|(collection, writes)| {
                async { obstacles.note(self.write(collection, writes, batch.is_large()).await) }.boxed()
            })
            .collect();
        commands.extend(left.into_iter().map(|(collection, writes)| {
            async { obstacles.note(self.upsert(collection, writes, Vec::new()).await) }.boxed()
        }));
        let refusals: Vec<Option<Vec<Refusal>>> =
            futures::stream::iter(commands).buffer_unordered(COMMANDS).try_collect().await?;
        Ok(refusals.into_iter().flatten().flatten().collect())
    }

    /// Writes until each write is applied, known to be stale, or refused.
    async fn write(
        &self,
        collection: String,
        mut writes: Vec<Write<'_>>,
        is_large: bool,
    ) -> Result<Vec<Refusal>, StoreError> {
        let mut refusals = Vec::new();
        let pending = if self.indexes.refuses_duplicates(&collection) {
            let (fresh, mut pending): (Vec<_>, Vec<_>) = writes.into_iter().partition(Write::inserts_first);
            if !fresh.is_empty() {
                let failures = command::insert_each(&self.db, &collection, documents(&fresh)).await?;
                pending.extend(self.conflicted(&collection, &fresh, failures, &mut refusals).await?);
            }
            if is_large { self.update_together(&collection, pending).await? } else { pending }
        } else {
            // Without the unique index no E11000 would occur, and a stale state would be inserted as a second document.
            self.drop_stale(&collection, &mut writes).await?;
            writes
        };
        self.upsert(collection, pending, refusals).await
    }

    /// Updates documents that are probably there. Returns the writes that are left.
    async fn update_together<'a>(
        &self,
        collection: &str,
        writes: Vec<Write<'a>>,
    ) -> Result<Vec<Write<'a>>, StoreError> {
        let (mut together, mut left): (Vec<_>, Vec<_>) =
            writes.into_iter().partition(|write| grouped::sharing(write).is_some());
        if together.len() < 2 {
            left.extend(together);
            return Ok(left);
        }
        let states: Vec<_> = together.iter().filter_map(grouped::sharing).collect();
        if !contents::update(&self.db, collection, &grouped::statements(&states)?, states.len()).await? {
            self.drop_stale(collection, &mut together).await?;
            left.extend(together);
        }
        Ok(left)
    }

    /// The same without inserts, which were tried.
    async fn upsert(
        &self,
        collection: String,
        mut pending: Vec<Write<'_>>,
        mut refusals: Vec<Refusal>,
    ) -> Result<Vec<Refusal>, StoreError> {
        let collection = collection.as_str();
        for _ in 0..RETRIES {
            if pending.is_empty() {
                return Ok(refusals);
            }
            let failures = command::update_each(&self.db, collection, statements(&pending)).await?;
            pending = self.conflicted(collection, &pending, failures, &mut refusals).await?;
        }
        if pending.is_empty() {
            return Ok(refusals);
        }
        // After a lost race the winner's document is found. Here none is found.
        let cause = format!(
            "{} of its documents meet E11000 {RETRIES} times in a row, but no document has their natural key; another \
             one has their _id",
            pending.len()
        );
        Err(command::blame(&self.db, collection, 0, cause).await)
    }

    /// The failed writes to retry: they failed with E11000, and not because they are stale.
    async fn conflicted<'a>(
        &self,
        collection: &str,
        writes: &[Write<'a>],
        failures: Vec<command::Failure>,
        refusals: &mut Vec<Refusal>,
    ) -> Result<Vec<Write<'a>>, StoreError> {
        let mut conflicted = Vec::new();
        for failure in failures {
            let Some(write) = writes.get(failure.index) else { continue };
            if failure.is_conflict(write.key_fields()) {
                conflicted.push(*write);
            } else if let Some(error) = failure.fault() {
                refusals.push(Refusal { event: write.event(), error: error.to_owned() });
            } else {
                return Err(failure.into_error(&self.db, collection).await);
            }
        }
        self.drop_stale(collection, &mut conflicted).await?;
        Ok(conflicted)
    }

    /// Keeps what the stored documents leave to be written. Only a majority read may make a write stale: a document
    /// that only the primary has could be rolled back.
    pub(super) async fn drop_stale(&self, collection: &str, writes: &mut Vec<Write<'_>>) -> Result<(), StoreError> {
        let Some(any) = writes.first().copied() else { return Ok(()) };
        let (filter, projection) = (documents_of(writes), registers());
        let found = command::find_durable(&self.db, collection, filter, projection).await?;
        let mut known: HashMap<String, Vec<Document>> = HashMap::new();
        for document in found {
            if let Some(id) = any.id_of(&document) {
                known.entry(id).or_default().push(document);
            }
        }
        let left = writes.iter().flat_map(|write| match known.get(&write.id()) {
            // Without the unique index there may be several; one that is new enough is sufficient.
            Some(documents) => {
                let left = documents.iter().map(|document| write.retry_as(document));
                left.min_by_key(Vec::len).unwrap_or_default()
            }
            None => vec![*write],
        });
        *writes = left.collect();
        Ok(())
    }
}

/// The documents of inserts, each made when it is asked for. Boxed, because the compiler cannot see that a future over a
/// closure that borrows is `Send`.
fn documents<'a>(writes: &'a [Write<'a>]) -> Encoded<'a> {
    Box::new(writes.iter().filter_map(|write| write.document().transpose()))
}

/// The same for the statements of upserts.
fn statements<'a>(writes: &'a [Write<'a>]) -> Encoded<'a> {
    Box::new(writes.iter().map(Write::statement))
}
