//! What differs by source about a request: one file a source.

mod github;
mod taiga;
mod excel;

pub use github::DELIVERY;

use bytes::Bytes;
use http::HeaderMap;
use shared::source::Source;

use super::inspect::Inspected;
use super::refusal::Refusal;
use super::signature::Claim;

/// Reads the signature headers of a source. `None` when one is absent, repeated or malformed; the body need not
/// be kept then.
#[must_use]
pub fn claim(source: Source, headers: &HeaderMap) -> Option<Claim> {
    match source {
        Source::Github => github::claim(headers),
        Source::Taiga => taiga::claim(headers),
        Source::Excel => excel::claim(headers),
    }
}

/// Whether the payload is decoded from the body, and so is a second copy of it.
#[must_use]
pub fn is_decoded(source: Source, headers: &HeaderMap) -> bool {
    match source {
        Source::Github => github::is_form(headers),
        Source::Taiga | Source::Excel => false,
    }
}

/// Reads kind, identity and payload of a body whose signature is right.
///
/// # Errors
/// When it is not one JSON object, or does not say what it is.
pub fn inspect(source: Source, headers: &HeaderMap, body: Bytes) -> Result<Inspected, Refusal> {
    match source {
        Source::Github => github::inspect(headers, body),
        Source::Taiga => taiga::inspect(body),
        Source::Excel => excel::inspect(body),
    }
}

#[cfg(test)]
mod inspect_tests;
#[cfg(test)]
pub(super) mod signature_tests;
