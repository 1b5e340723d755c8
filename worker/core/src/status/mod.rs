//! The status page: is all well, and when not, what to do?
//!
//! Reading order: what is read when somebody looks ([`activity`],
//! [`look`]), what it means ([`model`], which knows nothing of pages), and how it is said ([`language`],
//! [`texts`], [`html`], [`serve`]).
//!
//! Nothing is read while nobody looks, and what was read is kept for two seconds, so a page that a hundred people
//! leave open costs what one costs.

pub mod activity;
pub mod look;
pub mod model;
pub mod language;
pub mod texts;
pub mod html;
pub mod serve;

pub use model::Status;
