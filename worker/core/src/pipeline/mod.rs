//! From the streams to the documents.
//!
//! Events, notifications and look-ups are consumed by one loop ([`consumer`]), and all messages are acknowledged in one
//! file ([`settle`]). What to do with a message is decided by a [`consumer::Handler`]: [`events`] here, the sender in
//! `notify`, the enricher in `enrich`, and the replay among the commands.
//!
//! Reading order: what all of them share ([`context`]), pulling ([`queue`]), the loop, acknowledging, and then events:
//! how much of a batch is in memory at a time ([`size`]), what kills a worker ([`suspects`]), what waits for its collection
//! ([`blocked`]), which
//! projects may appear ([`new_projects`]), one attempt at a batch ([`process`]), and what cannot be processed ([`dead_letter`]).

pub mod context;
pub mod dead_letter;
pub mod settle;
pub mod queue;
pub mod consumer;
pub mod size;
pub mod suspects;
pub mod blocked;
pub mod new_projects;
pub mod process;
pub mod events;

pub use context::{Mode, Pipeline};
pub use settle::InFlight;
