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
pub mod queue;
pub mod claim;
pub mod settle;
pub mod runner;

pub use lookup::Lookups;
pub use runner::Enricher;
use worker_providers::NotYet;

use crate::store::StoreError;

impl From<StoreError> for NotYet {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Outage(error) => Self::Failing(format!("MongoDB does not take writes: {error}")),
            StoreError::Blocked(blocked) => Self::Failing(blocked.to_string()),
            error @ StoreError::Unstorable { .. } => Self::Unreadable(error.to_string()),
        }
    }
}
