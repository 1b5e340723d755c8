//! The operators' commands: one file or folder a command in [`commands`], each with `Options` and `run`.
//!
//! Below them: arguments ([`args`]), the streams ([`streams`]), GitHub and Taiga ([`clients`]), and the output
//! ([`terminal`]).

pub mod args;
pub mod clients;
pub mod commands;
pub mod streams;
pub mod terminal;
