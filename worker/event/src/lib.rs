//! What an event means: a function of its envelope and its place in the stream, and nothing else.
//!
//! No runtime, no database and no HTTP client below this line; cargo keeps it that way. Reading order: what an event
//! can lead to ([`effect`]), how that is found ([`normalise`]), which people are removed from it ([`privacy`]), and why
//! some events can never be stored ([`reason`]).

pub mod effect;
pub mod normalise;
pub mod privacy;
pub mod reason;
