//! Makes MongoDB show what GitHub and Taiga show, also when no webhook said so.
//!
//! It reads the providers' APIs and publishes what differs to `LD_EVENTS`, as events of the time of reading; workers
//! do the rest. Reading order: what is asked for ([`wish`]) where ([`place`]), how the providers are asked ([`client`]),
//! what they say ([`reading`]), what differs ([`compare`]), one place of a team ([`team`]), what follows ([`settle`]),
//! all of it for a team ([`reconciler`]), by itself ([`keeper`]), and at the push of a button ([`recovery`]).

#![warn(missing_docs)]

pub mod client;
pub mod compare;
pub mod config;
pub mod feed;
pub mod keeper;
pub mod kept;
pub mod parts;
pub mod place;
pub mod reading;
pub mod reconciler;
pub mod recovery;
pub mod report;
pub mod settle;
pub mod stored;
pub mod team;
pub mod wish;
