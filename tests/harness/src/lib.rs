//! The harness of the end-to-end tests: real servers, our two binaries as real processes, and stand-ins for the senders
//! and LD Eval.
//!
//! Reading order: processes ([`process`]), the servers we build on ([`servers`]), our own binaries on top of them
//! ([`stack`]), their clients and servers ([`sender`], [`raw`], [`eval`], [`providers`]), and how a test waits
//! ([`eventually`]).

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
