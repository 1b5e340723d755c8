//! Arguments of the command line: times ([`time_args`]) and the address of ingress ([`hook_url`]).

pub mod hook_url;
pub mod time_args;

/// An argument that cannot be read; its text shows what would be right. clap names the argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidArg(pub &'static str);
