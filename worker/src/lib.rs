//! The `worker` binary: its command line ([`cli`]), and the process that works ([`run`]).

pub mod cli;
pub mod run;
