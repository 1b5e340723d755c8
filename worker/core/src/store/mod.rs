//! Applies effects to MongoDB, in any order, any number of times, from any number of workers.
//!
//! A document is a function of registers that only grow: an entity's newest state and action, a story's links, the
//! newest views of its milestone, its epic and its story, and deletions. [`Store::apply`] takes these steps. Each can
//! be repeated, and a crash after any of them is safe:
//!
//! 1. **Fold**: of several effects on one register in a batch only the newest remains.
//! 2. **Write** all that the batch says: states and links into documents, by conditional upserts; deletions, views and
//!    renames into `ld_…` collections. A stale state fails with E11000 and is dropped once a state at least as new was
//!    read. What is probably new is tried as an insert first, which has the same result if no document exists. In a
//!    large batch, one statement updates many documents that are probably there.
//! 3. **Look** up what is stored in `ld_…` collections about everything that the batch concerns.
//! 4. **Settle**: statements whose filters repeat the comparison bring documents up to what was read.
//!
//! Of two concurrent writes, the worker of the later one reads both, and settles. The proof, with a crash between any
//! two steps, is in docs/convergence.md.

mod error;
mod sentence;
mod encode;
mod command;
mod contents;
mod fold;
mod obstacles;
mod index;
mod connection;
mod statement;
mod write;
mod grouped;
mod bulk;
mod memory;
mod seen;
mod rename;
mod settle;
mod apply;

mod enriched;
mod forgotten;
mod forget;
mod new_projects;
mod remove_events;
mod shown;

pub use self::apply::{Applied, Refusal};
pub use self::command::majority;
pub use self::connection::{Store, UnusableUri};
pub use self::encode::MILESTONE_FIELDS;
pub use self::error::{Blocked, StoreError};
pub use self::fold::{Batch, Event, LARGE};
pub use self::forget::DocumentCounts;
pub use self::forgotten::{REFRESH, RulesCache};
pub use self::obstacles::Waiting;
pub use self::remove_events::{Removal, RemovedEvents};
pub use self::sentence::sentence;
pub use self::shown::StoredDocument;
