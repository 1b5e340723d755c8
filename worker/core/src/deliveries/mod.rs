//! The last deliveries, and what became of each: for the check page of a team and `worker events`.
//!
//! Reading order: what a delivery is ([`delivery`]), which of them are wanted ([`list`]), what became of them
//! ([`outcome`], [`stored`]) and what they say ([`contents`]). All of it is read from what is there anyway, a bounded amount of it.
//! Then refusals ([`refused`]), a delivery by its id ([`find`]), and the whole story of one, with its documents ([`story`]); dead
//! letters ([`letters`]), and sending one again ([`again`]).

pub mod delivery;
pub mod list;
pub mod outcome;
pub mod stored;
pub mod refused;
mod reader;
pub mod find;
pub mod story;
pub mod letters;
pub mod again;

pub use crate::read::Unreadable;
pub mod contents;

pub use contents::{Contents, Document};
pub use delivery::Delivery;
pub use list::Wanted;
pub use outcome::{Letter, Notified, Outcome, Outcomes, State};
pub use reader::Reader;
