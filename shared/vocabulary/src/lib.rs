//! What an event is called: names, instants, hashes, sources, and the envelope that has them all.
//!
//! No runtime and no client: `worker-event` is built on this package alone. `shared` re-exports its modules.

#![warn(missing_docs)]

pub mod ids;
pub mod time;
pub mod hash;
pub mod source;
pub mod envelope;
