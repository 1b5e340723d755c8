//! The outer ring's harness: real servers, our two binaries as real processes, the senders and LD Eval
//! played from outside.
//!
//! Reading order: how a process is held ([`process`]), the servers we build on ([`servers`]), our own
//! binaries on top of them ([`stack`]), who talks to them ([`sender`], [`raw`], [`eval`], [`providers`]), and how a
//! test waits ([`eventually`]).

pub mod paths;
pub mod process;
pub mod eventually;
pub mod servers;
pub mod stack;
pub mod sender;
pub mod raw;
pub mod time;
pub mod providers;
pub mod ld_eval;

pub use eval_stand_in as eval;
