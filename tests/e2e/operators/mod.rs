//! The operators' commands, run as an operator runs them.

pub(crate) mod backfill;
pub(crate) mod commands;
pub(crate) mod deliveries;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod forgetting;
pub(crate) mod hooks;
pub(crate) mod migrate;
pub(crate) mod reconcile;
pub(crate) mod recovery;
pub(crate) mod redeliver;
pub(crate) mod replaying;
pub(crate) mod walkthroughs;
