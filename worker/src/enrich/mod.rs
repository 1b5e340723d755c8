//! What webhooks do not carry, asked at GitHub and Taiga (CONTRACT §4).
//!
//! An event that is stored leaves its look-ups in `LD_ENRICH` before it is acknowledged; here they are
//! made, by the same process with places of its own, so that a provider's limits, delays and failures
//! touch no event. Reading order: what is asked ([`lookup`]) and with whose token ([`tokens`]), how it is
//! queued ([`queue`]), how politely the providers are treated ([`budget`], [`limits`], [`api`]), what they
//! answer ([`github`], [`taiga`]), and who drives it all ([`claim`], [`settle`], [`runner`]).
//!
//! Three things never happen. A known value is not overwritten by an unknown one: commits are written once
//! (`_ld.enriched`), and a document that is gone is not made again. A token that is stopped is not used
//! before its reset, whoever asks. And waiting, for a reset or for a provider that is down, spends no
//! look-up's attempts: only answers that cannot be read do, and those end in `LD_DEAD`.

pub mod lookup;
pub mod tokens;
pub mod queue;
pub mod limits;
pub mod budget;
pub mod api;
pub mod github;
pub mod taiga;
pub mod claim;
pub mod settle;
pub mod runner;

use std::time::Duration;

pub use lookup::Lookups;
pub use runner::Enricher;
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

impl From<crate::store::StoreError> for NotYet {
    fn from(error: crate::store::StoreError) -> Self {
        match error {
            crate::store::StoreError::Outage(error) => Self::Failing(format!("MongoDB does not take writes: {error}")),
            error @ crate::store::StoreError::Command { .. } => Self::Unreadable(error.to_string()),
        }
    }
}
