//! The status page: what is wrong, and what to do.
//!
//! Reading order: what is read when somebody looks ([`activity`], [`reconciled`], [`observations`],
//! [`collect`]), what it
//! means ([`level`], [`teams`], [`term`], [`rhythm`], [`findings`], [`model`], which do not depend on pages), and how it is written
//! ([`i18n`], [`say`], [`filter`], [`frame`], [`page`], [`serve`]). Deliveries and dead letters have pages of their own ([`stories`]).
//!
//! The page is read on request, and a result is kept for two seconds, so a page that a hundred people leave open costs
//! what one costs.

pub mod activity;
pub mod reconciled;
pub mod observations;
pub mod level;
pub mod term;
pub mod rhythm;
pub mod teams;
pub mod findings;
pub mod model;
pub mod collect;
pub mod i18n;
pub mod say;
pub mod filter;
pub mod frame;
pub mod page;
pub mod serve;
pub mod stories;

pub use model::Status;
