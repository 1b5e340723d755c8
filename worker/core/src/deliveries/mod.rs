//! The last deliveries, and what became of each: for the check page of a team and `worker events`.
//!
//! Reading order: what a delivery is ([`delivery`]), which of them are wanted ([`list`]), what became of them
//! ([`outcome`]). All of it is read from headers and subjects that are there anyway, a bounded number of them.

pub mod delivery;
pub mod list;
pub mod outcome;

pub use delivery::Delivery;
pub use list::Wanted;
pub use outcome::{Letter, Notified, Outcome, Outcomes, State};
