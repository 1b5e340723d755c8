//! Makes effects true in MongoDB, in any order, any number of times, from any number of workers.
//!
//! What a document shows is a function of registers that only grow: an entity's newest state and action, a story's
//! links, what its milestone, its epic and its story were last told to be, and deletions. [`Store::apply`] takes these
//! steps, each safe to repeat and safe to stop after:
//!
//! 1. **Fold**: of several effects on one register in a batch only the newest remains.
//! 2. **Write** all that the batch says: states and links into documents, by conditional upserts; deletions, views and
//!    renames into `ld_…` collections. A stale state meets E11000 and is dropped once a state at least as new was seen.
//!    What is probably new is tried as an insert first: where there is no document both do the same.
//! 3. **Look** at what is remembered of everything that the batch concerns.
//! 4. **Settle**: statements whose filters repeat the comparison bring documents up to what was seen.
//!
//! Whatever two workers write, the later of the two looks after both writes, and settles. The proof, with a crash
//! between any two steps, is in docs/convergence.md.

mod command;
mod encode;
mod enriched;
mod error;
mod fold;
mod forgotten;
mod forget;
mod index;
mod memory;
mod new_projects;
mod remove_events;
mod rename;
mod sentence;
mod settle;
mod statement;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bson::{Document, RawDocumentBuf};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use mongodb::options::{ClientOptions, ConnectionString, ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};
use worker_event::effect::Kind;

pub use self::encode::MILESTONE_FIELDS;
pub use self::error::{Blocked, StoreError};
pub use self::fold::{Batch, Event};
use self::fold::{Parent, Rename};
pub use self::forget::Found;
pub use self::forgotten::{Known, REFRESH};
use self::index::Indexes;
pub use self::remove_events::{Removal, RemovedEvents};
pub use self::sentence::sentence;
use self::statement::Shown;
use self::write::{Write, documents_of, registers};

/// How many commands of one batch are under way at once; together they share MongoDB's journal flushes.
const COMMANDS: usize = 16;

/// How often a write that met E11000 is tried again.
const RETRIES: usize = 10;

/// From how many events on batches take turns at writing. Large ones side by side cost each other more than they
/// gain: the later of two is often written first, and then the earlier one's states are stale. Small ones
/// wait for MongoDB's journal rather than its CPU, and share that.
pub const LARGE: usize = 200;

/// What became of a batch while MongoDB was there.
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
    /// MongoDB refuses the documents of these events, whoever tries. *Nothing may be assumed of the others*: a refused
    /// document may have stood for older events of its entity too.
    Refused(Vec<Refusal>),
}

/// An event whose document MongoDB refuses: its own fault, whoever tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Index of the event in the batch.
    pub event: usize,
    /// MongoDB's text.
    pub error: String,
}

/// An event that waits for its collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Index of the event in the batch.
    pub event: usize,
    /// Why, and what a person can do; the same for all events of the collection.
    pub blocked: Arc<Blocked>,
}

/// The collections that turned out to be blocked while a batch was applied.
#[derive(Debug, Default)]
struct Obstacles(Mutex<BTreeMap<String, Arc<Blocked>>>);

impl Obstacles {
    /// Notes a blocked collection, so that the others go on without it: then there is no result.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match result {
            Err(StoreError::Blocked(blocked)) => {
                let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(blocked.collection.clone(), Arc::new(blocked));
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn is_in_the_way(&self, collection: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(collection)
    }

    /// The events of these collections, each once.
    fn waiting(self, batch: &Batch) -> Vec<Waiting> {
        let all = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let events = all.into_iter().flat_map(|(collection, blocked)| {
            batch.events_of(&collection).iter().map(move |event| (*event, blocked.clone()))
        });
        let each: BTreeMap<usize, Arc<Blocked>> = events.collect();
        each.into_iter().map(|(event, blocked)| Waiting { event, blocked }).collect()
    }
}

/// `MONGO_URI` cannot be used. The driver's own text may quote a part of the address, which may be its password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a mongodb:// or mongodb+srv:// address that the driver takes; look at its host, its options and the \
     files they name, and percent-encode what is special in user and password"
)]
pub struct UnusableUri;

impl UnusableUri {
    /// Looks at an address without asking a server.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn check(uri: &str) -> Result<(), Self> {
        ConnectionString::parse(uri).map(drop).map_err(|_| Self)
    }
}

/// The documents of all projects, in one database.
#[derive(Debug, Clone)]
pub struct Store {
    db: Database,
    indexes: Indexes,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Store {
    /// Connects to `MONGO_URI`; the database is the one in its path, else `fallback_db`.
    ///
    /// Returns without waiting for the server: the first command does.
    ///
    /// # Errors
    /// When the URI cannot be used; the message says what to look at.
    pub async fn connect(uri: &str, fallback_db: &str) -> Result<Self, UnusableUri> {
        let mut options = ClientOptions::parse(uri).await.map_err(|_| UnusableUri)?;
        // What is decided by a read must not be older than what was written before it, whatever the address asks for.
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        options.app_name.get_or_insert_with(|| "ld-connect-worker".to_owned());
        options.max_pool_size.get_or_insert(32);
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        let name = options.default_database.clone().unwrap_or_else(|| fallback_db.to_owned());
        let db = Client::with_options(options).map_err(|_| UnusableUri)?.database(&name);
        Ok(Self { db, indexes: Indexes::default(), turn: Arc::default() })
    }

    /// The database, for commands that read.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// Makes the unique index of a project's collection, where it is missing.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn index(&self, kind: Kind, prj: &str) -> Result<(), StoreError> {
        self.indexes.ensure(&self.db, [(kind, prj)].into(), &Obstacles::default()).await
    }

    /// Proves that a write is acknowledged by the majority and journalled.
    ///
    /// # Errors
    /// When it is not, within the time a command has.
    pub async fn probe(&self, who: &str) -> Result<(), StoreError> {
        command::probe(&self.db, who).await
    }

    /// Makes all effects of a batch true, durably: majority and journal. See [`Applied`] for what to do next.
    ///
    /// # Errors
    /// When MongoDB is away, or cannot hold a whole command. The batch may be half written; apply it again.
    pub async fn apply(&self, mut batch: Batch) -> Result<Applied, StoreError> {
        batch.leave_out_deleted();
        let _turn = match batch.events() {
            LARGE.. => Some(self.turn.lock().await),
            _ => None,
        };
        let obstacles = Obstacles::default();
        let prjs = batch.repositories();
        if !batch.renames.is_empty() {
            // First, so that what is told of another repository that takes the old name overwrites nothing.
            memory::remember_renames(&self.db, &batch).await?;
            self.move_renamed(&memory::renames(&self.db, &prjs).await?, &obstacles).await?;
        }
        let renames = memory::renames(&self.db, &prjs).await?;
        batch.rename(|prj, name, at| rename::newer_name(&renames, prj, name, at));
        let refusals = self.write_and_settle(&batch, &obstacles).await?;
        if !refusals.is_empty() {
            return Ok(Applied::Refused(refusals));
        }
        // Names that the batch tells, or that somebody told since we asked. What was written under the old one is moved
        // by whoever of the two looks later.
        let mut now = memory::renames(&self.db, &prjs).await?;
        if !batch.renames.is_empty() || now.len() > renames.len() {
            let changed: BTreeSet<Rename> = now.difference(&renames).cloned().chain(batch.renames.clone()).collect();
            let concerned = |rename: &Rename| changed.iter().any(|one| one.prj == rename.prj);
            now.retain(concerned);
            self.move_renamed(&now, &obstacles).await?;
        }
        Ok(Applied::Stored { waiting: obstacles.waiting(&batch) })
    }

    /// Steps 2 to 4.
    async fn write_and_settle(&self, batch: &Batch, obstacles: &Obstacles) -> Result<Vec<Refusal>, StoreError> {
        let shown: HashMap<String, Shown> =
            batch.states.iter().map(|(id, state)| (id.clone(), Shown::of(batch, state))).collect();
        self.indexes.ensure(&self.db, batch.collections(), obstacles).await?;
        let (refusals, ()) =
            futures::try_join!(self.write_documents(batch, &shown, obstacles), memory::remember(&self.db, batch))?;
        if refusals.is_empty() {
            settle::settle(&self.db, batch, &shown, obstacles).await?;
        }
        Ok(refusals)
    }

    /// Inserts and conditional upserts, one command a collection.
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
            let name = batch.told(&link.prj, &Parent::Epic(link.epic.clone()));
            groups.entry(Kind::UserStory.collection(&link.prj)).or_default().push(Write::Link(link, name));
        }
        groups.retain(|collection, _| !obstacles.is_in_the_way(collection));
        // Boxed, because the compiler cannot see that a closure over borrowed writes is `Send`.
        let commands: Vec<_> = groups
            .into_iter()
            .map(|(collection, writes)| async { obstacles.note(self.write(collection, writes).await) }.boxed())
            .collect();
        let refusals: Vec<Option<Vec<Refusal>>> =
            futures::stream::iter(commands).buffer_unordered(COMMANDS).try_collect().await?;
        Ok(refusals.into_iter().flatten().flatten().collect())
    }

    /// Writes until each is applied, known to be stale, or refused.
    async fn write(&self, collection: String, mut writes: Vec<Write<'_>>) -> Result<Vec<Refusal>, StoreError> {
        let collection = collection.as_str();
        let mut refusals = Vec::new();
        let mut pending = if self.indexes.refuses_duplicates(collection) {
            let (fresh, mut pending): (Vec<_>, Vec<_>) = writes.into_iter().partition(Write::inserts_first);
            if !fresh.is_empty() {
                let documents = fresh.iter().filter_map(|write| write.document().transpose());
                let documents = documents.collect::<Result<Vec<RawDocumentBuf>, _>>()?;
                let failures = command::insert(&self.db, collection, &documents).await?;
                pending.extend(self.conflicted(collection, &fresh, failures, &mut refusals).await?);
            }
            pending
        } else {
            // Without the unique index nothing meets E11000: a stale state would be a further document.
            self.drop_stale(collection, &mut writes).await?;
            writes
        };
        for _ in 0..RETRIES {
            if pending.is_empty() {
                return Ok(refusals);
            }
            let statements = pending.iter().map(Write::statement).collect::<Result<Vec<RawDocumentBuf>, _>>()?;
            let failures = command::update(&self.db, collection, &statements).await?;
            pending = self.conflicted(collection, &pending, failures, &mut refusals).await?;
        }
        if pending.is_empty() {
            return Ok(refusals);
        }
        // Races are lost to somebody whose document is found afterwards. Here nothing is ever found.
        let cause = format!(
            "{} of its documents meet E11000 {RETRIES} times in a row, but no document has their natural key; another \
             one has their _id",
            pending.len()
        );
        Err(command::blame(&self.db, collection, 0, cause).await)
    }

    /// Of writes that failed, what has to be tried again: they met E11000, and not for being stale.
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

    /// Keeps of these writes what the documents that are there leave to be done. What only the primary has may be
    /// rolled back, so only what the majority has makes a write stale.
    async fn drop_stale(&self, collection: &str, writes: &mut Vec<Write<'_>>) -> Result<(), StoreError> {
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
            // Several only without the unique index; one that is new enough suffices.
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
