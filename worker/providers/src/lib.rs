//! Clients of GitHub's and Taiga's APIs. Each request uses the token of its project and respects the provider's limits.
//!
//! Reading order: which token ([`tokens`]), when a request may be sent ([`limiter`], [`rate_limit`]), one request
//! ([`client`]), one until it is answered ([`asking`]), lists ([`pages`]), the look-ups ([`github`], [`taiga`]), and what the status page
//! shows of them ([`report`]).

pub mod config;
pub mod tokens;
pub mod rate_limit;
pub mod report;
pub mod limiter;
pub mod client;
pub mod asking;
pub mod pages;
pub mod github;
pub mod taiga;

use std::time::Duration;

pub use tokens::Tokens;

/// Why a provider gave no usable reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderError {
    /// The token must not be used for this long. Does not count as a failed attempt.
    Limited(Duration),
    /// The provider does not answer or answers 5xx. Retry without a limit.
    Unavailable(String),
    /// The provider answers 4xx, and not because of a rate limit. Retry a few times.
    Refused(String),
    /// The reply cannot be parsed. Retry a few times, then dead-letter.
    Unreadable(String),
}
