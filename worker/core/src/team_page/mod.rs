//! A team's check page: does what the team sends arrive, and when not, what to do?
//!
//! Reading order: what is said of the team's webhooks by ingress ([`facts`]), what the page says ([`team`]), how that is
//! read ([`collect`]), how it is written ([`say`], [`page`], [`serve`]). Of other teams nothing is read at all.

pub mod facts;
pub mod team;
pub mod collect;
pub mod say;
pub mod page;
pub mod serve;
