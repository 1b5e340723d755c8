//! Looks up what webhooks do not carry, at GitHub and Taiga.
//!
//! The look-ups of an event are in `LD_ENRICH` before the event is acknowledged. They are made by the same process, in
//! slots of their own, so that a provider's limits and failures delay no event. Reading order: what is looked up
//! ([`lookup`]), queueing ([`queue`]), each commit once at a time ([`claim`]), how often ([`attempts`]), and the handler
//! ([`enricher`]). The clients of the providers are a package of their own.
//!
//! A known value is never overwritten by an unknown one: a commit is enriched once (`_ld.enriched`), and a document that
//! is gone is not made again. Waiting for a rate limit or for a provider that is down is no failed attempt. Only
//! replies that cannot be read are, and such look-ups end in `LD_DEAD`.

pub mod lookup;
pub mod queue;
pub mod claim;
pub mod attempts;
pub mod enricher;

pub use enricher::{Enricher, Rest};
use worker_providers::ProviderError;

use crate::store::StoreError;

impl From<StoreError> for ProviderError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Outage(error) => Self::Unavailable(format!("MongoDB does not take writes: {error}")),
            StoreError::Blocked(blocked) => Self::Unavailable(blocked.to_string()),
            error @ StoreError::Unstorable { .. } => Self::Unreadable(error.to_string()),
        }
    }
}
