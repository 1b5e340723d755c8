//! The operators' commands: one file per subcommand, each with `Options` and `run`.

pub mod migrate;
pub mod replay;
pub mod dead_letters;
pub mod forget;
pub mod doctor;
pub mod remote;
pub mod backfill;
pub mod reconcile;
pub mod ours;
pub mod redeliver;
pub mod hooks;
pub mod healthcheck;
pub mod config_check;
pub mod completions;
pub mod terminal;
pub mod when;
