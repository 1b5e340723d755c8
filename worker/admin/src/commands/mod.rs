//! One module a command.

pub mod backfill;
pub mod completions;
pub mod config_check;
pub mod dead_letters;
pub mod doctor;
pub mod events;
pub mod forget;
pub mod healthcheck;
pub mod hooks;
pub mod migrate;
pub mod reconcile;
pub mod redeliver;
pub mod replay;
pub mod secrets;
pub mod send_test;
pub mod team_links;
