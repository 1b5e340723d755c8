//! The pages of deliveries and dead letters, and sending one again.
//!
//! Reading order: what a page shows ([`list`], [`story`], [`letters`]), who may send again ([`access`]), and the paths
//! ([`serve`]).

pub mod words;
pub mod list;
pub mod story;
pub mod letters;
pub mod access;
pub mod serve;
