//! Notifies LD Eval of what was written.
//!
//! A notification waits in `LD_NOTIFY` until LD Eval accepts it. The stream keeps one message per subject, and the
//! subject is made of the project and a hash of (event type, author, quality model): a newer notification replaces an
//! unsent older one. Whatever LD Eval does, writes go on.
//!
//! Reading order: queueing ([`queue`]), which project may be notified now ([`turns`]), and sending ([`sender`]).

pub mod queue;
pub mod turns;
pub mod sender;

pub use sender::Sender;
