//! Makes effects true in MongoDB, in any order, any number of times, from any number of workers.
//!
//! # The protocol
//!
//! Four kinds of facts are *registers that only grow* in their [`Order`](crate::effect::Order): an entity's state and a story's
//! link (kept in the document itself, in `_ld`), deletions (`ld_deletions`) and sprints
//! (`ld_milestones`). What a document shows is a function of the registers alone, never of the path to
//! them. [`Store::apply`] takes these steps, each safe to repeat and safe to stop after:
//!
//! 1. `fold`: of several effects on one register in a batch only the newest remains;
//! 2. deletions and sprints are written, by `$max`;
//! 3. states and links are written by conditional upserts: a stale one meets E11000 and is dropped once
//!    a state at least as new has been seen;
//! 4. deletions and sprints that concern what was just written are read, and applied: `delete` and then
//!    `update` statements whose filters repeat the comparison.
//!
//! A deletion is written (2) before documents are looked at (4), and a document is written (3) before
//! deletions are looked at (4). So of a deletion and a write that race, at least one sees the other.
//! The proof, with a crash between any two steps, is in docs/convergence.md.

mod apply;
mod command;
mod enriched;
mod fold;
mod index;
mod memory;
mod statement;

use std::collections::HashMap;
use std::time::Duration;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::{StreamExt as _, TryStreamExt as _};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

pub use self::command::StoreError;
pub use self::enriched::CommitFacts;
pub use self::fold::Event;
use self::fold::Plan;
use self::index::Indexes;
use self::statement::Statement;

/// How many commands of one batch are under way at once; together they share MongoDB's journal flushes.
const COMMANDS: usize = 16;

/// How often a lost race is tried again before the batch starts over.
const RACES: usize = 10;

/// An event whose document MongoDB refuses: its own fault, whoever tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Index of the event in the batch.
    pub event: usize,
    /// MongoDB's code and text.
    pub error: String,
}

/// The documents of all projects, in one database.
#[derive(Debug, Clone)]
pub struct Store {
    db: Database,
    indexes: Indexes,
}

impl Store {
    /// Connects to `MONGO_URI`; the database is the one in its path, else `fallback_db`.
    ///
    /// Returns without waiting for the server: the first command does.
    ///
    /// # Errors
    /// When the URI cannot be read; the message says why.
    pub async fn connect(uri: &str, fallback_db: &str) -> Result<Self, mongodb::error::Error> {
        let mut options = ClientOptions::parse(uri).await?;
        options.app_name.get_or_insert_with(|| "ld-connect-worker".to_owned());
        options.max_pool_size.get_or_insert(32);
        options.connect_timeout.get_or_insert(Duration::from_secs(5));
        options.server_selection_timeout.get_or_insert(Duration::from_secs(5));
        let name = options.default_database.clone().unwrap_or_else(|| fallback_db.to_owned());
        let db = Client::with_options(options)?.database(&name);
        Ok(Self { db, indexes: Indexes::default() })
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
    pub async fn index(&self, kind: crate::effect::Kind, prj: &str) -> Result<(), StoreError> {
        self.indexes.ensure(&self.db, [(kind, prj)].into()).await
    }

    /// Proves that a write is acknowledged by the majority and journalled.
    ///
    /// # Errors
    /// When it is not, within the time a command has.
    pub async fn probe(&self, who: &str) -> Result<(), StoreError> {
        let statement = Statement::update(doc! { "_id": who }, doc! { "$currentDate": { "at": true } }, true);
        let failures = command::update(&self.db, "ld_probe", &[statement.raw()?]).await?;
        failures.first().map_or(Ok(()), |failure| Err(StoreError::Outage(failure.error.clone())))
    }

    /// Makes all effects of a batch true, durably: majority and journal.
    ///
    /// Returns the events whose documents MongoDB refuses; then *nothing may be assumed of the batch*,
    /// because a refused document may have stood for older events of its entity too. Apply the rest again.
    ///
    /// # Errors
    /// When MongoDB is away, or refuses a whole command. The batch may be half written; apply it again.
    pub async fn apply(&self, events: Vec<Event>) -> Result<Vec<Refusal>, StoreError> {
        let plan = Plan::fold(events);
        self.indexes.ensure(&self.db, plan.collections()).await?;
        memory::remember(&self.db, &plan).await?;
        let refusals = self.write_states(&plan).await?;
        if refusals.is_empty() {
            apply::settle(&self.db, &plan).await?;
        }
        Ok(refusals)
    }

    /// Step 3: conditional upserts, one command a collection.
    async fn write_states(&self, plan: &Plan) -> Result<Vec<Refusal>, StoreError> {
        let mut groups: HashMap<String, Vec<Pending>> = HashMap::new();
        for state in plan.states.values() {
            let pending = Pending { statement: statement::state(state), event: state.event };
            groups.entry(state.kind.collection(&state.prj)).or_default().push(pending);
        }
        for link in plan.links.values() {
            let pending = Pending { statement: statement::link(link), event: link.event };
            groups.entry(crate::effect::Kind::UserStory.collection(&link.prj)).or_default().push(pending);
        }
        let refusals: Vec<Vec<Refusal>> = futures::stream::iter(groups)
            .map(|(collection, pending)| async move { self.upsert(&collection, pending).await })
            .buffer_unordered(COMMANDS)
            .try_collect()
            .await?;
        Ok(refusals.into_iter().flatten().collect())
    }

    /// Upserts until each statement is applied, known to be stale, or refused.
    async fn upsert(&self, collection: &str, mut pending: Vec<Pending>) -> Result<Vec<Refusal>, StoreError> {
        let mut refusals = Vec::new();
        for _ in 0..RACES {
            let raw = pending.iter().map(|one| one.statement.raw()).collect::<Result<Vec<RawDocumentBuf>, _>>()?;
            let failures = command::update(&self.db, collection, &raw).await?;
            if failures.is_empty() {
                return Ok(refusals);
            }
            let mut lost: HashMap<usize, ()> = HashMap::new();
            for failure in failures {
                if failure.is_duplicate_key() {
                    lost.insert(failure.index, ());
                } else if failure.is_statements_fault() {
                    let event = pending.get(failure.index).map_or(0, |one| one.event);
                    refusals.push(Refusal { event, error: failure.error });
                } else {
                    return Err(StoreError::Outage(failure.error));
                }
            }
            let mut index = 0;
            pending.retain(|_| {
                index += 1;
                lost.contains_key(&(index - 1))
            });
            self.drop_stale(collection, &mut pending).await?;
            if pending.is_empty() {
                return Ok(refusals);
            }
        }
        Err(StoreError::Outage(format!("{collection}: lost {RACES} races in a row for the same documents")))
    }

    /// Of statements that met E11000, keeps those that merely lost a race: no state at least as new is there.
    async fn drop_stale(&self, collection: &str, pending: &mut Vec<Pending>) -> Result<(), StoreError> {
        let keys: Vec<Bson> = pending.iter().map(|one| Bson::from(one.statement.at_least_as_new())).collect();
        if keys.is_empty() {
            return Ok(());
        }
        // One query answers for all: which keys have a document that makes its statement stale?
        let newer: Vec<Document> =
            command::find_durable(&self.db, collection, doc! { "$or": keys }, statement::key_projection()).await?;
        pending.retain(|one| !newer.iter().any(|found| one.statement.is_about(found)));
        Ok(())
    }
}

/// An upsert that is not yet known to be applied.
#[derive(Debug)]
struct Pending {
    statement: Statement,
    event: usize,
}
