//! The ledger: proof that nothing acknowledged is lost, whatever dies in between.
//!
//! A [`plan`] of deliveries is made from a seed, with what each must lead to ([`claims`]). Senders
//! deliver it ([`senders`]) while processes are killed, frozen and restarted ([`chaos`]) on a rig
//! of real servers ([`rig`]). From outside is noted what was answered ([`book`]), what MongoDB showed
//! when ([`watch`]) and what LD Eval received when ([`notified`]). In the end all is compared by id
//! ([`reconcile`]) and shown in a table ([`report`]). [`run()`] is the order of it.

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
pub mod notified;
pub mod watch;
pub mod reconcile;
pub mod report;
pub mod run;

pub use options::Options;
pub use report::Report;
pub use run::run;
pub use settings::Settings;
