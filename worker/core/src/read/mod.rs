//! Reads streams without acknowledging anything: all that matches ([`Pass`]), or the newest of it ([`Newest`]).

mod pass;
mod newest;

pub use newest::Newest;
pub use pass::{Pass, Unreadable, since};
