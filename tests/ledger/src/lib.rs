//! The ledger: proof that nothing acknowledged is lost, whatever process is killed.
//!
//! A [`plan`] of deliveries is made from a seed, with the expected effect of each ([`claims`]). Senders deliver it
//! ([`senders`]) while processes are killed, frozen and restarted ([`chaos`]), and workers while MongoDB or NATS is away
//! ([`outages`]), on a rig of real servers ([`rig`]).
//! Recorded are the answers ([`book`]), when MongoDB showed what ([`watch`]), and when LD Eval received what
//! ([`notified`]). In the end all is compared by id ([`reconcile`]) and shown in a table ([`report`]). [`run()`] is the
//! sequence.

pub mod options;
pub mod settings;
pub mod claims;
pub mod saying;
pub mod histories;
pub mod plan;
pub mod rig;
pub mod book;
pub mod senders;
pub mod chaos;
pub mod outages;
pub mod notified;
pub mod watch;
pub mod reconcile;
pub mod report;
pub mod run;

pub use options::Options;
pub use report::Report;
pub use run::run;
pub use settings::Settings;
