//! Makes MongoDB show what GitHub and Taiga show, also if a webhook was lost.
//!
//! It reads the providers' APIs and publishes differences to `LD_EVENTS`, as events dated at the time of reading.
//! Workers do the rest. Reading order: what is reconciled ([`scope`]) and where ([`place`]), requests to the providers
//! ([`client`]), their content ([`reading`]), the differences ([`compare`]), one place of a team ([`team`]), what
//! follows ([`settle`]), a whole team ([`reconciler`]), automatically ([`keeper`]), after a push that GitHub cut ([`rest`]),
//! and on request ([`recovery`]).

pub mod client;
pub mod compare;
pub mod config;
pub mod deliveries;
pub mod feed;
pub mod keeper;
pub mod kept;
pub mod parts;
pub mod hook_url;
pub mod place;
pub mod reading;
pub mod reconciler;
pub mod recovery;
pub mod report;
pub mod rest;
pub mod settle;
pub mod stored;
pub mod team;
pub mod scope;
