//! The last deliveries, and what became of each: for the check page of a team and `worker events`.
//!
//! Reading order: what a delivery is ([`delivery`]), which of them are wanted ([`list`]), what became of them
//! ([`outcome`], [`stored`]) and what they say ([`contents`]). All of it is read from what is there anyway, a bounded amount of it.

pub mod delivery;
pub mod list;
pub mod outcome;
pub mod stored;
pub mod contents;

pub use contents::{Contents, Document};
pub use delivery::Delivery;
pub use list::Wanted;
pub use outcome::{Letter, Notified, Outcome, Outcomes, State};
