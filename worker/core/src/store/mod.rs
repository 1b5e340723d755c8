//! Makes effects true in MongoDB, in any order, any number of times, from any number of workers.
//!
//! # The protocol
//!
//! Four kinds of facts are *registers that only grow* in their [`Order`](worker_event::effect::Order): an entity's state and a story's
//! link (kept in the document itself, in `_ld`), deletions (`ld_deletions`) and sprints
//! (`ld_milestones`). What a document shows is a function of the registers alone, never of the path to
//! them. [`Store::apply`] takes these steps, each safe to repeat and safe to stop after:
//!
//! 1. `fold`: of several effects on one register in a batch only the newest remains;
//! 2. deletions and sprints are written, by `$max`;
//! 3. states and links are written by conditional upserts: a stale one meets E11000 and is dropped once
//!    a state at least as new has been seen. What is probably new is tried as an insert first: where there
//!    is no document both do the same, and where there is one the insert meets E11000 too. A state that meets
//!    a document with none (a link came first) meets E11000 as well, and is tried again as what joins it;
//! 4. deletions and sprints that concern what was just written are read, and applied: `delete` and then
//!    `update` statements whose filters repeat the comparison.
//!
//! A deletion is written (2) before documents are looked at (4), and a document is written (3) before
//! deletions are looked at (4). So of a deletion and a write that race, at least one sees the other.
//! The proof, with a crash between any two steps, is in docs/convergence.md.

mod apply;
mod command;
mod encode;
mod enriched;
mod error;
mod fold;
mod forgotten;
mod forget;
mod index;
mod memory;
mod remove_events;
mod sentence;
mod statement;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bson::{Document, RawDocumentBuf};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use mongodb::options::{ClientOptions, ConnectionString, ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};

pub use self::error::{Blocked, StoreError};
pub use self::fold::{Batch, Event};
pub use self::forget::Found;
pub use self::forgotten::{Known, REFRESH};
use self::index::Indexes;
pub use self::remove_events::{Removal, RemovedEvents};
pub use self::sentence::sentence;
pub use self::statement::MILESTONE_FIELDS;
use self::write::{Write, documents_of, registers};

/// How many commands of one batch are under way at once; together they share MongoDB's journal flushes.
const COMMANDS: usize = 16;

/// How often a lost race is tried again before the batch starts over.
const RACES: usize = 10;

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
pub(self) struct Obstacles(Mutex<BTreeMap<String, Arc<Blocked>>>);

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
    pub async fn index(&self, kind: worker_event::effect::Kind, prj: &str) -> Result<(), StoreError> {
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
        self.indexes.ensure(&self.db, batch.collections(), &obstacles).await?;
        memory::remember(&self.db, &batch).await?;
        let refusals = self.write_states(&batch, &obstacles).await?;
        if !refusals.is_empty() {
            return Ok(Applied::Refused(refusals));
        }
        apply::settle(&self.db, &batch, &obstacles).await?;
        Ok(Applied::Stored { waiting: obstacles.waiting(&batch) })
    }

    /// Step 3: inserts and conditional upserts, one command a collection.
    async fn write_states(&self, batch: &Batch, obstacles: &Obstacles) -> Result<Vec<Refusal>, StoreError> {
        let mut groups: HashMap<String, Vec<Write<'_>>> = HashMap::new();
        for state in batch.states.values() {
            groups.entry(state.kind.collection(&state.prj)).or_default().push(Write::State(state));
        }
        for link in batch.links.values() {
            groups.entry(worker_event::effect::Kind::UserStory.collection(&link.prj)).or_default().push(Write::Link(link));
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
    async fn write(&self, collection: String, writes: Vec<Write<'_>>) -> Result<Vec<Refusal>, StoreError> {
        let collection = collection.as_str();
        let is_unique = self.indexes.refuses_duplicates(collection);
        let writes = writes.into_iter().map(|write| if is_unique { write } else { write.to_any_document() });
        let (fresh, mut pending): (Vec<_>, Vec<_>) = writes.partition(Write::is_fresh);
        let mut refusals = Vec::new();
        if !fresh.is_empty() {
            let documents = fresh.iter().filter_map(|write| write.document().transpose());
            let documents = documents.collect::<Result<Vec<RawDocumentBuf>, _>>()?;
            let failures = command::insert(&self.db, collection, &documents).await?;
            pending.extend(self.lost(collection, &fresh, failures, &mut refusals).await?);
        }
        for _ in 0..RACES {
            if pending.is_empty() {
                return Ok(refusals);
            }
            let statements = pending.iter().map(Write::upsert).collect::<Result<Vec<RawDocumentBuf>, _>>()?;
            let failures = command::update(&self.db, collection, &statements).await?;
            pending = self.lost(collection, &pending, failures, &mut refusals).await?;
        }
        if pending.is_empty() {
            return Ok(refusals);
        }
        // Races are lost to somebody who wrote what was found afterwards. Here nothing is ever found.
        let cause = format!(
            "{} of its documents meet E11000 {RACES} times in a row, but no document has their natural key; another \
             one has their _id",
            pending.len()
        );
        Err(command::blame(&self.db, collection, 0, cause).await)
    }

    /// Of writes that failed, those that have to be tried again: they met E11000, and not for being stale.
    async fn lost<'a>(
        &self,
        collection: &str,
        writes: &[Write<'a>],
        failures: Vec<command::Failure>,
        refusals: &mut Vec<Refusal>,
    ) -> Result<Vec<Write<'a>>, StoreError> {
        let mut lost = Vec::new();
        for failure in failures {
            let Some(write) = writes.get(failure.index) else { continue };
            if failure.is_conflict(write.key_fields()) {
                lost.push(*write);
            } else if let Some(error) = failure.fault() {
                refusals.push(Refusal { event: write.event(), error: error.to_owned() });
            } else {
                return Err(failure.into_error(&self.db, collection).await);
            }
        }
        self.drop_stale(collection, &mut lost).await?;
        Ok(lost)
    }

    /// Of writes that met E11000, keeps those that merely lost a race: no document at least as new is there.
    async fn drop_stale(&self, collection: &str, lost: &mut Vec<Write<'_>>) -> Result<(), StoreError> {
        let Some(any) = lost.first().copied() else { return Ok(()) };
        let (filter, projection) = (documents_of(lost), registers());
        let found = command::find_durable(&self.db, collection, filter, projection).await?;
        let found: HashMap<String, Document> =
            found.into_iter().filter_map(|document| Some((any.id_of(&document)?, document))).collect();
        lost.retain_mut(|write| {
            let Some(document) = found.get(&write.id()) else { return true };
            *write = write.beside(document);
            !write.is_stale_beside(document)
        });
        Ok(())
    }
}
