//! What differs by source about a request: one file a source.

mod github;
mod taiga;
mod excel;

use bytes::Bytes;
use http::HeaderMap;
use shared::source::Source;

use super::inspect::Inspected;
use super::refusal::Refusal;
use super::signature::Claim;

/// Reads the signature headers of a source. `None` when one is absent, repeated or malformed; the body need not
/// be kept then. `secret_set` says whether there is a secret to check them with.
#[must_use]
pub fn claim(source: Source, headers: &HeaderMap, secret_set: bool) -> Option<Claim> {
    if !secret_set && source.description().may_be_unsigned {
        return Some(Claim::Unsigned);
    }
    match source {
        Source::Github => github::claim(headers),
        Source::Taiga => taiga::claim(headers),
        Source::Excel => excel::claim(headers),
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
