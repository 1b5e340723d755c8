//! The `worker` binary: its command line ([`cli`]), and the process ([`run`]).

pub mod cli;
pub mod run;
