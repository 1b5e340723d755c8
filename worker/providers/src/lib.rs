//! GitHub's and Taiga's APIs: one client each, polite about limits, with the project's own token.
//!
//! Reading order: whose token ([`tokens`]), how many requests ([`budget`], [`rate_limit`]), one request ([`client`]), what is
//! asked ([`github`], [`taiga`]), and what the status page learns of it ([`report`]).

pub mod config;
pub mod tokens;
pub mod rate_limit;
pub mod report;
pub mod budget;
pub mod client;
pub mod github;
pub mod taiga;

use std::time::Duration;

pub use tokens::Tokens;

/// Why a look-up is not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotYet {
    /// Its token must not be used for this long, or others are before it. Nobody's fault.
    Wait(Duration),
    /// The provider or the database is away. Later, as often as it takes.
    Failing(String),
    /// The provider refuses this and does not say that it is about a limit. Some times more, then it is
    /// left as it is.
    Refused(String),
    /// An answer that cannot be read. Some times more, then to the dead letters.
    Unreadable(String),
}
